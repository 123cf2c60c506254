#include "config.h"

#include <string.h>

#include "cleanup/scan.h"
#include "common/envelope.h"

/* One line without its CRLF. */
static const char *
scan_line(struct slice line, uint32_t *flags)
{
	size_t i;

	if (line.n > 0 && line.p[0] == '.') {
		*flags |= CONTENT_DOT_LINES;
	}
	if (line.n > SCAN_LONG_LINE) {
		*flags |= CONTENT_LONG_LINES;
	}
	for (i = 0; i < line.n; i++) {
		if (line.p[i] == '\r') {
			return "a bare CR";
		}
		if (line.p[i] == '\0') {
			return "a NUL octet";
		}
		if ((unsigned char)line.p[i] > 127) {
			*flags |= CONTENT_8BIT;
		}
	}
	return NULL;
}

const char *
scan_content(struct slice content, uint32_t *flags)
{
	const char *lf, *wrong;
	size_t n;

	*flags = 0;
	while (content.n > 0) {
		lf = memchr(content.p, '\n', content.n);
		if (lf == NULL) {
			return "a last line without its end";
		}
		n = (size_t)(lf - content.p);
		if (n == 0 || lf[-1] != '\r') {
			return "a bare LF";
		}
		wrong = scan_line(slice_make(content.p, n - 1), flags);
		if (wrong != NULL) {
			return wrong;
		}
		content.p += n + 1;
		content.n -= n + 1;
	}
	return NULL;
}
