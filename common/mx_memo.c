#include "config.h"

#include <stdlib.h>

#include "common/arena.h"
#include "common/log.h"
#include "common/mx_memo.h"
#include "common/xmalloc.h"

/* MX_HOSTS_MAX bounds the questions: that many A and AAAA, and the MX. */
#define QUESTIONS_MAX (2 * MX_HOSTS_MAX + 1)
/* A line for each question, and one note at most for each host and the end. */
#define STEPS_MAX (QUESTIONS_MAX + DNS_RECORDS_MAX + 8)

#define SHOWN_MAX 400 /* octets of an answer in a trace */

struct asked {
	struct mx_question q;
	bool answered;
	struct dns_answer a;
	struct slice words; /* the answer in words */
};

struct step {
	struct slice what, key, result;
};

struct mx_memo {
	struct arena arena;
	struct asked asked[QUESTIONS_MAX];
	size_t nasked;
	struct arena trace_arena; /* of one round */
	struct step trace[STEPS_MAX];
	size_t ntrace;
};

struct mx_memo *
mx_memo_new(void)
{
	struct mx_memo *m = xcalloc(1, sizeof(*m));

	arena_init(&m->arena);
	arena_init(&m->trace_arena);
	return m;
}

void
mx_memo_free(struct mx_memo *m)
{
	if (m != NULL) {
		arena_clear(&m->arena);
		arena_clear(&m->trace_arena);
		free(m);
	}
}

void
mx_memo_begin(struct mx_memo *m)
{
	arena_clear(&m->trace_arena);
	m->ntrace = 0;
}

static void
add_step(struct mx_memo *m, struct slice what, struct slice key,
    struct slice result)
{
	if (m->ntrace < STEPS_MAX) {
		m->trace[m->ntrace++] = (struct step){ what,
			arena_dup(&m->trace_arena, key),
			arena_dup(&m->trace_arena, result) };
	}
}

void
mx_memo_note(struct mx_memo *m, const char *what, struct slice key,
    const char *result)
{
	add_step(m, slice_of(what), key, slice_of(result));
}

static struct asked *
find(struct mx_memo *m, const struct mx_question *q)
{
	size_t i;

	for (i = 0; i < m->nasked; i++) {
		if (m->asked[i].q.type == q->type &&
		    m->asked[i].q.flags == q->flags &&
		    slice_eq(m->asked[i].q.name, q->name)) {
			return &m->asked[i];
		}
	}
	return NULL;
}

const struct dns_answer *
mx_memo_ask(struct mx_memo *m, struct slice name, enum dns_type type,
    unsigned flags)
{
	const struct mx_question q = { name, type, flags };
	struct asked *at = find(m, &q);

	if (at == NULL) {
		if (m->nasked == QUESTIONS_MAX) {
			log_panic("mx: too many questions");
		}
		at = &m->asked[m->nasked++];
		*at = (struct asked){ .q = q };
		at->q.name = arena_dup(&m->arena, name);
	}
	add_step(m, slice_of(dns_type_name(type)), name,
	    at->answered ? at->words : SL("asked, no answer yet"));
	return at->answered ? &at->a : NULL;
}

bool
mx_memo_need(const struct mx_memo *m, size_t *place, struct mx_question *q)
{
	while (*place < m->nasked) {
		const struct asked *at = &m->asked[(*place)++];

		if (!at->answered) {
			*q = at->q;
			return true;
		}
	}
	return false;
}

static void
add_record(enum dns_type type, const struct dns_record *r, struct strbuf *out)
{
	struct cidr addr = { .v6 = type == DNS_AAAA };

	if (type == DNS_MX) {
		(void)strbuf_printf(out, "%u ", (unsigned)r->preference);
		(void)strbuf_add_slice(out, r->data.n > 0 ? r->data : SL("."));
		return;
	}
	memcpy(addr.octets, r->data.p, r->data.n);
	nexthop_print_addr(&addr, out);
}

static void
add_records(enum dns_type type, struct slice records, struct strbuf *out)
{
	struct dns_record r;
	bool bad, first = true;

	(void)strbuf_add_str(out, "found: ");
	while (dns_record_decode(&records, type, &r, &bad)) {
		if (out->n > SHOWN_MAX) {
			(void)strbuf_add_str(out, ", ...");
			return;
		}
		(void)strbuf_add_str(out, first ? "" : ", ");
		add_record(type, &r, out);
		first = false;
	}
}

static void
add_words(enum dns_type type, const struct dns_answer *a, struct strbuf *out)
{
	switch (a->status) {
	case DNS_FOUND:
		add_records(type, a->records, out);
		break;
	case DNS_NODATA:
		(void)strbuf_add_str(out, "no such records");
		break;
	case DNS_NXDOMAIN:
		(void)strbuf_add_str(out, "no such name");
		break;
	case DNS_TEMP:
		(void)strbuf_add_str(out, "failed: ");
		strbuf_add_quoted(out, a->reason, SHOWN_MAX);
		break;
	}
}

/* Every record can be decoded, and there is one. */
static bool
records_right(enum dns_type type, struct slice records)
{
	struct dns_record r;
	bool bad, some = false;

	while (dns_record_decode(&records, type, &r, &bad)) {
		some = true;
	}
	return some && !bad;
}

void
mx_memo_answer(struct mx_memo *m, const struct mx_question *q,
    const struct dns_answer *a)
{
	struct asked *at = find(m, q);
	struct strbuf words;

	if (at == NULL || at->answered) {
		return;
	}
	at->answered = true;
	at->a = *a;
	if (a->status == DNS_FOUND && !records_right(q->type, a->records)) {
		at->a = (struct dns_answer){ .status = DNS_TEMP,
			.records = SL(""),
			.reason = SL("dns sent records that make no sense") };
	}
	at->a.records = arena_dup(&m->arena, at->a.records);
	at->a.reason = arena_dup(&m->arena, at->a.reason);
	strbuf_init(&words, 0);
	add_words(q->type, &at->a, &words);
	at->words = arena_dup(&m->arena, strbuf_slice(&words));
	strbuf_clear(&words);
}

bool
mx_memo_step(const struct mx_memo *m, size_t *place, struct slice *what,
    struct slice *key, struct slice *result)
{
	const struct step *s;

	if (*place >= m->ntrace) {
		return false;
	}
	s = &m->trace[(*place)++];
	*what = s->what;
	*key = s->key;
	*result = s->result;
	return true;
}
