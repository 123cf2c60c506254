#include "config.h"

#include "common/qid.h"

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUV";

void
qid_format(uint64_t qid, char out[QID_TEXT + 1])
{
	int i;

	for (i = QID_TEXT - 1; i >= 0; i--) {
		out[i] = digits[qid & 31];
		qid >>= 5;
	}
	out[QID_TEXT] = '\0';
}

/* A digit's value plus 1; 0: not a digit. */
static const unsigned char values[256] = {
#define D(c, v) [c] = (v) + 1
	D('0', 0), D('1', 1), D('2', 2), D('3', 3), D('4', 4), D('5', 5),
	D('6', 6), D('7', 7), D('8', 8), D('9', 9),
#define L(c, v) D(c, v), D((c) - 'A' + 'a', v)
	L('A', 10), L('B', 11), L('C', 12), L('D', 13), L('E', 14), L('F', 15),
	L('G', 16), L('H', 17), L('I', 18), L('J', 19), L('K', 20), L('L', 21),
	L('M', 22), L('N', 23), L('O', 24), L('P', 25), L('Q', 26), L('R', 27),
	L('S', 28), L('T', 29), L('U', 30), L('V', 31),
#undef L
#undef D
};

bool
qid_parse(struct slice s, uint64_t *out)
{
	uint64_t v = 0;
	unsigned d;
	size_t i;

	if (s.n != QID_TEXT) {
		return false;
	}
	for (i = 0; i < s.n; i++) {
		d = values[(unsigned char)s.p[i]];
		if (d == 0 || (i == 0 && d > 16)) {
			return false; /* not a digit, or more than 64 bits */
		}
		v = v << 5 | (d - 1);
	}
	*out = v;
	return true;
}
