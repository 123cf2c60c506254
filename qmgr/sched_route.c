/* What becomes of a recipient that is due, by its transport. */
#include "config.h"

#include "qmgr/sched_int.h"

/* "5.1.1 no such user": an enhanced status code and a text. */
static void
refuse(struct sched *s, struct rcpt *rc, struct slice next_hop)
{
	struct sched_outcome o = { .relay = SL("none") };
	struct slice text = next_hop;

	if (!slice_word(&text, " ", &o.esc) || o.esc.n >= ESC_MAX ||
	    o.esc.n < 5 || (o.esc.p[0] != '4' && o.esc.p[0] != '5') ||
	    o.esc.p[1] != '.') {
		o.fate = FATE_DEFERRED;
		o.esc = SL("4.3.5");
		o.reply = SL("the transport \"error\" has no text "
		    "\"5.y.z reason\"");
	} else {
		o.fate = o.esc.p[0] == '5' ? FATE_FAILED : FATE_DEFERRED;
		o.reply = slice_trim(text);
	}
	sched_record(s, rc, &o);
}

static void
put_off(struct sched *s, struct rcpt *rc, struct slice esc,
    const char *format, struct slice transport)
{
	struct sched_outcome o = { .fate = FATE_DEFERRED, .esc = esc,
		.relay = SL("none") };
	struct strbuf text;

	strbuf_init(&text, 0);
	(void)strbuf_add_str(&text, "the transport \"");
	strbuf_add_quoted(&text, transport, 64);
	(void)strbuf_add_str(&text, format);
	o.reply = strbuf_slice(&text);
	sched_record(s, rc, &o);
	strbuf_clear(&text);
}

/* defer_transports: until it is flushed. */
static bool
waits_for_flush(const struct sched *s, const struct work *w,
    struct slice transport)
{
	const struct strlist *l = &s->cfg.defer_transports;
	size_t i;

	for (i = 0; i < l->n && !w->force; i++) {
		if (slice_eq(transport, slice_of(l->at[i]))) {
			return true;
		}
	}
	return false;
}

void
sched_route(struct sched *s, struct rcpt *rc, struct slice transport,
    struct slice next_hop)
{
	int t = sched_transport_of(transport);

	if (waits_for_flush(s, rc->work, transport)) {
		rc->epoch = s->epoch - 1; /* without an attempt no expiry */
		put_off(s, rc, SL("4.3.2"),
		    "\" is deferred until it is flushed", transport);
	} else if (slice_eq(transport, SL("error"))) {
		refuse(s, rc, next_hop);
	} else if (t < 0) {
		put_off(s, rc, SL("4.3.5"), "\" is not known here", transport);
	} else if (!sched_site_defers(s, rc, transport, next_hop)) {
		sched_dispatch(s, rc, (enum sched_transport)t, next_hop,
		    false);
	}
}
