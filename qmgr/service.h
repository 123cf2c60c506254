/*
 * service - the queue for the tools: list, brief, summary, count, flush, hold,
 * release, delete, requeue, on the control sockets. Nothing that a tool does can
 * keep qmgr from its work: answers are streamed, with a few pages in memory for
 * each tool, however long the queue is. brief, summary and count come from
 * memory; list reads every message.
 *
 * What an act aims at: one queue id, `all', or filters, all of which must fit:
 *   id=ID  sender=ADDR  recipient=ADDR  domain=NAME  destination=NEXT_HOP
 *   age=TIME  status=active|deferred|hold
 * ADDR is an address, or a domain, with or without "@" before it. A NEXT_HOP may
 * have its transport before it ("smtp:[192.0.2.1]:25"). TIME is "90s", "1h",
 * "2d": messages that are older.
 *
 * The view of a public socket: root and the account that qmgr runs as see
 * everything; others see ids, times, sizes, numbers and states, one row a
 * message, and neither addresses nor replies.
 */
#ifndef QMGR_SERVICE_H
#define QMGR_SERVICE_H

#include "common/ctl.h"
#include "qmgr/qmgr.h"

#define SERVICE_SOCKETS 8
#define SERVICE_MARKS   64 /* MARKs that one tool has on their way */

struct walk;

struct service {
	struct qmgr *q;
	struct ctl_server *servers[SERVICE_SOCKETS];
	unsigned nservers;
	struct slots walks; /* by token: who awaits a MARKED */
	TAILQ_HEAD(, service_keep) keeps; /* who waits for KEPT */
	unsigned own_uid;
};

void service_init(struct service *sv, struct qmgr *q);
/* `fd' is listening (taken); admin: may act, and sees all. */
void service_listen(struct service *sv, int fd, bool admin);
void service_clear(struct service *sv);
/* ops->marked of qmgr. */
void service_marked(struct service *sv, uint64_t token, uint64_t qid,
    unsigned result, struct slice text);

/* ops->kept of qmgr. */
void service_kept(struct service *sv, struct slice error);

/* ops->scanned of qmgr. */
void service_scanned(struct service *sv);
/* True: messages that wait in the spool are not all known yet. */
bool service_is_scanning(const struct service *sv);

/* -- service_domain.c ----------------------------------------------------------- */

/* "hold domain ..." and "release domain ...": true, and the tool gets its
   answer; false: it asks about messages. */
bool service_asks_domain(struct service *sv, struct ctl_session *cs,
    const struct slice *words, unsigned nwords);
void service_ask_destinations(void *arg, struct ctl_session *cs,
    const struct slice *words, unsigned nwords);
void service_keeps_clear(struct service *sv);
/* " until TIME"; nothing when it is 0. */
void service_add_until(struct strbuf *b, uint64_t until);

/* -- walk.c: over the queue, for one tool -------------------------------------- */

enum walk_act {
	WALK_LIST,
	WALK_BRIEF, /* what is known without reading */
	WALK_FLUSH,
	WALK_HOLD,
	WALK_RELEASE,
	WALK_DELETE,
	WALK_REQUEUE,
};

struct walk_filter {
	bool one;           /* `qid' only */
	uint64_t qid;
	char *sender, *recipient, *domain, *destination; /* NULL: any */
	uint64_t age_s;           /* older than this; 0: any */
	enum sched_state state;   /* SCHED_S_UNKNOWN: any */
};

/*
 * Takes the filter's texts. Answers the tool, to the end. The filter has been
 * checked; `limited' is the view of the public.
 */
void walk_start(struct service *sv, struct ctl_session *cs, enum walk_act act,
    const struct walk_filter *f, bool limited);
/* More of the queue is known. May end it. */
void walk_scanned(struct walk *w);
void walk_marked(struct walk *w, uint64_t qid, unsigned result,
    struct slice text);

/* -- summary.c ------------------------------------------------------------------- */

/* All its rows: the sum, the largest, the others. */
void service_summary(const struct sched *s, struct ctl_session *cs,
    enum sched_by by, enum sched_state only);

/* -- rows.c ---------------------------------------------------------------------- */

#define SERVICE_TIME 40 /* octets of a time as text */
/* RFC 3339 in UTC; "" for 0. */
void service_time(uint64_t seconds, char text[SERVICE_TIME]);
void service_row_time(struct ctl_session *cs, const char *name,
    uint64_t seconds);
/* The rows of one page. */
void service_rows(const struct qmgr *q, struct ctl_session *cs,
    const struct sched_entry_in *in, struct slice hold_reason,
    const struct walk_filter *f);
/* One row, from memory; `limited': without addresses. */
void service_brief(const struct qmgr *q, struct ctl_session *cs, uint64_t qid,
    const struct sched_info *info, bool limited);
bool service_match(const char *wanted, struct slice address);
/* Do the filters about recipients fit this one? */
bool service_fits(const struct walk_filter *f, const struct rcpt_item *r);
/* Do they ask about what the view of the public hides? */
bool service_filters_addresses(const struct walk_filter *f);
void service_filter_clear(struct walk_filter *f);

#endif
