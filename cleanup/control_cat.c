#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "cleanup/control_cat.h"
#include "cleanup/program.h"
#include "common/fate.h"
#include "common/qid.h"
#include "common/strbuf.h"
#include "common/xmalloc.h"

#define PIECE (64 * 1024)

struct cat {
	struct program *pg;
	struct ctl_session *cs; /* NULL: the tool has gone */
	bool in_spool;          /* a callback is to come */
	int fd;                 /* the content, or -1 */
	uint64_t offset, left;
};

/* The tool has its end, or is gone; waits for the spool if need be. */
static void
cat_free(struct cat *c)
{
	if (c->in_spool) {
		return;
	}
	if (c->fd != -1) {
		(void)close(c->fd);
	}
	free(c);
}

static void
on_gone(void *arg, struct ctl_session *cs)
{
	struct cat *c = arg;

	(void)cs;
	c->cs = NULL;
	cat_free(c);
}

static void
end(struct cat *c, unsigned code, const char *text)
{
	struct ctl_session *cs = c->cs;

	ctl_on_gone(cs, NULL, NULL);
	c->cs = NULL;
	cat_free(c);
	ctl_end(cs, code, "%s", text);
}

static void
end_with_error(struct cat *c, int error)
{
	if (error == ENOENT) {
		end(c, EX_NOINPUT, "no such message");
	} else if (error == EBADMSG) {
		end(c, EX_DATAERR, "the message is damaged and was set aside");
	} else {
		end(c, EX_TEMPFAIL, strerror(error));
	}
}

/* Send pieces while the tool takes them. May free c. */
static void
send_content(void *arg, struct ctl_session *cs)
{
	static char piece[PIECE];
	struct cat *c = arg;
	size_t want;
	ssize_t r;

	while (c->left > 0 && !ctl_is_full(cs)) {
		want = c->left < PIECE ? (size_t)c->left : PIECE;
		r = pread(c->fd, piece, want, (off_t)c->offset);
		if (r <= 0) {
			end_with_error(c, r == 0 ? EBADMSG : errno);
			return;
		}
		ctl_data(cs, slice_make(piece, (size_t)r));
		c->offset += (uint64_t)r;
		c->left -= (uint64_t)r;
	}
	if (c->left > 0) {
		ctl_on_room(cs, send_content, c);
	} else {
		end(c, EX_OK, "");
	}
}

static void
on_content(void *arg, uint64_t qid, int error, struct slice content, int fd,
    uint64_t offset, uint64_t size, uint32_t flags)
{
	struct cat *c = arg;

	(void)qid;
	(void)content;
	(void)flags;
	c->in_spool = false;
	c->fd = error == 0 ? fd : -1;
	if (c->cs == NULL) {
		cat_free(c);
	} else if (error != 0) {
		end_with_error(c, error);
	} else {
		c->offset = offset;
		c->left = size;
		send_content(c, c->cs);
	}
}

/* -- the envelope ----------------------------------------------------------- */

static void
put(struct strbuf *b, const char *name, const char *value)
{
	if (*value != '\0') {
		(void)strbuf_printf(b, "%s: ", name);
		strbuf_add_quoted(b, slice_of(value), 1024);
		(void)strbuf_add_char(b, '\n');
	}
}

static void
put_rcpt(struct strbuf *b, const struct recipient *r,
    const struct spool_rcpt_state *st)
{
	static const char *const fates[] = {
		[FATE_NONE] = "open", [FATE_DELIVERED] = "delivered",
		[FATE_DEFERRED] = "deferred", [FATE_FAILED] = "failed",
		[FATE_EXPANDED] = "expanded",
	};

	(void)strbuf_add_str(b, "recipient: <");
	strbuf_add_quoted(b, slice_of(r->address), 1024);
	(void)strbuf_add_str(b, "> orig_to=<");
	strbuf_add_quoted(b, slice_of(r->original), 1024);
	(void)strbuf_add_str(b, "> route=");
	strbuf_add_quoted(b, slice_of(r->transport), 1024);
	(void)strbuf_add_char(b, ':');
	strbuf_add_quoted(b, slice_of(r->next_hop), 1024);
	(void)strbuf_printf(b, " fate=%s attempts=%u",
	    st->fate < NELEMS(fates) ? fates[st->fate] : "?",
	    (unsigned)st->attempt);
	if (*st->reply != '\0' || *st->esc != '\0') {
		(void)strbuf_printf(b, " dsn=%s (", st->esc);
		strbuf_add_quoted(b, slice_of(st->reply), 1024);
		(void)strbuf_add_char(b, ')');
	}
	if (*st->relay != '\0') {
		(void)strbuf_add_str(b, " relay=");
		strbuf_add_quoted(b, slice_of(st->relay), 1024);
	}
	if (st->warned) {
		(void)strbuf_add_str(b, " warned");
	}
	(void)strbuf_add_char(b, '\n');
}

static void
flush(struct ctl_session *cs, struct strbuf *b)
{
	struct slice rest = strbuf_slice(b), piece;

	while (rest.n > 0) {
		piece = slice_make(rest.p, rest.n < PIECE ? rest.n : PIECE);
		ctl_data(cs, piece);
		rest.p += piece.n;
		rest.n -= piece.n;
	}
	strbuf_reset(b);
}

static void
put_envelope(struct ctl_session *cs, const struct spool_info *info)
{
	const struct envelope *e = info->envelope;
	char id[QID_TEXT + 1];
	struct strbuf b;
	uint32_t i;

	qid_format(e->qid, id);
	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "queue-id: %s\n", id);
	if (e->parent_qid != 0) {
		qid_format(e->parent_qid, id);
		put(&b, "parent", id);
	}
	(void)strbuf_printf(&b, "arrived: %llu.%06llu\nsize: %llu\n",
	    (unsigned long long)(e->arrived_us / 1000000),
	    (unsigned long long)(e->arrived_us % 1000000),
	    (unsigned long long)info->size);
	(void)strbuf_add_str(&b, "reverse-path: <");
	strbuf_add_quoted(&b, slice_of(e->reverse_path), 1024);
	(void)strbuf_add_str(&b, ">\n");
	put(&b, "client-address", e->client_addr);
	put(&b, "client-name", e->client_name);
	put(&b, "helo", e->helo);
	put(&b, "protocol", e->proto);
	if (e->uid != UINT32_MAX) {
		(void)strbuf_printf(&b, "uid: %u\n", (unsigned)e->uid);
	}
	if (info->hold) {
		put(&b, "hold", *info->hold_reason != '\0' ?
		    info->hold_reason : "yes");
	}
	for (i = 0; i < e->nrcpts; i++) {
		put_rcpt(&b, &e->rcpts[i], &info->rcpts[i]);
		if (b.n > PIECE) {
			flush(cs, &b);
		}
	}
	(void)strbuf_add_char(&b, '\n');
	flush(cs, &b);
	strbuf_clear(&b);
}

static void
on_info(void *arg, uint64_t qid, int error, const struct spool_info *info)
{
	struct cat *c = arg;

	c->in_spool = false;
	if (c->cs == NULL) {
		cat_free(c);
		return;
	}
	if (error != 0) {
		end_with_error(c, error);
		return;
	}
	put_envelope(c->cs, info);
	c->in_spool = true;
	spool_content(c->pg->spool, qid, 0, on_content, c);
}

void
control_cat(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	struct program *pg = arg;
	struct cat *c;
	uint64_t qid;

	(void)nwords;
	if (!qid_parse(words[1], &qid)) {
		ctl_end(cs, EX_USAGE, "%.*s: not a queue id", SLF(words[1]));
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->pg = pg;
	c->cs = cs;
	c->fd = -1;
	c->in_spool = true;
	ctl_on_gone(cs, on_gone, c);
	spool_info_get(pg->spool, qid, on_info, c);
}
