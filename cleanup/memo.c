/*
 * Steps are found by a table whose key is kind, what and key in one piece of
 * the arena: "M" what NUL key. `trace' lists the steps of the round at hand, in
 * order, each once.
 */
#include "config.h"

#include <stdlib.h>

#include "cleanup/memo.h"
#include "common/arena.h"
#include "common/log.h"
#include "common/table.h"
#include "common/xmalloc.h"

#define NAME_SHOWN 80 /* octets of a map's name in a trace */

enum kind { KIND_MAP = 'M', KIND_USER = 'U', KIND_NOTE = 'N' };

struct step {
	char kind;
	bool waiting;         /* KIND_USER */
	enum map_result found;
	struct slice what, key, value;
	uint64_t uid;
	unsigned round;       /* when it was last part of the trace */
};

struct memo {
	struct arena arena;
	struct table index;
	struct step *steps;
	uint32_t nsteps, steps_cap;
	uint32_t *trace;
	size_t ntrace, trace_cap;
	unsigned round;
	struct strbuf scratch;
};

struct memo *
memo_new(void)
{
	struct memo *m = xcalloc(1, sizeof(*m));

	arena_init(&m->arena);
	table_init(&m->index);
	strbuf_init(&m->scratch, 0);
	return m;
}

void
memo_free(struct memo *m)
{
	if (m == NULL) {
		return;
	}
	arena_clear(&m->arena);
	table_clear(&m->index);
	strbuf_clear(&m->scratch);
	free(m->steps);
	free(m->trace);
	free(m);
}

void
memo_begin(struct memo *m)
{
	m->round++;
	m->ntrace = 0;
}

static void
step_name(struct memo *m, char kind, struct slice what, struct slice key)
{
	strbuf_reset(&m->scratch);
	(void)strbuf_add_char(&m->scratch, kind);
	(void)strbuf_add_slice(&m->scratch, what);
	(void)strbuf_add_char(&m->scratch, '\0');
	(void)strbuf_add_slice(&m->scratch, key);
}

/* Find or make the step; *fresh tells which. */
static struct step *
step_of(struct memo *m, char kind, struct slice what, struct slice key,
    bool *fresh)
{
	struct slice name;
	struct step *s;
	uint32_t i;

	step_name(m, kind, what, key);
	*fresh = !table_get(&m->index, strbuf_slice(&m->scratch), &i);
	if (!*fresh) {
		return &m->steps[i];
	}
	if (m->nsteps == m->steps_cap) {
		m->steps_cap = m->steps_cap == 0 ? 16 : m->steps_cap * 2;
		m->steps = xreallocarray(m->steps, m->steps_cap,
		    sizeof(*m->steps));
	}
	name = arena_dup(&m->arena, strbuf_slice(&m->scratch));
	(void)table_add(&m->index, name, m->nsteps);
	s = &m->steps[m->nsteps++];
	*s = (struct step){ .kind = kind,
		.what = slice_make(name.p + 1, what.n),
		.key = slice_make(name.p + 2 + what.n, key.n),
		.value = slice_make("", 0) };
	return s;
}

static void
to_trace(struct memo *m, struct step *s)
{
	if (s->round == m->round) {
		return;
	}
	s->round = m->round;
	if (m->ntrace == m->trace_cap) {
		m->trace_cap = m->trace_cap == 0 ? 16 : m->trace_cap * 2;
		m->trace = xreallocarray(m->trace, m->trace_cap,
		    sizeof(*m->trace));
	}
	m->trace[m->ntrace++] = (uint32_t)(s - m->steps);
}

enum map_result
memo_map(struct memo *m, struct map *map, struct slice key,
    struct strbuf *value)
{
	struct step *s;
	bool fresh;

	if (m == NULL) {
		return map_lookup(map, key, value);
	}
	s = step_of(m, KIND_MAP, slice_of(map_spec(map)), key, &fresh);
	to_trace(m, s);
	if (fresh) {
		s->found = map_lookup(map, key, value);
		s->value = arena_dup(&m->arena, strbuf_slice(value));
		return s->found;
	}
	strbuf_reset(value);
	(void)strbuf_add_slice(value, s->value);
	return s->found;
}

enum memo_user
memo_user(struct memo *m, struct slice name, uint64_t *uid)
{
	bool fresh;
	struct step *s = step_of(m, KIND_USER, SL("users"), name, &fresh);

	to_trace(m, s);
	if (fresh) {
		s->waiting = true;
	}
	if (s->waiting) {
		return MEMO_USER_WAIT;
	}
	*uid = s->uid;
	switch (s->found) {
	case MAP_FOUND:
		return MEMO_USER_FOUND;
	case MAP_NONE:
		return MEMO_USER_NONE;
	case MAP_TEMP:
		break;
	}
	return MEMO_USER_TEMP;
}

void
memo_note(struct memo *m, const char *what, struct slice key, const char *fmt,
    ...)
{
	struct step *s;
	va_list ap;
	bool fresh;

	if (m == NULL) {
		return;
	}
	s = step_of(m, KIND_NOTE, slice_of(what), key, &fresh);
	to_trace(m, s);
	if (!fresh) { /* the same as in the round before */
		return;
	}
	strbuf_reset(&m->scratch);
	va_start(ap, fmt);
	(void)strbuf_vprintf(&m->scratch, fmt, ap);
	va_end(ap);
	s->value = arena_dup(&m->arena, strbuf_slice(&m->scratch));
}

bool
memo_need(const struct memo *m, size_t *place, struct slice *user)
{
	while (*place < m->nsteps) {
		const struct step *s = &m->steps[(*place)++];

		if (s->kind == KIND_USER && s->waiting) {
			*user = s->key;
			return true;
		}
	}
	return false;
}

void
memo_answer_user(struct memo *m, struct slice user, enum map_result found,
    uint64_t uid, struct slice reason)
{
	struct step *s;
	uint32_t i;

	step_name(m, KIND_USER, SL("users"), user);
	if (!table_get(&m->index, strbuf_slice(&m->scratch), &i)) {
		return; /* never asked: nobody waits for it */
	}
	s = &m->steps[i];
	s->waiting = false;
	s->found = found;
	s->uid = uid;
	strbuf_reset(&m->scratch);
	if (found == MAP_FOUND) {
		(void)strbuf_printf(&m->scratch, "uid %llu",
		    (unsigned long long)uid);
	} else {
		(void)strbuf_add_slice(&m->scratch, reason);
	}
	s->value = arena_dup(&m->arena, strbuf_slice(&m->scratch));
}

/* The words of a result, made when somebody reads the trace. */
static struct slice
words(struct memo *m, const struct step *s)
{
	if (s->kind == KIND_NOTE) {
		return s->value;
	}
	strbuf_reset(&m->scratch);
	if (s->waiting) {
		(void)strbuf_add_str(&m->scratch, "asked, no answer yet");
	} else if (s->found == MAP_NONE) {
		(void)strbuf_add_str(&m->scratch, "not found");
	} else {
		(void)strbuf_add_str(&m->scratch, s->found == MAP_FOUND ?
		    "found: " : "failed: ");
		(void)strbuf_add_slice(&m->scratch, s->value);
	}
	return arena_dup(&m->arena, strbuf_slice(&m->scratch));
}

bool
memo_step(struct memo *m, size_t *place, struct slice *what, struct slice *key,
    struct slice *result)
{
	const struct step *s;

	if (*place >= m->ntrace) {
		return false;
	}
	s = &m->steps[m->trace[(*place)++]];
	*what = s->what;
	if (s->kind == KIND_MAP && what->n > NAME_SHOWN) { /* inline:{...} */
		what->n = NAME_SHOWN;
	}
	*key = s->key;
	*result = words(m, s);
	return true;
}
