#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/outcome.h"

static void
clean(char *s)
{
	for (; *s != '\0'; s++) {
		if (ascii_iscntrl(*s)) {
			*s = '?';
		}
	}
}

void
outcome_set(struct outcome *o, enum fate fate, const char *esc,
    const char *fmt, ...)
{
	va_list ap;

	o->fate = fate;
	if (snprintf(o->esc, sizeof(o->esc), "%s", esc) < 0) {
		o->esc[0] = '\0';
	}
	va_start(ap, fmt);
	if (vsnprintf(o->text, sizeof(o->text), fmt, ap) < 0) {
		o->text[0] = '\0';
	}
	va_end(ap);
	clean(o->text);
}

static const struct {
	int error;
	const char *esc;
} codes[] = {
	{ EDQUOT, "4.2.2" }, /* mailbox full */
	{ ENOSPC, "4.3.1" }, /* mail system full */
	{ EACCES, "4.2.0" },
	{ EPERM, "4.2.0" },
	{ ENOENT, "4.2.0" },
	{ ENOTDIR, "4.2.0" },
	{ EISDIR, "4.2.0" },
	{ ELOOP, "4.2.0" },
	{ EROFS, "4.2.0" },
	{ EEXIST, "4.2.0" },
	{ ENAMETOOLONG, "4.2.0" },
};

void
outcome_errno(struct outcome *o, const char *what, int error)
{
	const char *esc = "4.3.0";
	size_t i;

	for (i = 0; i < NELEMS(codes); i++) {
		if (codes[i].error == error) {
			esc = codes[i].esc;
		}
	}
	outcome_set(o, FATE_DEFERRED, esc, "%s: %s", what, strerror(error));
}

/* status-code = class "." subject "." detail (RFC 3463, 2) */
bool
outcome_is_esc(struct slice esc, char class)
{
	size_t i, digits = 0, dots = 0;

	if (esc.n < 5 || esc.n >= ESC_MAX || esc.p[0] != class ||
	    esc.p[1] != '.') {
		return false;
	}
	for (i = 1; i < esc.n; i++) {
		if (esc.p[i] == '.') {
			dots++;
			digits = 0;
		} else if (!ascii_isdigit(esc.p[i]) || ++digits > 3) {
			return false;
		}
		if (esc.p[i] == '.' && i + 1 < esc.n && esc.p[i + 1] == '.') {
			return false;
		}
	}
	return dots == 2 && digits > 0;
}

bool
outcome_from_peer(struct outcome *o, uint64_t fate, struct slice esc,
    struct slice text)
{
	char class;

	if (fate == FATE_DELIVERED) {
		class = '2';
	} else if (fate == FATE_DEFERRED) {
		class = '4';
	} else if (fate == FATE_FAILED) {
		class = '5';
	} else {
		return false;
	}
	if (!outcome_is_esc(esc, class) || slice_find(text, '\0') < text.n) {
		return false;
	}
	o->fate = (enum fate)fate;
	memcpy(o->esc, esc.p, esc.n);
	o->esc[esc.n] = '\0';
	if (text.n > REPLY_TEXT_MAX) {
		text.n = REPLY_TEXT_MAX;
	}
	memcpy(o->text, text.p, text.n);
	o->text[text.n] = '\0';
	clean(o->text);
	return true;
}
