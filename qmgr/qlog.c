#include "config.h"

#include <inttypes.h>

#include "common/log.h"
#include "common/qid.h"
#include "qmgr/qmgr.h"

#define ADDRESS_SHOWN 320 /* octets of an address, of a reply */
#define REPLY_SHOWN   512

void
qlog_active(const struct sched_entry_in *in)
{
	char id[QID_TEXT + 1];
	struct strbuf from;

	qid_format(in->qid, id);
	strbuf_init(&from, 0);
	strbuf_add_quoted(&from, in->reverse_path, ADDRESS_SHOWN);
	log_info("%s: from=<%s>, size=%" PRIu64 ", nrcpt=%u (queue active)", id,
	    from.n > 0 ? from.p : "", in->size, in->rcpts);
	strbuf_clear(&from);
}

static const char *
status_of(const struct sched_item *it)
{
	return it->stuck ? "bounced" :
	    it->fate.fate == FATE_DELIVERED ? "sent" : "deferred";
}

static void
add_delay(struct strbuf *b, const struct sched_message *msg, uint64_t now_us)
{
	uint64_t ms = now_us > msg->arrived_us ?
	    (now_us - msg->arrived_us) / 1000 : 0;

	if (ms < 100000) {
		(void)strbuf_printf(b, "%u.%02u", (unsigned)(ms / 1000),
		    (unsigned)(ms % 1000 / 10));
	} else {
		(void)strbuf_printf(b, "%" PRIu64, ms / 1000);
	}
}

void
qlog_fate(const struct sched_message *msg, const struct sched_item *it,
    uint64_t now_us)
{
	char id[QID_TEXT + 1];
	struct strbuf b;

	qid_format(msg->qid, id);
	strbuf_init(&b, 0);
	(void)strbuf_add_str(&b, "to=<");
	strbuf_add_quoted(&b, it->rcpt.address, ADDRESS_SHOWN);
	if (!slice_case_eq(it->rcpt.address, it->rcpt.original)) {
		(void)strbuf_add_str(&b, ">, orig_to=<");
		strbuf_add_quoted(&b, it->rcpt.original, ADDRESS_SHOWN);
	}
	(void)strbuf_add_str(&b, ">, relay=");
	strbuf_add_quoted(&b, it->relay, ADDRESS_SHOWN);
	(void)strbuf_add_str(&b, ", delay=");
	add_delay(&b, msg, now_us);
	(void)strbuf_printf(&b, ", dsn=%.*s, status=%s (", SLF(it->fate.esc),
	    status_of(it));
	strbuf_add_quoted(&b, it->fate.reply, REPLY_SHOWN);
	(void)strbuf_add_char(&b, ')');
	log_info("%s: %s", id, b.p);
	strbuf_clear(&b);
}

void
qlog_mark(uint64_t qid, enum ipc_mark what, const char *reason)
{
	static const char *const words[] = {
		[IPC_MARK_HOLD] = "hold",
		[IPC_MARK_RELEASE] = "released",
		[IPC_MARK_DELETE] = "deleted",
		[IPC_MARK_REQUEUE] = "requeued",
		[IPC_MARK_CRASHED] = "a delivery agent died with it in its "
		    "hands",
	};
	char id[QID_TEXT + 1];
	struct strbuf text;

	qid_format(qid, id);
	strbuf_init(&text, 0);
	strbuf_add_quoted(&text, slice_of(reason), REPLY_SHOWN);
	log_info("%s: %s%s%s", id, words[what], text.n > 0 ? ": " : "",
	    text.n > 0 ? text.p : "");
	strbuf_clear(&text);
}

void
qlog_noticed(uint64_t qid, enum ipc_notice kind, enum sched_noticed result,
    struct slice text)
{
	const char *what = kind == IPC_NOTICE_FAILED ? "the bounce" :
	    "the delay warning";
	char id[QID_TEXT + 1];
	struct strbuf why;

	if (result == SCHED_NOTICED) {
		return; /* cleanup logs the notice, with its queue id */
	}
	qid_format(qid, id);
	strbuf_init(&why, 0);
	strbuf_add_quoted(&why, text, REPLY_SHOWN);
	log_warn("%s: %s cannot be made%s: %s", id, what,
	    result == SCHED_NOTICED_LATER ? " now" : "",
	    why.n > 0 ? why.p : "no reason");
	strbuf_clear(&why);
}

void
qlog_removed(uint64_t qid)
{
	char id[QID_TEXT + 1];

	qid_format(qid, id);
	log_info("%s: removed", id);
}
