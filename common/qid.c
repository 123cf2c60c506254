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

bool
qid_parse(struct slice s, uint64_t *out)
{
	uint64_t v = 0;
	const char *d;
	size_t i;

	if (s.n != QID_TEXT) {
		return false;
	}
	for (i = 0; i < s.n; i++) {
		d = s.p[i] != '\0' ? strchr(digits, ascii_upper(s.p[i])) : NULL;
		if (d == NULL || (i == 0 && d - digits > 15)) {
			return false; /* not a digit, or more than 64 bits */
		}
		v = v << 5 | (uint64_t)(d - digits);
	}
	*out = v;
	return true;
}
