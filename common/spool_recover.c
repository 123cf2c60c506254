/*
 * The start: make directories, look at names, remove leftovers, finish or undo
 * the groups that a crash has cut (the table in common/spool.h). Blocks; no
 * thread runs yet, so batches are run right here.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/io.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/spool_int.h"
#include "common/spool_said.h"
#include "common/spool_names.h"
#include "common/xmalloc.h"

#define FOREIGN_NAMED 5 /* names that are not ours: so many are logged */

struct child {
	uint64_t qid, parent;
	bool gone;            /* undone, or not readable */
	bool kept;
	bool done;            /* it was there, and has been dealt with */
};

struct recovery {
	struct spool *sp;
	struct child *children; /* sorted by queue id when the scan is over */
	size_t nchildren;
	size_t leftovers, foreign;
};

/* -- directories ------------------------------------------------------------------- */

static int
make_dir(int at, const char *name)
{
	if (io_mkdirat("spool.start.mkdir", at, name, 0700) == -1 &&
	    errno != EEXIST) {
		return -1;
	}
	return io_openat("spool.start.open", at, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

/* queue/0 ... queue/f. Flushed each time: an earlier start may have made them
   and died before it could. */
static int
open_dirs(struct spool *sp, int queue_fd)
{
	static const char digits[] = "0123456789abcdef";
	char name[2] = "0";
	int queue = make_dir(queue_fd, "queue"), i;

	sp->dirs[SPOOL_DIRS] = queue;
	if (queue == -1) {
		return -1;
	}
	for (i = 0; i < SPOOL_DIRS; i++) {
		name[0] = digits[i];
		sp->dirs[i] = make_dir(queue, name);
		if (sp->dirs[i] == -1) {
			return -1;
		}
	}
	if (io_fsync("spool.start.sync", queue) == -1) {
		return -1;
	}
	return io_fsync("spool.start.sync", queue_fd);
}

/* -- names ------------------------------------------------------------------------- */

static void
add_child(struct recovery *rc, uint64_t qid, uint64_t parent)
{
	if ((rc->nchildren & (rc->nchildren - 1)) == 0) {
		rc->children = xreallocarray(rc->children,
		    rc->nchildren == 0 ? 1 : rc->nchildren * 2,
		    sizeof(*rc->children));
	}
	rc->children[rc->nchildren++] = (struct child){ .qid = qid,
		.parent = parent };
}

static void
foreign(struct recovery *rc, unsigned dir, const char *name)
{
	struct strbuf b;

	if (rc->foreign++ >= FOREIGN_NAMED) {
		return;
	}
	strbuf_init(&b, 0);
	strbuf_add_quoted(&b, slice_of(name), 100);
	log_warn("spool: queue/%x/%s is not a queue file; left alone", dir,
	    b.p != NULL ? b.p : "");
	strbuf_clear(&b);
}

static int
scan_name(struct recovery *rc, unsigned dir, const char *name)
{
	struct spool *sp = rc->sp;
	uint64_t qid = 0, parent = 0;
	enum spool_name_kind kind = spool_name_parse(name, &qid, &parent);

	if (kind != SPOOL_NAME_FOREIGN && spool_dir_of(qid) != dir) {
		kind = SPOOL_NAME_FOREIGN;
	}
	if (kind != SPOOL_NAME_FOREIGN && qid > sp->last_qid) {
		sp->last_qid = qid;
	}
	switch (kind) {
	case SPOOL_NAME_MESSAGE:
		break; /* not here: see index_ids() */
	case SPOOL_NAME_CHILD:
		add_child(rc, qid, parent);
		break;
	case SPOOL_NAME_TMP:
		rc->leftovers++;
		return io_unlinkat("spool.start.unlink", sp->dirs[dir], name,
		    0);
	case SPOOL_NAME_CORRUPT:
		sp->corrupt++;
		break;
	case SPOOL_NAME_FOREIGN:
		foreign(rc, dir, name);
		break;
	}
	return 0;
}

static int
scan_others(struct recovery *rc, const struct spool_names *names)
{
	size_t at = 0;
	int ret = 0;

	while (ret == 0 && at < names->others.n) {
		ret = scan_name(rc, names->dir, names->others.p + at);
		at += strlen(names->others.p + at) + 1;
	}
	return ret;
}

/* All messages into the index, the lowest queue id first: an insertion at its
   end costs the least. */
static void
index_ids(struct spool *sp, const struct spool_names names[SPOOL_DIRS])
{
	size_t at[SPOOL_DIRS] = { 0 };
	const uint64_t *least, *id;
	unsigned dir, of = 0;

	do {
		least = NULL;
		for (dir = 0; dir < SPOOL_DIRS; dir++) {
			id = &names[dir].ids[at[dir]];
			if (at[dir] < names[dir].nids &&
			    (least == NULL || *id < *least)) {
				least = id;
				of = dir;
			}
		}
		if (least != NULL) {
			(void)spool_index_add(&sp->index, *least);
			at[of]++;
			if (*least > sp->last_qid) {
				sp->last_qid = *least;
			}
		}
	} while (least != NULL);
}

static int
open_to_read(struct spool *sp, struct spool_names names[SPOOL_DIRS])
{
	unsigned dir;

	for (dir = 0; dir < SPOOL_DIRS; dir++) {
		names[dir].dir = dir;
		names[dir].fd = io_openat("spool.start.scan", sp->dirs[dir],
		    ".", O_RDONLY | O_DIRECTORY, 0);
		if (names[dir].fd == -1) {
			return -1;
		}
	}
	return 0;
}

static int
scan(struct recovery *rc)
{
	struct spool_names names[SPOOL_DIRS] = { 0 };
	unsigned dir;
	int ret, saved;

	for (dir = 0; dir < SPOOL_DIRS; dir++) {
		names[dir].fd = -1;
	}
	ret = open_to_read(rc->sp, names);
	if (ret == 0) {
		spool_names_read(names, SPOOL_DIRS);
		index_ids(rc->sp, names);
	}
	for (dir = 0; dir < SPOOL_DIRS && ret == 0; dir++) {
		errno = names[dir].error;
		ret = errno != 0 ? -1 : scan_others(rc, &names[dir]);
	}
	saved = errno;
	for (dir = 0; dir < SPOOL_DIRS; dir++) {
		if (names[dir].fd != -1) {
			(void)close(names[dir].fd);
		}
	}
	spool_names_clear(names, SPOOL_DIRS);
	errno = saved;
	return ret;
}

static int
compare_children(const void *a, const void *b)
{
	const struct child *x = a, *y = b;

	return (x->qid > y->qid) - (x->qid < y->qid);
}

static void
sort_children(struct recovery *rc)
{
	if (rc->nchildren > 1) {
		qsort(rc->children, rc->nchildren, sizeof(*rc->children),
		    compare_children);
	}
}

/* -- children of groups --------------------------------------------------------------- */

static struct child *
find_child(const struct recovery *rc, uint64_t qid)
{
	struct child key = { .qid = qid };

	return rc->nchildren == 0 ? NULL : bsearch(&key, rc->children,
	    rc->nchildren, sizeof(key), compare_children);
}

static bool
exists(const struct recovery *rc, uint64_t qid)
{
	const struct child *c = find_child(rc, qid);

	return (c != NULL && !c->gone) ||
	    spool_index_find(&rc->sp->index, qid) != NULL;
}

/* Run one operation here and now; frees it. */
static int
run_op(struct spool *sp, struct spool_op *op)
{
	int error;

	spool_commit_batch(sp, &op->job);
	error = op->error;
	free(op);
	errno = error;
	return error == 0 ? 0 : -1;
}

static int
take_file(struct spool *sp, enum spool_act_kind kind, uint64_t qid,
    uint64_t parent)
{
	struct spool_op *op = spool_op_new(1);

	op->acts[0].kind = kind;
	op->acts[0].qid = qid;
	op->acts[0].parent = parent;
	return run_op(sp, op);
}

static int
rename_child(struct spool *sp, const struct child *c)
{
	char from[SPOOL_NAME_MAX], to[SPOOL_NAME_MAX];
	int dir = sp->dirs[spool_dir_of(c->qid)];

	spool_name(c->qid, c->parent, from);
	spool_name(c->qid, 0, to);
	return io_renameat("spool.start.rename", dir, from, dir, to);
}

/* The child's mail is the spool's now. With a journal it gets its name when its
   parent's fates are durable. */
static int
keep_child(struct spool *sp, struct child *c)
{
	(void)spool_index_add(&sp->index, c->qid);
	c->kept = true;
	return sp->journal != NULL ? 0 : rename_child(sp, c);
}

static int
rename_children(struct recovery *rc)
{
	size_t i;

	for (i = 0; i < rc->nchildren && rc->sp->journal != NULL; i++) {
		if (rc->children[i].kept &&
		    rename_child(rc->sp, &rc->children[i]) == -1) {
			return -1;
		}
	}
	return 0;
}

/* The parent's file says (all that is news of) the fates; it may go by that. */
static int
record_fates(struct spool *sp, const struct spool_state *st,
    struct slice fates)
{
	struct spool_op *op;
	uint64_t qid = st->header.qid;
	int ret;

	if (sp->journal != NULL) {
		spool_replay_fates(sp, qid, fates,
		    spool_state_open_after(st, fates) == 0);
		return 0;
	}
	if (spool_state_open_after(st, fates) == 0) {
		ret = take_file(sp, ACT_REMOVE, qid, 0);
		if (ret == 0) {
			(void)spool_index_drop(&sp->index, qid);
		}
		return ret;
	}
	op = spool_op_new(1);
	op->acts[0].kind = ACT_APPEND;
	op->acts[0].qid = qid;
	op->acts[0].records = fates;
	op->acts[0].end = st->end;
	op->acts[0].cut = st->cut;
	return run_op(sp, op);
}

static bool
all_known(const struct spool_state *st, struct slice fates)
{
	struct spool_record r;

	while (spool_record_next(&fates, st->header.qid, &r)) {
		if (r.kind == SPOOL_REC_FATE && spool_state_news(st, &r.fate)) {
			return false;
		}
	}
	return true;
}

static bool
siblings_exist(const struct recovery *rc, const struct spool_record *r)
{
	uint32_t i;

	for (i = 0; i < r->nsiblings; i++) {
		if (!exists(rc, spool_record_sibling(r, i))) {
			return false;
		}
	}
	return true;
}

/* The parent is there and readable: did the group happen? */
static int
decide(struct recovery *rc, struct child *c, const struct spool_record *r,
    const struct spool_state *parent)
{
	if (!all_known(parent, r->fates)) {
		if (!siblings_exist(rc, r)) {
			c->gone = true;
			return take_file(rc->sp, ACT_REMOVE, c->qid,
			    c->parent);
		}
		if (record_fates(rc->sp, parent, r->fates) == -1) {
			return -1;
		}
	}
	return keep_child(rc->sp, c);
}

static int
with_parent(struct recovery *rc, struct child *c, const struct spool_record *r)
{
	struct spool *sp = rc->sp;
	struct spool_loaded l;
	struct spool_msg *m;
	const struct child *up;
	void **place = spool_index_find(&sp->index, c->parent);
	int ret;

	if (place == NULL) {
		return keep_child(sp, c);
	}
	m = *place; /* known from the journal */
	if (m != NULL && m->state != NULL) {
		return decide(rc, c, r, m->state);
	}
	up = find_child(rc, c->parent); /* its name may be the long one yet */
	spool_load(sp, c->parent, up != NULL ? up->parent : 0, &l);
	if (l.error == EBADMSG) { /* told and set aside when it is read again */
		return keep_child(sp, c);
	}
	if (l.error != 0) {
		errno = l.error;
		return -1;
	}
	if (m != NULL) {
		(void)spool_state_apply(l.state, strbuf_slice(&m->pending));
	} else { /* a child itself: its turn comes */
		spool_replay_apply(sp, c->parent, l.state);
	}
	ret = decide(rc, c, r, l.state);
	spool_state_free(l.state);
	return ret;
}

/* A file that is no message, or no child: kept aside. */
static int
bad_child(struct recovery *rc, struct child *c, const char *why)
{
	char id[QID_TEXT + 1];

	qid_format(c->qid, id);
	log_error("spool: %s: the queue file cannot be read (%s); "
	    "kept as %s.corrupt", id, why, id);
	c->gone = true;
	rc->sp->corrupt++;
	return take_file(rc->sp, ACT_SET_ASIDE, c->qid, c->parent);
}

static int
recover_child(struct recovery *rc, struct child *c)
{
	struct spool_loaded l;
	struct spool_record r;
	struct slice group;
	int ret;

	spool_load(rc->sp, c->qid, c->parent, &l);
	if (l.error == EBADMSG) {
		return bad_child(rc, c, l.why);
	}
	if (l.error != 0) {
		errno = l.error;
		return -1;
	}
	group = strbuf_slice(&l.state->group);
	if (!spool_record_next(&group, c->qid, &r) || r.parent != c->parent) {
		ret = bad_child(rc, c, "its group record is damaged");
	} else {
		ret = with_parent(rc, c, &r);
	}
	spool_state_free(l.state);
	return ret;
}

/* Whether a sibling is readable must be known before any group is judged; so
   children are looked at twice. Rising queue ids: a child that is a parent, too,
   is decided before its own children. */
static int
recover_children(struct recovery *rc)
{
	size_t i;

	for (i = 0; i < rc->nchildren; i++) {
		struct child *c = &rc->children[i];
		struct spool_loaded l;

		if (spool_index_find(&rc->sp->index, c->qid) != NULL) {
			/* no crash makes this; the short name has it */
			foreign(rc, spool_dir_of(c->qid), "ID+PARENT of an ID");
			c->gone = true;
			continue;
		}
		if (spool_replay_is_done(rc->sp, c->qid)) {
			c->done = true;
			if (take_file(rc->sp, ACT_REMOVE, c->qid,
			    c->parent) == -1) {
				return -1;
			}
			continue;
		}
		if (rc->nchildren == 1) {
			break;
		}
		spool_load(rc->sp, c->qid, c->parent, &l);
		if (l.error == EBADMSG && bad_child(rc, c, l.why) == -1) {
			return -1;
		}
		spool_state_free(l.state);
	}
	for (i = 0; i < rc->nchildren; i++) {
		if (!rc->children[i].gone && !rc->children[i].done &&
		    recover_child(rc, &rc->children[i]) == -1) {
			return -1;
		}
	}
	return 0;
}

int
spool_recover(struct spool *sp, const struct spool_config *cfg)
{
	struct recovery rc = { .sp = sp };
	int ret = open_dirs(sp, cfg->queue_fd);

	if (ret == 0) {
		ret = spool_qid_recover(sp);
	}
	if (ret == 0) {
		ret = spool_replay_open(sp, cfg);
	}
	if (ret == 0) {
		ret = scan(&rc);
	}
	if (ret == 0) {
		sort_children(&rc);
		ret = spool_replay_messages(sp);
	}
	if (ret == 0) {
		ret = recover_children(&rc);
	}
	if (ret == 0) {
		ret = spool_replay_finish(sp);
	}
	if (ret == 0) {
		ret = rename_children(&rc);
	}
	if (ret == 0 && rc.foreign > FOREIGN_NAMED) {
		log_warn("spool: %zu files below queue/ are not queue files",
		    rc.foreign);
	}
	if (ret == 0) {
		log_info("spool: %zu messages, %zu corrupt, %zu leftovers "
		    "removed", sp->index.entries, sp->corrupt, rc.leftovers);
	}
	spool_said_clear(&sp->replay);
	free(rc.children);
	return ret;
}
