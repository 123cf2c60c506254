/*
 * The journal at the start. Its entries, in order, give what each message in it
 * is now; then files and entries are put together: a file wins over the image of
 * the same message, all state records apply to it (those that it has already
 * change nothing), and "done" means that the file goes. What lives goes on in
 * the journal (common/spool_copies.c); files are brought up to date while mail
 * flows.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/io.h"
#include "common/journal.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/reading.h"
#include "common/spool_int.h"
#include "common/spool_said.h"
#include "common/xmalloc.h"

/* -- reading ---------------------------------------------------------------------- */

static void
on_entry(void *arg, uint64_t lsn, uint8_t kind, uint64_t qid,
    struct slice body)
{
	struct spool *sp = arg;
	char id[QID_TEXT + 1];

	if (spool_said_add(&sp->replay, lsn, kind, qid, body)) {
		return;
	}
	qid_format(qid, id);
	log_error("spool: %s: an entry of the journal, of kind %u, makes no "
	    "sense and is left out", id, kind);
}

/* A journal with something in it is never passed over, not even when the settings
   say that there shall be none. */
int
spool_replay_open(struct spool *sp, const struct spool_config *cfg)
{
	struct journal_config jc = { .spool_fd = cfg->queue_fd,
		.segment_size = cfg->journal_segment_size,
		.segments = cfg->journal_segments };
	struct journal_report found;

	if (jc.segments == 0) {
		if (journal_scan(cfg->queue_fd, NULL, NULL, NULL, &found) ==
		    -1) {
			return -1;
		}
		if (found.entries == 0 && found.bad == 0) {
			return journal_remove(cfg->queue_fd);
		}
		log_warn("spool: no journal is wanted, but there is one, and "
		    "mail in it: it goes on until the next clean stop");
		jc.segments = JOURNAL_SEGMENTS_MIN;
		jc.segment_size = JOURNAL_SEGMENT_MIN;
	}
	sp->journal_segments = jc.segments;
	if (journal_open(sp->base, &jc, on_entry, sp, &sp->journal) == -1) {
		return -1;
	}
	if (spool_index_last(&sp->replay) > sp->last_qid) {
		sp->last_qid = spool_index_last(&sp->replay);
	}
	/* a test's own clock is not the one of the files */
	if (sp->clock_us == NULL) {
		spool_qid_after_file(sp, journal_newest_us(sp->journal));
	}
	return 0;
}

bool
spool_replay_is_done(const struct spool *sp, uint64_t qid)
{
	const struct spool_said *r = spool_said_find(&sp->replay, qid);

	return r != NULL && r->done;
}

void
spool_replay_apply(const struct spool *sp, uint64_t qid,
    struct spool_state *st)
{
	const struct spool_said *r = spool_said_find(&sp->replay, qid);

	if (r != NULL) {
		(void)spool_state_apply(st, strbuf_slice(&r->records));
	}
}

uint64_t
spool_replay_lsn(const struct spool *sp, uint64_t qid)
{
	const struct spool_said *r = spool_said_find(&sp->replay, qid);

	return r != NULL ? r->lsn : 0;
}

int
spool_replay_news(struct spool *sp, int (*each)(struct spool *sp, uint64_t qid,
    bool done, struct slice records, uint64_t *lsn))
{
	struct spool_index_at at = { 0 };
	struct spool_said *r;
	uint64_t lsn;

	while ((r = spool_said_each(&sp->replay, &at)) != NULL) {
		if (!r->over && r->news.n == 0) {
			continue;
		}
		if (each(sp, r->qid, r->over, strbuf_slice(&r->news), &lsn) ==
		    -1) {
			return -1;
		}
		r->lsn = r->lsn == 0 ? lsn : r->lsn;
	}
	return 0;
}

/* -- together with the files --------------------------------------------------------- */

/* Of no use to us, but not lost. */
static int
keep_aside(struct spool *sp, const struct spool_said *r, const char *why)
{
	char id[QID_TEXT + 1], name[SPOOL_NAME_MAX];
	const int dir = sp->dirs[spool_dir_of(r->qid)];
	int fd, ret;

	qid_format(r->qid, id);
	log_error("spool: %s: the journal's copy cannot be read (%s); kept as "
	    "%s.corrupt", id, why, id);
	spool_name_corrupt(r->qid, name);
	fd = io_openat("spool.replay.aside", dir, name, O_WRONLY | O_CREAT |
	    O_NOFOLLOW, 0600);
	if (fd == -1) {
		return -1;
	}
	ret = io_pwrite("spool.replay.aside", fd, r->image, r->n, 0);
	if (ret == 0) {
		ret = io_fsync("spool.replay.aside", fd);
	}
	(void)close(fd);
	sp->corrupt++;
	return ret == 0 ? io_fsync("spool.replay.aside", dir) : -1;
}

/* A whole image: NULL and *st, *content, or what is wrong. */
static const char *
decode_image(uint64_t qid, struct slice image, struct spool_header *h,
    struct slice *content, struct spool_state **st)
{
	const char *why = spool_parse(image, NULL, content, NULL, NULL, true);
	size_t tail;

	if (why == NULL) {
		why = spool_header_decode(image, h);
	}
	if (why == NULL && h->qid != qid) {
		why = "of another message";
	}
	if (why == NULL) {
		tail = SPOOL_HEADER + content->n;
		why = spool_state_decode(h, slice_make(image.p + tail,
		    image.n - tail), st);
	}
	return why;
}

/* No file: all of it comes from the journal. */
static int
revive(struct spool *sp, const struct spool_said *r)
{
	struct spool_header h;
	struct spool_state *st = NULL;
	struct slice content;
	struct spool_msg *m;
	const char *why = READING_WHY;

	if (reading_begin(r->qid)) {
		why = decode_image(r->qid, slice_make(r->image, r->n), &h,
		    &content, &st);
		reading_end();
	}
	if (why != NULL) {
		return keep_aside(sp, r, why);
	}
	m = spool_msg_new(r->qid);
	m->filed = false;
	m->checked = true;
	m->flags = h.flags;
	m->content_n = content.n;
	m->content = xmalloc(content.n + 1);
	memcpy(m->content, content.p, content.n);
	spool_msg_keep_state(sp, m, st);
	spool_msg_keep_content(sp, m);
	spool_msg_apply(sp, m, strbuf_slice(&r->records));
	spool_msg_enter(sp, m);
	spool_anchor(sp, m, 1ULL << 32); /* the true one comes with the copy */
	return 0;
}

static void
take_records(struct spool *sp, struct spool_said *r)
{
	struct spool_msg *m = spool_msg_get(sp, r->qid);

	spool_set_pending(sp, m, strbuf_slice(&r->records));
	spool_anchor(sp, m, 1ULL << 32);
	strbuf_reset(&r->records);
}

static void
doom(struct spool *sp, uint64_t qid)
{
	struct spool_msg *m = spool_msg_get(sp, qid);

	spool_msg_leave(sp, m);
	spool_anchor(sp, m, 1ULL << 32);
	spool_doom(sp, m);
}

void
spool_replay_fates(struct spool *sp, uint64_t qid, struct slice fates,
    bool done)
{
	struct spool_msg *m = spool_msg_get(sp, qid);
	struct spool_said *r = spool_said_get(&sp->replay, qid);

	(void)strbuf_add_slice(&r->news, fates);
	r->over = r->over || done;
	if (done && m->filed) {
		doom(sp, qid);
	} else if (done) {
		spool_msg_leave(sp, m);
		spool_unanchor(sp, m);
		spool_msg_ready(sp, m); /* frees it */
	} else {
		if (m->state != NULL) {
			spool_msg_apply(sp, m, fates);
		}
		if (m->filed) {
			spool_set_pending(sp, m, fates);
			spool_anchor(sp, m, 1ULL << 32);
		}
	}
}

static int
replay_one(struct spool *sp, struct spool_said *r)
{
	const bool file = spool_index_find(&sp->index, r->qid) != NULL;

	if (r->done) {
		if (file) {
			doom(sp, r->qid);
		}
	} else if (file) {
		if (r->records.n > 0) {
			take_records(sp, r);
		}
	} else if (r->image != NULL) {
		return revive(sp, r);
	}
	return 0;
}

int
spool_replay_messages(struct spool *sp)
{
	struct spool_index_at at = { 0 };
	struct spool_said *r;

	while ((r = spool_said_each(&sp->replay, &at)) != NULL) {
		if (replay_one(sp, r) == -1) {
			return -1;
		}
	}
	return 0;
}

void
spool_replay_children(struct spool *sp)
{
	struct spool_index_at at = { 0 };
	struct spool_said *r;

	while ((r = spool_said_each(&sp->replay, &at)) != NULL) {
		if (!r->done && r->image == NULL && r->records.n > 0 &&
		    spool_index_find(&sp->index, r->qid) != NULL) {
			take_records(sp, r);
		}
	}
}
