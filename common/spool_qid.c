/*
 * Queue ids: max(clock, last + 1). None is ever given twice, not even when its
 * message is gone and the clock is set back: Maildir names are made of them, and
 * a second message of the same name would be taken for a delivery that was done.
 *
 * At the start `last' is the largest id found, and the directories' times of
 * change: every id in them is older. When the clock falls behind the ids while
 * we run, these times would say too little; then an id well ahead is written to
 * queue/last, in a batch not later than that of the first message.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/spool_int.h"

#define BEHIND_US (50 * 1000)              /* less is a burst of mail */
#define AHEAD_US  ((uint64_t)3600 * 1000000) /* ids until the next mark */
#define COARSE_US (20 * 1000)              /* file times lag behind the clock */

uint64_t
spool_clock(const struct spool *sp)
{
	struct timespec ts;

	if (sp->clock_us != NULL) {
		return sp->clock_us();
	}
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void
mark_done(struct spool *sp, struct spool_job *job)
{
	struct spool_op *op = (struct spool_op *)job;

	sp->busy--;
	if (op->error != 0) {
		sp->mark = 0; /* with the next message again */
		log_error("spool: queue/last cannot be written: %s",
		    strerror(op->error));
	}
	free(op);
}

static void
mark(struct spool *sp)
{
	struct spool_op *op = spool_op_new(1);

	log_warn("spool: the clock is %llu s behind the queue ids",
	    (unsigned long long)(sp->last_qid - spool_clock(sp)) / 1000000);
	sp->mark = sp->last_qid + AHEAD_US;
	op->acts[0].kind = ACT_MARK;
	op->acts[0].qid = sp->mark;
	op->job.done = mark_done;
	sp->busy++;
	spool_submit(sp, SPOOL_COMMITTER, &op->job);
}

uint64_t
spool_next_qid(struct spool *sp)
{
	uint64_t now = spool_clock(sp);

	if (now > sp->last_qid) {
		sp->last_qid = now;
		return now;
	}
	sp->last_qid++;
	if (sp->last_qid - now > BEHIND_US && sp->last_qid >= sp->mark) {
		mark(sp);
	}
	return sp->last_qid;
}

static void
raise_last(struct spool *sp, uint64_t qid)
{
	if (qid > sp->last_qid) {
		sp->last_qid = qid;
	}
}

void
spool_qid_after_file(struct spool *sp, uint64_t time_us)
{
	raise_last(sp, time_us + COARSE_US);
}

/* A mark that the clock has passed has done its duty; that it stays is no harm. */
static int
read_mark(struct spool *sp)
{
	char text[QID_TEXT];
	int fd = io_openat("spool.start.open", sp->dirs[SPOOL_DIRS], "last",
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	uint64_t qid;
	ssize_t n;

	if (fd == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	n = read(fd, text, sizeof(text));
	(void)close(fd);
	if (n == (ssize_t)sizeof(text) &&
	    qid_parse(slice_make(text, sizeof(text)), &qid) && qid <= QID_MAX) {
		raise_last(sp, qid);
	} else if (n != -1) {
		log_error("spool: queue/last holds no queue id, and is ignored: "
		    "should the clock be behind, an id may be given twice");
	}
	return n == -1 ? -1 : 0;
}

int
spool_qid_recover(struct spool *sp)
{
	struct stat st;
	size_t i;

	for (i = 0; i < SPOOL_DIRS; i++) {
		if (fstat(sp->dirs[i], &st) == -1) {
			return -1;
		}
		/* a test's own clock is not the one of the files */
		if (sp->clock_us == NULL && st.st_mtim.tv_sec > 0) {
			spool_qid_after_file(sp, (uint64_t)
			    st.st_mtim.tv_sec * 1000000 +
			    (uint64_t)st.st_mtim.tv_nsec / 1000);
		}
	}
	return read_mark(sp);
}
