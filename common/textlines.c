/* A line without continuation is handed out as it stands in the text. */
#include "config.h"

#include "common/textlines.h"

void
textlines_init(struct textlines *t, struct slice text)
{
	*t = (struct textlines){ .rest = text, .line = 1 };
	strbuf_init(&t->joined, 0);
}

void
textlines_clear(struct textlines *t)
{
	strbuf_clear(&t->joined);
}

/* The physical line at the start of the text, with its end still there. */
static struct slice
peek(const struct textlines *t)
{
	size_t n = slice_find(t->rest, '\n');

	return slice_make(t->rest.p, n < t->rest.n ? n + 1 : n);
}

static void
skip(struct textlines *t, struct slice raw)
{
	t->rest.p += raw.n;
	t->rest.n -= raw.n;
	t->line++;
}

static bool
is_blank(struct slice trimmed)
{
	return trimmed.n == 0 || trimmed.p[0] == '#';
}

bool
textlines_next(struct textlines *t, struct slice *line, unsigned *number)
{
	struct slice raw, first = { NULL, 0 };
	bool more = false;

	strbuf_reset(&t->joined);
	while (t->rest.n > 0) {
		raw = peek(t);
		if (is_blank(slice_trim(raw))) {
			skip(t, raw);
			continue;
		}
		if (first.p != NULL && raw.p[0] != ' ' && raw.p[0] != '\t') {
			break;
		}
		if (first.p == NULL) {
			first = slice_trim(raw);
			*number = t->line;
		} else {
			if (!more) {
				(void)strbuf_add_slice(&t->joined, first);
				more = true;
			}
			(void)strbuf_add_char(&t->joined, ' ');
			(void)strbuf_add_slice(&t->joined, slice_trim(raw));
		}
		skip(t, raw);
	}
	if (first.p == NULL) {
		return false;
	}
	*line = more ? strbuf_slice(&t->joined) : first;
	return true;
}
