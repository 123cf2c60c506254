#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "tests/unit/notice_kit.h"

static int
send_fate(struct world *w, uint64_t qid, const struct fate_item *item)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	fate_item_encode(item, &b);
	ipc_begin(w->qmgr.ch, IPC_FATES, 50);
	ipc_put_u(w->qmgr.ch, qid);
	ipc_put_s(w->qmgr.ch, strbuf_slice(&b));
	ipc_end(w->qmgr.ch);
	strbuf_clear(&b);
	return (int)peer_next(w, &w->qmgr, IPC_FATES_ACK)->u[1];
}

int
notice_stuck(struct world *w, uint64_t qid, uint32_t index)
{
	const struct fate_item item = { .index = index, .attempt = 1,
		.fate = FATE_DEFERRED, .next_at = 5, .esc = SL("5.1.1"),
		.reply = SL("550 5.1.1 nobody of that name"),
		.relay = SL("mx.far.example[192.0.2.7]:25") };

	return send_fate(w, qid, &item);
}

int
notice_fate(struct world *w, uint64_t qid, uint32_t index, enum fate fate)
{
	const struct fate_item item = { .index = index, .attempt = 2,
		.fate = (uint8_t)fate, .next_at = 5, .esc = SL("4.4.1"),
		.reply = SL("no answer") };

	return send_fate(w, qid, &item);
}

struct got *
notice_order(struct world *w, uint64_t qid, enum ipc_notice kind)
{
	struct got *g;

	peer_send(&w->qmgr, IPC_NOTICE, 80, "uu", qid, (uint64_t)kind);
	g = peer_next(w, &w->qmgr, IPC_NOTICED);
	assert_int_equal(g->tid, 80);
	assert_true(g->u[0] == qid && g->u[1] == kind);
	return g;
}

struct seeing {
	struct letter_seen *l;
	bool done, found;
};

static void
on_info(void *arg, uint64_t qid, int error, const struct spool_info *info)
{
	struct seeing *s = arg;
	struct letter_seen *l = s->l;
	const struct envelope *e;
	uint32_t i;

	s->done = true;
	s->found = error == 0;
	if (error != 0) {
		return;
	}
	e = info->envelope;
	l->qid = qid;
	l->parent_qid = e->parent_qid;
	l->parent_kind = e->parent_kind;
	l->flags = e->flags;
	l->nrcpts = e->nrcpts;
	l->open = info->rcpts_open;
	(void)snprintf(l->reverse_path, sizeof(l->reverse_path), "%s",
	    e->reverse_path);
	(void)snprintf(l->address, sizeof(l->address), "%s",
	    e->rcpts[0].address);
	(void)snprintf(l->transport, sizeof(l->transport), "%s",
	    e->rcpts[0].transport);
	(void)snprintf(l->next_hop, sizeof(l->next_hop), "%s",
	    e->rcpts[0].next_hop);
	for (i = 0; i < e->nrcpts && i < NELEMS(l->fate); i++) {
		l->fate[i] = info->rcpts[i].fate;
		l->warned[i] = info->rcpts[i].warned;
	}
}

static void
on_content(void *arg, uint64_t qid, int error, struct slice content, int fd,
    uint64_t offset, uint64_t size, uint32_t flags)
{
	struct seeing *s = arg;

	(void)qid;
	(void)flags;
	s->done = true;
	s->found = error == 0;
	if (error == 0 && fd == -1) {
		s->l->content = xslicedup(content);
	} else if (error == 0) {
		s->l->content = xcalloc(1, (size_t)size + 1);
		s->found = pread(fd, s->l->content, (size_t)size,
		    (off_t)offset) == (ssize_t)size;
		(void)close(fd);
	}
}

bool
letter_see(struct world *w, uint64_t qid, struct letter_seen *l)
{
	struct seeing s = { .l = l };

	*l = (struct letter_seen){ .qid = qid };
	spool_info_get(w->pg.spool, qid, on_info, &s);
	world_wait(w, s.done);
	if (s.found) {
		s.done = false;
		spool_content(w->pg.spool, qid, SPOOL_INLINE_MAX, on_content,
		    &s);
		world_wait(w, s.done);
	}
	return s.found;
}

void
letter_clear(struct letter_seen *l)
{
	free(l->content);
	l->content = NULL;
}

size_t
notice_children(struct world *w, uint64_t parent, uint64_t *qids, size_t max)
{
	struct letter_seen l;
	uint64_t ids[64];
	size_t i, n = spool_list(w->pg.spool, 0, ids, NELEMS(ids)), found = 0;

	for (i = 0; i < n && found < max; i++) {
		if (letter_see(w, ids[i], &l) && l.parent_qid == parent &&
		    l.parent_kind == SPOOL_CHILD_NOTICE) {
			qids[found++] = ids[i];
		}
		letter_clear(&l);
	}
	return found;
}
