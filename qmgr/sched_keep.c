/*
 * What outlives us: the domains on hold and the dead destinations, as a text
 * that cleanup keeps (KEEP). Asked for (LOAD) before the first message is.
 *
 * A line each, fields separated by tabs, times in seconds of CLOCK_REALTIME:
 *   hold DOMAIN UNTIL                                           (0: for ever)
 *   dead TRANSPORT NEXT_HOP RETRY_AT BACKOFF ESC RELAY REPLY
 * A line that cannot be read is left out, and counted.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

#define FIELDS_MAX 8
#define TEXT_MAX   60000 /* octets */

/* -- writing ----------------------------------------------------------------- */

static void
add_field(struct strbuf *b, const char *text)
{
	(void)strbuf_add_char(b, '\t');
	for (; *text != '\0'; text++) {
		(void)strbuf_add_char(b, ascii_iscntrl(*text) ? ' ' : *text);
	}
}

static void
add_number(struct strbuf *b, uint64_t n)
{
	(void)strbuf_printf(b, "\t%" PRIu64, n);
}

static void
add_dead(struct strbuf *b, const struct sched *s, const struct dest *d)
{
	uint64_t wait_ms = d->retry_ms > s->mono_ms ?
	    d->retry_ms - s->mono_ms : 0;

	(void)strbuf_add_str(b, "dead");
	add_field(b, d->transport);
	add_field(b, d->next_hop);
	add_number(b, (s->real_us / 1000 + wait_ms) / 1000);
	add_number(b, d->backoff);
	add_field(b, d->esc);
	add_field(b, d->relay);
	add_field(b, d->reply);
	(void)strbuf_add_char(b, '\n');
}

/* When there are too many, those that failed last. */
static void
write_text(const struct sched *s, struct strbuf *b)
{
	const struct domain *h;
	const struct dest *d;
	size_t was;

	TAILQ_FOREACH(h, &s->domains, link) {
		(void)strbuf_add_str(b, "hold");
		add_field(b, h->name);
		add_number(b, h->until);
		(void)strbuf_add_char(b, '\n');
	}
	TAILQ_FOREACH_REVERSE(d, &s->sick, dests, sick_link) {
		was = b->n;
		if (d->dead) {
			add_dead(b, s, d);
		}
		if (b->n > TEXT_MAX) {
			b->n = was;
			break;
		}
	}
}

/* -- reading ----------------------------------------------------------------- */

static bool
read_hold(struct sched *s, const struct slice *f, unsigned n)
{
	uint64_t until;

	return n == 3 && f[1].n > 0 && f[1].n <= SCHED_DOMAIN_LEN &&
	    slice_number(f[2], UINT64_MAX / 1000000, &until) &&
	    sched_domain_add(s, f[1], until);
}

static bool
read_dead(struct sched *s, const struct slice *f, unsigned n)
{
	struct sched_dead dead = { .next_hop = f[2], .esc = f[5],
		.relay = f[6], .reply = f[7] };
	int t = n == 8 ? sched_transport_of(f[1]) : -1;

	if (t < 0 || sched_agent_of((enum sched_transport)t) != SCHED_REMOTE ||
	    f[2].n == 0 || f[5].n >= ESC_MAX ||
	    !slice_number(f[3], UINT64_MAX / 1000000, &dead.retry_at) ||
	    !slice_number(f[4], UINT32_MAX, &dead.backoff)) {
		return false;
	}
	dead.transport = (enum sched_transport)t;
	sched_site_restore(s, &dead);
	return true;
}

static bool
read_line(struct sched *s, struct slice line)
{
	static const struct {
		struct slice word;
		bool (*read)(struct sched *s, const struct slice *f,
		    unsigned n);
	} kinds[] = {
		{ SL_INIT("hold"), read_hold },
		{ SL_INIT("dead"), read_dead },
	};
	struct slice f[FIELDS_MAX] = { { NULL, 0 } };
	unsigned n = 0;
	size_t at, i;

	do {
		at = slice_find(line, '\t');
		f[n++] = slice_make(line.p, at);
		line = at < line.n ? slice_make(line.p + at + 1,
		    line.n - at - 1) : slice_make(line.p, 0);
	} while (line.n > 0 && n < FIELDS_MAX);
	for (i = 0; i < NELEMS(kinds) && line.n == 0; i++) {
		if (slice_eq(f[0], kinds[i].word)) {
			return kinds[i].read(s, f, n);
		}
	}
	return false;
}

unsigned
sched_loaded(struct sched *s, bool error, struct slice text)
{
	unsigned bad = 0;
	size_t at;

	s->load_out = false;
	if (error) {
		s->load_ms = s->mono_ms + SCHED_PAUSE_MS;
		return 0;
	}
	if (s->loaded) {
		return 0;
	}
	s->loaded = true;
	while (text.n > 0) {
		at = slice_find(text, '\n');
		bad += !read_line(s, slice_make(text.p, at));
		at += at < text.n;
		text = slice_make(text.p + at, text.n - at);
	}
	return bad;
}

/* -- when --------------------------------------------------------------------- */

void
sched_keep_soon(struct sched *s, uint64_t within_ms)
{
	uint64_t at = s->mono_ms + within_ms;

	if (s->keep_wanted == s->keep_done || at < s->keep_ms) {
		s->keep_ms = at;
	}
	s->keep_wanted++;
}

bool
sched_build_load(struct sched *s, struct sched_action *a)
{
	if (s->loaded || s->load_out || s->mono_ms < s->load_ms) {
		return false;
	}
	s->load_out = true;
	a->kind = SCHED_LOAD;
	return true;
}

bool
sched_keep_is_due(const struct sched *s)
{
	return s->loaded && s->keep_wanted != s->keep_done;
}

bool
sched_build_keep(struct sched *s, struct sched_action *a)
{
	if (!sched_keep_is_due(s) || s->keep_out ||
	    (s->mono_ms < s->keep_ms && !s->stopping)) {
		return false;
	}
	s->keep_out = true;
	s->keep_sent = s->keep_wanted;
	strbuf_reset(&s->keep_text);
	write_text(s, &s->keep_text);
	a->kind = SCHED_KEEP;
	a->text = strbuf_slice(&s->keep_text);
	return true;
}

void
sched_kept(struct sched *s, bool error)
{
	if (!s->keep_out) {
		return;
	}
	s->keep_out = false;
	if (error) {
		s->keep_ms = s->mono_ms + SCHED_PAUSE_MS;
		return;
	}
	s->keep_done = s->keep_sent;
}

void
sched_keep_lost(struct sched *s)
{
	s->load_out = s->keep_out = false;
}

uint64_t
sched_keep_wanted(const struct sched *s)
{
	return s->keep_wanted;
}

uint64_t
sched_keep_done(const struct sched *s)
{
	return s->keep_done;
}

uint64_t
sched_keep_wake(const struct sched *s)
{
	if (!s->loaded) {
		return s->load_out ? UINT64_MAX : s->load_ms;
	}
	return sched_keep_is_due(s) && !s->keep_out ? s->keep_ms : UINT64_MAX;
}
