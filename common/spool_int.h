/*
 * spool_int - what the spool's own files share. Nobody else includes it.
 *
 * Two worlds, never mixed: the *loop thread* owns struct spool, the index, the
 * messages, requests, drafts and groups. The *threads* see jobs only: a job
 * owns, or borrows from something that stands still until its `done' has been
 * called, all that its `run' looks at; of struct spool it reads the directory
 * descriptors, which never change.
 */
#ifndef COMMON_SPOOL_INT_H
#define COMMON_SPOOL_INT_H

#include <pthread.h>
#include <sys/queue.h>

#include "common/journal.h"
#include "common/spool.h"
#include "common/spool_file.h"
#include "common/spool_index.h"

#define SPOOL_DIRS      16
#define SPOOL_BATCH_MAX 256 /* operations of one batch: its open descriptors */

/* -- threads (spool_worker.c) ------------------------------------------------ */

struct spool_job {
	struct spool_job *next;
	void (*run)(struct spool *sp, struct spool_job *job); /* on the thread;
	                                  the committer's jobs have none */
	void (*done)(struct spool *sp, struct spool_job *job); /* on the loop */
};

struct spool_jobs {
	struct spool_job *head, **tail;
};
void spool_jobs_init(struct spool_jobs *l);
void spool_jobs_add(struct spool_jobs *l, struct spool_job *job);
struct spool_job *spool_jobs_shift(struct spool_jobs *l);

enum spool_thread {
	SPOOL_COMMITTER, /* batches of spool_op */
	SPOOL_WRITER,    /* large content on its way in */
	SPOOL_READER,
	SPOOL_THREADS,
};

struct spool_worker {
	struct spool *sp;
	enum spool_thread kind;
	pthread_t thread;
	bool started;
	struct spool_jobs outbox; /* the loop's: handed over at a turn's end */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct spool_jobs todo;   /* under lock */
	bool idle, stop;          /* under lock */
};

/* -- the committer's operations (spool_commit.c) ----------------------------- */

enum spool_act_kind {
	ACT_CREATE,  /* write .ID whole; becomes ID or ID+PARENT */
	ACT_PUBLISH, /* .ID is written and synced; becomes ID or ID+PARENT */
	ACT_APPEND,  /* records at the end of ID */
	ACT_REMOVE,
	ACT_SET_ASIDE, /* ID becomes ID.corrupt */
	ACT_MARK,    /* write queue/last; qid: what it is to hold */
};

struct spool_act {
	enum spool_act_kind kind;
	uint64_t qid;
	uint64_t parent;      /* of the name ID+PARENT; 0: the name is ID */
	/* CREATE; borrowed: */
	struct spool_state *state; /* the envelope; gets its header and end */
	char *content;
	size_t content_n;
	/* CREATE: the first records; APPEND: all. Borrowed. */
	struct slice records;
	bool whole;           /* CREATE: records of all that the state says */
	uint64_t end;         /* APPEND: where */
	bool cut;             /* APPEND: truncate to `end' first */
	/* the committer's: */
	int fd;
	bool tmp;             /* .ID is there */
	bool renamed;
};

/* What happens together: all of its acts, or none as far as can be. */
struct spool_op {
	struct spool_job job;
	void *arg;            /* whose it is, for job.done */
	int error;            /* of the first act that failed */
	/* at the very end of a batch that went well: ID+PARENT becomes ID */
	struct spool_late {
		uint64_t qid, parent;
		bool failed;
	} *late;
	size_t nlate;
	size_t nacts;
	struct spool_act acts[];
};

struct spool_op *spool_op_new(size_t nacts);
/* Blocks. All operations of a batch, in the order of common/spool.h. */
void spool_commit_batch(struct spool *sp, struct spool_job *first);

/* -- files on the threads (spool_read.c, spool_draft.c) ------------------------ */

/* ID+PARENT; or, with no parent or when the name has just become short, ID. */
int spool_open_file(const char *site, int dir, uint64_t qid, uint64_t parent,
    int flags);

/* What is read from a message's file. Blocks. */
struct spool_loaded {
	int error;              /* EBADMSG: `why' */
	const char *why;
	struct spool_state *state;
};
void spool_load(struct spool *sp, uint64_t qid, uint64_t parent,
    struct spool_loaded *out);

/* Octets of a queue file: from `from' to `records', which is not behind `size',
   its end; then records, until one is damaged (some of what follows, too, so that
   this is seen). `first' was read already: how it begins. */
struct spool_part {
	int fd;
	uint64_t qid, from, records, size;
	struct slice first;
};
/* Blocks. Freed by the caller; NULL: errno, EBADMSG when it is shorter. */
char *spool_read_part(const struct spool_part *in, size_t *n);
/* The same from the beginning, for tools; of what is no queue file only that. */
char *spool_read_file(int fd, uint64_t size, size_t *n);

/* The content of a message, or a descriptor of its file. */
struct spool_content_read {
	uint64_t qid, parent;
	size_t inline_max;
	bool checked;
	int error;              /* EBADMSG: `why' */
	const char *why;
	struct spool_header header;
	char *content;          /* NULL: see fd */
	int fd;
};
void spool_read_content(struct spool *sp, struct spool_content_read *c);

/* Ids are microseconds: those of about a second share a directory, so that a
   batch flushes one or two, not all. */
static inline unsigned
spool_dir_of(uint64_t qid)
{
	return (unsigned)(qid >> 20 & (SPOOL_DIRS - 1));
}

/* -- the loop's objects ------------------------------------------------------- */

enum spool_req_kind {
	REQ_INFO,
	REQ_CONTENT,
	REQ_STATE,   /* fates or hold: records to append */
	REQ_DELETE,
	REQ_GROUP,
	REQ_SETTLE,  /* a group whose parent could not be written: again */
};

struct spool_req {
	STAILQ_ENTRY(spool_req) next;
	enum spool_req_kind kind;
	spool_info_cb *info_cb;
	spool_content_cb *content_cb;
	spool_fates_cb *fates_cb;
	spool_done_cb *done_cb;
	void *arg;
	size_t inline_max;
	struct strbuf records;
	uint32_t index_max;  /* the largest recipient index in `records' */
	bool invalid;        /* an item that no message can have */
	bool crash;          /* STATE: one crash mark more */
	struct spool_birth *birth; /* GROUP */
	struct spool_group *group; /* SETTLE */
	bool flushed;        /* SETTLE: the journal has the parent's fates */
};

/*
 * A group whose children are durable and whose parent's file does not say so
 * yet. Lives until it does.
 */
struct spool_group {
	TAILQ_ENTRY(spool_group) next;
	struct spool_msg *parent;    /* pinned */
	struct strbuf records;       /* the parent's fates */
	struct spool_msg **children; /* those with the long name still */
	size_t nchildren;
	bool settling;               /* being tried (again) */
};

/* A message in use: it has requests, or memory of it is kept. */
struct spool_msg {
	uint64_t qid;
	bool indexed;       /* accepted, and not gone */
	bool filed;         /* it has a file; else all of it is here and in the
	                       journal */
	bool doomed;        /* gone, but its file is there still */
	bool going;         /* counted in sp->ngoing */
	bool settling;      /* being brought into its file */
	uint64_t anchor;    /* segment of the journal; 0: needs none */
	struct strbuf pending; /* records in the journal that the file has not */
	TAILQ_ENTRY(spool_msg) by_anchor;
	STAILQ_ENTRY(spool_msg) doomed_next; /* on sp->doomed or sp->gate */
	bool busy;          /* the head's job is in flight, or at the gate */
	bool ready;         /* on sp->ready */
	bool checked;       /* the content's checksum is known to be right */
	bool passed;        /* busy when it was to be settled: look again */
	bool waits;         /* busy: for its group to be settled */
	int settle_error;   /* why that failed */
	unsigned pins;      /* groups that need its state */
	size_t merged;      /* requests that the job in flight answers */
	struct spool_state *state;   /* NULL: not loaded */
	char *content;               /* all of it, or NULL */
	size_t content_n;
	uint32_t flags;              /* of the content, while it is here */
	struct spool_group *group;   /* that it is a child of, unsettled */
	STAILQ_HEAD(, spool_req) reqs;
	STAILQ_ENTRY(spool_msg) ready_next;
	TAILQ_ENTRY(spool_msg) by_state, by_content;
};

/*
 * Messages on their way to be durable together: one by spool_accept(), the
 * children of a group by spool_group().
 */
struct spool_birth {
	struct spool_job job;        /* to be refused at the turn's end */
	struct journal_entry entry;
	struct spool *sp;
	size_t n;
	struct spool_msg **msgs;
	struct spool_draft **drafts; /* NULL elements: content in memory */
	struct spool_msg *one_msg;   /* these two when n is 1 */
	struct spool_draft *one_draft;
	size_t waiting;              /* drafts that are being written */
	int error;
	void (*done)(struct spool *sp, struct spool_birth *b);
	/* accept: */
	spool_done_cb *cb;
	void *arg;
	/* group: */
	struct spool_msg *parent;    /* NULL: none */
	struct strbuf *records;      /* of each child: the group record */
	struct strbuf fates;         /* records of the parent */
};

struct spool {
	struct event_base *base;
	int dirs[SPOOL_DIRS + 1]; /* queue/0 ... queue/f, queue */
	uint64_t memory_limit, memory;
	uint64_t (*clock_us)(void);
	uint64_t last_qid;
	uint64_t mark;      /* what queue/last holds; 0: nothing */
	struct spool_index index;
	size_t corrupt;
	size_t busy;        /* requests, births and jobs that must finish */
	void (*accepted)(void *arg, uint64_t qid);
	void *accepted_arg;
	TAILQ_HEAD(, spool_msg) states, contents; /* the oldest first */
	STAILQ_HEAD(, spool_msg) ready;
	TAILQ_HEAD(, spool_group) groups;
	struct event *event;   /* on done_fd; also the end of a turn */
	int done_fd;           /* eventfd */
	pthread_mutex_t done_lock;
	struct spool_jobs done; /* under done_lock */
	struct spool_jobs later; /* the loop's own: `done' at the turn's end */
	struct spool_worker workers[SPOOL_THREADS];
	bool in_turn, closing;
	bool resting;       /* all is to be brought into files */
	/* spool_journal.c; journal NULL: there is none */
	struct journal *journal;
	bool running;          /* it has been started */
	TAILQ_HEAD(spool_anchored, spool_msg) anchored; /* rising anchors */
	size_t nanchored, nunfiled;
	struct strbuf scratch; /* of one encoding */
	STAILQ_HEAD(, spool_msg) doomed; /* to be unlinked soon */
	STAILQ_HEAD(, spool_msg) gate; /* to be removed, when there is room */
	size_t ngoing;         /* doomed, or about to be: SPOOL_GOING_MAX */
	uint64_t last_lsn;     /* of the entries that were answered */
	size_t settling;       /* messages that are being settled */
	size_t settling_octets; /* of their content, to be dropped then */
	unsigned journal_segments;
	uint64_t patience_ms;  /* of a new message, for room */
	bool settle_more;      /* there may be something to settle */
	int settle_error;
	uint64_t settle_pause; /* ms: not before */
	uint64_t spilled, settled; /* so far */
	int failed;            /* the journal cannot be written any more */
	void (*on_fatal)(void *arg, int error);
	void *on_fatal_arg;
	struct event *timer;
	struct spool_index replay; /* at the start only: of spool_said */
};

/* In so many ms, if not before, something is to be done. */
void spool_timer(struct spool *sp, unsigned ms);

/* Hand a job to a thread, at the end of this turn. */
void spool_submit(struct spool *sp, enum spool_thread t, struct spool_job *job);
/* Call job->done at the end of this turn. */
void spool_later(struct spool *sp, struct spool_job *job);
/* Something is to be done at the end of this turn. */
void spool_wake(struct spool *sp);
int spool_workers_open(struct spool *sp);
/* Lets the threads finish all that they were given. */
void spool_workers_close(struct spool *sp);
/* Hand over what was submitted. */
void spool_workers_flush(struct spool *sp);
/* What the threads have finished, since the last call. */
struct spool_jobs spool_workers_done(struct spool *sp);

/* spool_qid.c */
uint64_t spool_clock(const struct spool *sp);
/* Above all that were ever given. */
uint64_t spool_next_qid(struct spool *sp);
/* At the start, after the scan: what else the ids must be above. */
int spool_qid_recover(struct spool *sp);
/* A file that an id was written to was changed at that time. */
void spool_qid_after_file(struct spool *sp, uint64_t time_us);

/* To the log: an operation of the committer that failed. */
void spool_log_failed(uint64_t qid, const char *what, int error);

/* spool_msg.c: the loop's table of messages */

/* Not in the index, knows nothing. */
struct spool_msg *spool_msg_new(uint64_t qid);
/* The message of an id; when it is not in the index, a fresh one. */
struct spool_msg *spool_msg_get(struct spool *sp, uint64_t qid);
/* Put it to work, or out of memory, as it needs, at the end of this turn. */
void spool_msg_ready(struct spool *sp, struct spool_msg *m);
/* Count its state and its content as memory from now on. */
void spool_msg_keep_state(struct spool *sp, struct spool_msg *m,
    struct spool_state *st);
void spool_msg_keep_content(struct spool *sp, struct spool_msg *m);
void spool_msg_drop_content(struct spool *sp, struct spool_msg *m);
/* Its state has changed by these records. */
void spool_msg_apply(struct spool *sp, struct spool_msg *m,
    struct slice records);
/* It is durable and to be found from now on. */
void spool_msg_enter(struct spool *sp, struct spool_msg *m);
/* It is no more. */
void spool_msg_leave(struct spool *sp, struct spool_msg *m);
/* Its file is not there as it should be: it leaves, and nothing is kept up to
   date any more. */
void spool_msg_lost(struct spool *sp, struct spool_msg *m);
/* Frees it when nothing holds it. */
void spool_msg_release(struct spool *sp, struct spool_msg *m);
/* It has a file from now on: what is kept of it may be forgotten. */
void spool_msg_filed(struct spool *sp, struct spool_msg *m);
/* One that was never kept nor entered. */
void spool_msg_free(struct spool_msg *m);
/* Bring memory below its limit. */
void spool_msg_trim(struct spool *sp);
void spool_msg_free_all(struct spool *sp);
/* The second half of its file's name, while it has one; else 0. */
uint64_t spool_msg_parent(const struct spool_msg *m);
/* The file cannot be read as a message: set it aside; m has left. */
void spool_msg_corrupt(struct spool *sp, struct spool_msg *m, const char *why);

/* spool_work.c: the requests, one at a time for each message */
void spool_msg_work(struct spool *sp, struct spool_msg *m);
/* Answer the request at the head and drop it. `gone' for fates. */
void spool_req_answer(struct spool *sp, struct spool_msg *m, int error,
    bool gone);
/* The state is there; else false, and it is being read. May answer the head. */
bool spool_msg_need_state(struct spool *sp, struct spool_msg *m);

/* spool_change.c: those that change a message; the one at the head is one */
void spool_state_work(struct spool *sp, struct spool_msg *m);
void spool_delete_work(struct spool *sp, struct spool_msg *m);
/* An operation that removes m's file, to be submitted. */
struct spool_op *spool_remove_op(const struct spool_msg *m);
struct spool_op *spool_append_op(const struct spool_msg *m,
    struct slice records);

/* -- spool_journal.c ------------------------------------------------------------ */

/* Kinds of entries of the journal. */
enum spool_entry_kind {
	SPOOL_ENTRY_MESSAGE = 1, /* the image of its file */
	SPOOL_ENTRY_STATE = 2,   /* state records */
	SPOOL_ENTRY_DONE = 3,    /* it is removed */
	SPOOL_ENTRY_GROUP = 4,   /* of the parent: u8 done, slice state records
	                            (unless done), then of each child: u64 queue
	                            id, slice image */
};

/* The position `lsn' says something of m that no file has. */
void spool_anchor(struct spool *sp, struct spool_msg *m, uint64_t lsn);
void spool_unanchor(struct spool *sp, struct spool_msg *m);
/* Records that its file is to get. */
void spool_set_pending(struct spool *sp, struct spool_msg *m,
    struct slice records);
void spool_drop_pending(struct spool *sp, struct spool_msg *m);
/* An entry with a body of so many octets can be. */
bool spool_fits_journal(const struct spool *sp, size_t octets);
/* A fresh message's image to the end of *out. */
void spool_add_image(struct spool_msg *m, struct strbuf *out);
/* False: it is too large, nothing is done. */
bool spool_journal_message(struct spool *sp, struct spool_msg *m,
    struct journal_entry *e);
void spool_journal_change(struct spool *sp, uint64_t qid, bool done,
    struct slice records, struct journal_entry *e);
/* The journal says so now, at `lsn'; m's state does already. */
void spool_changed(struct spool *sp, struct spool_msg *m, struct slice records,
    uint64_t lsn);
void spool_removed(struct spool *sp, struct spool_msg *m, uint64_t lsn);
/* Its file is to go soon: that gives room. */
void spool_doom(struct spool *sp, struct spool_msg *m);
/* Makes the file of a message that has none, with all that its state says. */
struct spool_op *spool_create_op(struct spool_msg *m);
/* Bring its file up to date, or make it; m, which is anchored and not busy, is
   busy meanwhile. */
void spool_settle(struct spool *sp, struct spool_msg *m);
/* The same goes on: its state has been read for it, or not. */
void spool_settle_loaded(struct spool *sp, struct spool_msg *m, int error);
/* A file could not be made: who waits for it is told. */
void spool_no_file(struct spool *sp, struct spool_msg *m, int error);
/* It could not be done, for now. */
void spool_settle_later(struct spool *sp, int error);
/* At a turn's end: as many as there is need for. */
void spool_settle_some(struct spool *sp);
void spool_journal_ready(struct spool *sp);
/* Files say all, or cannot be made to. */
bool spool_at_rest(const struct spool *sp);
void spool_journal_close(struct spool *sp);

/* -- spool_gate.c ---------------------------------------------------------------- */

/* `m', which has a file maybe, is to be removed: may it be now? Else it is busy
   until there is room; then its request is worked on again. */
bool spool_gate_pass(struct spool *sp, struct spool_msg *m);
/* It is going, whether or not there is room. */
void spool_gate_enter(struct spool *sp, struct spool_msg *m);
/* It has gone, or is not going any more. */
void spool_gate_leave(struct spool *sp, struct spool_msg *m);
/* At each turn: whom there is room for. */
void spool_gate_open(struct spool *sp);

/* spool_replay.c: what the journal says at the start */
int spool_replay_open(struct spool *sp, const struct spool_config *cfg);
/* Before groups are judged: what is done, and what has no file. */
int spool_replay_messages(struct spool *sp);
bool spool_replay_is_done(const struct spool *sp, uint64_t qid);
/* What the journal says of a message whose file gave `st'. */
void spool_replay_apply(const struct spool *sp, uint64_t qid,
    struct spool_state *st);
/* A group is found to have happened: its parent gets these. */
void spool_replay_fates(struct spool *sp, uint64_t qid, struct slice fates,
    bool done);
/* After that: what was a child of a group until now, with its long name. */
void spool_replay_children(struct spool *sp);
/* The position of the oldest entry that is needed for a message; 0: none is. */
uint64_t spool_replay_lsn(const struct spool *sp, uint64_t qid);
/* What no entry of the journal says: done, or records. `each' makes one that
   does, and gives its position; until it gives -1. */
int spool_replay_news(struct spool *sp, int (*each)(struct spool *sp,
    uint64_t qid, bool done, struct slice records, uint64_t *lsn));

/* spool_copies.c: what lives goes on in the journal, which is started */
int spool_replay_finish(struct spool *sp);

/* spool_birth.c */
struct spool_birth *spool_birth_new(struct spool *sp,
    struct spool_draft **drafts, struct envelope *es, size_t n);
/* Write it all; b->done with b->error. */
void spool_birth_start(struct spool_birth *b);
/* The same, by one entry of the journal, if all of it is small enough; else
   false, and nothing is done. A group: also the parent's fates. */
bool spool_birth_journal(struct spool_birth *b);

/* Frees it, and drafts and messages that are still its own. */
void spool_birth_free(struct spool_birth *b);
/* The i-th message is the spool's from now on: kept, entered, announced. */
void spool_birth_settle(struct spool_birth *b, size_t i);
void spool_announce(struct spool *sp, uint64_t qid);

/* spool_group.c */
void spool_group_work(struct spool *sp, struct spool_msg *m);
void spool_settle_work(struct spool *sp, struct spool_msg *m);
/* `m', maybe a child, is to be removed. 0: go on; EAGAIN: its group is being
   settled first, m becomes ready again; else why that failed. */
int spool_group_may_remove(struct spool *sp, struct spool_msg *m);
void spool_groups_free(struct spool *sp);

/* spool_draft.c */
struct spool *spool_draft_spool(const struct spool_draft *d);
bool spool_draft_filed(const struct spool_draft *d);
/* Take the content of a draft that is in memory. */
char *spool_draft_take(struct spool_draft *d, size_t *n);
/*
 * Write what is missing of a filed draft: the rest, the envelope, `records', the
 * header; fdatasync. Then cb(arg, error) on the loop; the file is .ID. Fills
 * st->header and st->end.
 */
void spool_draft_finish(struct spool_draft *d, struct spool_state *st,
    struct slice records, void (*cb)(void *arg, int error), void *arg);
/* .ID is the committer's now; after a finish that went well. */
void spool_draft_given(struct spool_draft *d);

/* spool_recover.c */
int spool_recover(struct spool *sp, const struct spool_config *cfg);

#endif
