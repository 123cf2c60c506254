/* The part of a notice that people read: what, why, who said it, what to do. */
#include "config.h"

#include "cleanup/header.h"
#include "cleanup/notice.h"
#include "common/fate.h"

#define WIDTH  72
#define INDENT "    "

/* Words, at most WIDTH columns a line, each line behind `indent'. What has no
   space within a line is cut. */
static void
add_wrapped(struct slice text, size_t max, const char *indent,
    struct strbuf *out)
{
	struct strbuf words;
	struct slice rest, word;
	size_t column = 0;

	strbuf_init(&words, 0);
	notice_add_words(text, max, &words);
	rest = strbuf_slice(&words);
	while (slice_word(&rest, " ", &word)) {
		while (word.n > 0) {
			size_t n = word.n > WIDTH ? WIDTH : word.n;

			if (column > 0 && column + 1 + n > WIDTH) {
				(void)strbuf_add_str(out, "\r\n");
				column = 0;
			}
			(void)strbuf_add_str(out, column == 0 ? indent : " ");
			(void)strbuf_add(out, word.p, n);
			column += (column == 0 ? 0 : 1) + n;
			word = slice_make(word.p + n, word.n - n);
		}
	}
	if (column > 0) {
		(void)strbuf_add_str(out, "\r\n");
	}
	strbuf_clear(&words);
}

static void
add_paragraph(const char *text, struct strbuf *out)
{
	add_wrapped(slice_of(text), SIZE_MAX, "", out);
	(void)strbuf_add_str(out, "\r\n");
}

/* What one can do, by the end of the status code; the first that fits. */
static const struct {
	const char *code; /* behind the class; ends in "." for a whole subject */
	const char *advice;
} advices[] = {
	{ ".1.1", "Check the part before the @: there is no such mailbox." },
	{ ".1.2", "Check the part after the @: mail cannot be sent there." },
	{ ".1.10", "That domain takes no mail: ask for another address." },
	{ ".1.6", "The mailbox has moved: use the new address." },
	{ ".2.1", "That mailbox takes no mail now: ask its owner by another "
	    "way." },
	{ ".2.2", "The mailbox is full: send it again later, or tell its owner "
	    "by another way." },
	{ ".2.3", "The message is too large: send it in smaller parts." },
	{ ".3.4", "The message is too large: send it in smaller parts." },
	{ ".4.4", "Check the part after the @: no host takes mail for it." },
	{ ".4.6", "Mail for this address goes round in circles: tell the "
	    "postmaster." },
	{ ".4.7", "The other side could not be reached in all this time: send it "
	    "again later." },
	{ ".4.", "The other side cannot be reached." },
	{ ".7.", "The other side does not want this message, or no mail from "
	    "here: ask its postmaster." },
};

static const char *
advice_for(struct slice esc)
{
	size_t i, n;

	for (i = 0; i < NELEMS(advices) && esc.n > 1; i++) {
		n = strlen(advices[i].code);
		if (esc.n - 1 >= n &&
		    memcmp(esc.p + 1, advices[i].code, n) == 0 &&
		    (advices[i].code[n - 1] == '.' || esc.n - 1 == n)) {
			return advices[i].advice;
		}
	}
	return NULL;
}

static void
add_recipient(const struct notice *n, const struct notice_rcpt *r,
    struct strbuf *out)
{
	const char *advice = n->kind == NOTICE_FAILED ? advice_for(r->esc) :
	    NULL;
	struct strbuf who;

	notice_add_path(r->address, out);
	if (r->original.n > 0 && !slice_case_eq(r->original, r->address)) {
		(void)strbuf_add_str(out, "\r\n" INDENT "(for ");
		notice_add_path(r->original, out);
		(void)strbuf_add_char(out, ')');
	}
	(void)strbuf_add_str(out, "\r\n");
	if (r->reply.n > 0) {
		strbuf_init(&who, 0);
		notice_add_words(r->relay.n > 0 ? r->relay :
		    slice_of(n->myhostname), RELAY_TEXT_MAX, &who);
		(void)strbuf_add_str(&who, " said:");
		add_wrapped(strbuf_slice(&who), RELAY_TEXT_MAX + 8, INDENT,
		    out);
		strbuf_clear(&who);
	}
	add_wrapped(r->reply, REPLY_TEXT_MAX, INDENT INDENT, out);
	if (advice != NULL) {
		add_wrapped(slice_of(advice), SIZE_MAX, INDENT, out);
	}
	(void)strbuf_add_str(out, "\r\n");
}

/* Those that there is no room for in full are named at least. */
static void
add_others(const struct notice *n, struct strbuf *out)
{
	size_t i, start = out->n;

	(void)strbuf_printf(out, "The same holds for %zu further recipients:"
	    "\r\n\r\n", n->nrcpts - NOTICE_RCPTS_MAX);
	for (i = NOTICE_RCPTS_MAX; i < n->nrcpts &&
	    out->n - start < NOTICE_OTHERS_MAX; i++) {
		notice_add_path(n->rcpts[i].address, out);
		(void)strbuf_add_str(out, "\r\n");
	}
	if (i < n->nrcpts) {
		(void)strbuf_printf(out, "and %zu more\r\n", n->nrcpts - i);
	}
	(void)strbuf_add_str(out, "\r\n");
}

static void
add_what(const struct notice *n, struct strbuf *out)
{
	const char *it = n->nrcpts == 1 ? "the recipient" : "the recipients";
	struct strbuf s, date;

	strbuf_init(&s, 0);
	strbuf_init(&date, 0);
	header_date(n->arrived, &date);
	switch (n->whom) {
	case NOTICE_TO_SENDER:
		(void)strbuf_printf(&s, "Your message of %s ", date.p);
		break;
	case NOTICE_TO_POSTMASTER:
		(void)strbuf_add_str(&s, "A message from ");
		notice_add_path(n->sender, &s);
		(void)strbuf_printf(&s, ", of %s, whose sender is told, too, ",
		    date.p);
		break;
	case NOTICE_DOUBLE:
		(void)strbuf_printf(&s, "A notice of %s about mail that could "
		    "not be delivered ", date.p);
		break;
	}
	if (n->kind == NOTICE_FAILED) {
		(void)strbuf_printf(&s, "could not be delivered to %s below. "
		    "It will not be tried again.%s", it,
		    n->whom != NOTICE_DOUBLE ? "" : " So nobody knows of it "
		    "yet but you.");
	} else {
		(void)strbuf_printf(&s, "has not been delivered to %s below "
		    "yet. Nothing has to be done: it is tried again", it);
		if (n->retry_until > 0) {
			strbuf_reset(&date);
			header_date(n->retry_until, &date);
			(void)strbuf_printf(&s, ", until %s", date.p);
		}
		(void)strbuf_add_char(&s, '.');
	}
	add_paragraph(s.p, out);
	strbuf_clear(&s);
	strbuf_clear(&date);
}

void
notice_add_text(const struct notice *n, struct strbuf *out)
{
	struct strbuf s;
	size_t i;

	strbuf_init(&s, 0);
	(void)strbuf_printf(&s, "This is the mail system at %s.",
	    n->myhostname);
	add_paragraph(s.p, out);
	add_what(n, out);
	for (i = 0; i < n->nrcpts && i < NOTICE_RCPTS_MAX; i++) {
		add_recipient(n, &n->rcpts[i], out);
	}
	if (n->nrcpts > NOTICE_RCPTS_MAX) {
		add_others(n, out);
	}
	strbuf_reset(&s);
	if (n->whom == NOTICE_TO_SENDER) {
		(void)strbuf_printf(&s, "If these words do not help, ask "
		    "postmaster@%s, and name the queue id %s.", n->myorigin,
		    n->about);
	} else {
		(void)strbuf_printf(&s, "The log of this host has more, under "
		    "the queue id %s.", n->about);
	}
	add_wrapped(strbuf_slice(&s), SIZE_MAX, "", out);
	strbuf_clear(&s);
}
