/*
 * ipc - the messages between the programs: one list, one encoder, one decoder.
 *
 * On the wire (UNIX stream socket): u32 length of the whole, u16 type, u16 zero,
 * u32 transaction id, then the fields in the order of the list, each with a tag
 * octet: 'u' eight octets, 's' and 'b' a u32 length and the octets, 'f' nothing
 * (the descriptor travels by SCM_RIGHTS with the first octet of the message).
 * A message with an unknown type, of a type that its sender may not send, with
 * a missing, extra or too long field is bad: the channel is closed (style 9).
 *
 * Every byte from a peer is hostile, ours included. An answer carries the
 * transaction id of its question; ids are from common/slots.h, so an answer
 * that comes too late finds nothing and is dropped.
 */
#ifndef COMMON_IPC_H
#define COMMON_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/strbuf.h"

#define IPC_HEADER_SIZE 12
#define IPC_STR_MAX     4096         /* octets of an 's' field */
#define IPC_BLOB_MAX    (80 * 1024)  /* octets of a 'b' field */
#define IPC_PIECE_MAX   (64 * 1024)  /* octets of content in one message */
#define IPC_MESSAGE_MAX (128 * 1024) /* octets of a message */
#define IPC_FIELDS_MAX  12

/*
 * The ends of channels. In the list below IPC_ANY_PROGRAM stands for all that
 * master starts, IPC_AGENT for the delivery agents local and remote, and
 * IPC_DNS_CLIENT for who may ask dns: remote and cleanup.
 */
enum ipc_role {
	IPC_MASTER = 1,
	IPC_LOG,
	IPC_USERS,
	IPC_CLEANUP,
	IPC_QMGR,
	IPC_FORKER,
	IPC_LOCAL,
	IPC_SMTPD,
	IPC_WORKER, /* of local, one a user */
	IPC_TOOL,   /* a tool on a control socket */
	IPC_REMOTE,
	IPC_DNS,
	IPC_ANY_PROGRAM,
	IPC_AGENT,
	IPC_DNS_CLIENT,
};

/*
 * number, name, sender, receiver, fields, meaning.
 * 100 master, 200 smtpd-cleanup, 300 users and dns, 400 qmgr-cleanup,
 * 500 qmgr-agents, 600 agents-cleanup, 700 local-worker, 800 control sockets.
 */
#define IPC_MESSAGES(M)                                                        \
	/* -- master and every program ------------------------------------- */\
	M(100, SETTINGS, MASTER, ANY_PROGRAM, "b:rows",                        \
	    "the rows that name this program: name NUL value NUL ...; at the " \
	    "start (several messages), and again at a reload")                 \
	M(101, SETTINGS_END, MASTER, ANY_PROGRAM, "u:generation",              \
	    "all rows are there")                                              \
	M(102, DIRECTORY, MASTER, ANY_PROGRAM, "s:name f:fd",                  \
	    "an open directory, named as in the settings")                     \
	M(103, LISTENER, MASTER, ANY_PROGRAM, "s:kind s:name f:fd",            \
	    "a bound, listening socket: kind smtp, submit, control or mailq")  \
	M(104, CHANNEL, MASTER, ANY_PROGRAM, "u:peer u:index f:fd",            \
	    "a fresh channel to a peer; replaces the one of the same index")   \
	M(105, KEY, MASTER, ANY_PROGRAM, "b:key",                              \
	    "16 octets: the delivery cookies' key (cleanup, qmgr)")            \
	M(106, START, MASTER, ANY_PROGRAM, "", "that was all: lock and go")    \
	M(107, READY, ANY_PROGRAM, MASTER, "s:walls",                          \
	    "the walls stand (in words, for status); serving")                 \
	M(108, PING, MASTER, ANY_PROGRAM, "", "still there?")                  \
	M(109, PONG, ANY_PROGRAM, MASTER, "", "yes")                           \
	M(110, STOP, MASTER, ANY_PROGRAM, "u:deadline_ms",                     \
	    "finish what is in hand, then exit 0")                             \
	M(111, LOG_PIPE, MASTER, LOG, "s:program u:pid f:fd",                  \
	    "the read end of a program's descriptor 2")                        \
	M(112, LOG_SINK, MASTER, LOG, "s:kind f:fd",                           \
	    "where lines go now: kind stderr, file or syslog")                 \
	M(113, CONNECT, REMOTE, MASTER, "s:path",                              \
	    "connect to this UNIX socket for me; only one that the settings "  \
	    "name (lmtp_sockets, mailbox_transport, default_transport)")       \
	M(114, CONNECTED, MASTER, REMOTE, "f:fd",                              \
	    "answers CONNECT: a connected, non-blocking socket")               \
	M(115, CONNECT_FAILED, MASTER, REMOTE, "s:reason", "answers CONNECT")  \
	M(116, AGENT_DIED, MASTER, QMGR, "u:agent u:itself",                   \
	    "this delivery agent is dead. itself 1: it crashed, or hung until " \
	    "master killed it; 0: it was killed from outside, or chose to end")\
	M(117, LOST, ANY_PROGRAM, MASTER, "u:peer u:given",                    \
	    "the channel to this peer has ended, the given-th that was handed " \
	    "down: if the peer lives, a fresh one is wanted")                  \
	/* -- smtpd and cleanup: mail transactions -------------------------- */\
	M(200, MAIL, SMTPD, CLEANUP,                                           \
	    "s:reverse_path u:flags u:size s:client_addr s:client_name "       \
	    "s:helo s:proto u:uid u:trusted",                                  \
	    "open mail transaction tid; not answered. uid: who submits "       \
	    "locally, else UINT32_MAX; trusted: by listener or peer uid")      \
	M(201, RCPT, SMTPD, CLEANUP, "s:forward_path",                         \
	    "a recipient for tid, without <>; one at a time")                  \
	M(202, VERDICT, CLEANUP, SMTPD, "u:code s:esc s:text",                 \
	    "answers RCPT")                                                    \
	M(203, CONTENT, SMTPD, CLEANUP, "b:piece u:last",                      \
	    "content, CRLF lines, un-stuffed, checked; one piece of at most "  \
	    "64 KiB unacknowledged. last 1: COMMIT comes with it, so nobody "  \
	    "waits for the acknowledgement")                                   \
	M(204, CONTENT_ACK, CLEANUP, SMTPD, "u:code s:esc s:text",             \
	    "next piece, please (code 0), or the reply that refuses the rest") \
	M(205, COMMIT, SMTPD, CLEANUP, "u:flags u:size",                       \
	    "the content is whole: flags CONTENT_*, size in octets")           \
	M(206, COMMITTED, CLEANUP, SMTPD, "u:code s:esc s:text",               \
	    "answers COMMIT; 250 only when the message is durable")            \
	M(207, ABORT, SMTPD, CLEANUP, "", "forget tid; not answered")          \
	M(208, ACCEPTING, CLEANUP, SMTPD, "u:code s:esc s:text",               \
	    "what MAIL is to be answered from now on: code 250, or 452/451")   \
	M(209, RESOLVE, SMTPD, CLEANUP,                                        \
	    "s:reverse_path s:forward_path s:client_addr u:uid u:trusted",     \
	    "VRFY: would this recipient be taken? answered by VERDICT")        \
	/* -- cleanup and users --------------------------------------------- */\
	M(300, USER, CLEANUP, USERS, "s:name", "is there such an account?")    \
	M(301, USER_IS, USERS, CLEANUP,                                        \
	    "u:found u:uid u:gid s:home s:reason",                             \
	    "found 1 yes, 0 no, 2 the lookup failed (temporary)")              \
	/* -- dns and who asks it ------------------------------------------- */\
	M(310, DNS_QUERY, DNS_CLIENT, DNS, "s:name u:type u:flags",            \
	    "the records of a type (common/dns.h); flags DNS_ASK_*")           \
	M(311, DNS_ANSWER, DNS, DNS_CLIENT,                                    \
	    "u:status u:secure u:ttl b:records s:reason",                      \
	    "status: enum dns_status; secure 1: validated by the resolver "    \
	    "(AD); ttl in seconds; reason: in words when there are none")      \
	/* -- qmgr and cleanup ---------------------------------------------- */\
	M(400, TAKE, QMGR, CLEANUP, "u:max",                                   \
	    "the next max (<= 256) messages not handed out on this channel "   \
	    "yet, each as soon as it is there; one outstanding")               \
	M(401, ENTRY, CLEANUP, QMGR,                                           \
	    "u:queue_id u:arrived_us u:size u:flags u:hold u:rcpts "           \
	    "u:rcpts_open u:next_index s:reverse_path b:page s:hold_reason "   \
	    "u:crashes",                                                       \
	    "a message and a page of its open recipients (rcpt_item); "        \
	    "next_index 0: the last page, else GET goes on there")             \
	M(402, TAKEN, CLEANUP, QMGR, "u:count", "they were the TAKE's max")    \
	M(403, GET, QMGR, CLEANUP, "u:queue_id u:from_index u:route",          \
	    "one page of a message, answered by ENTRY or GONE; route 1: ask "  \
	    "the resolver for each recipient's route anew")                    \
	M(404, GONE, CLEANUP, QMGR, "u:temporary s:reason",                    \
	    "no such message (or it cannot be read just now)")                 \
	M(405, FATES, QMGR, CLEANUP, "u:queue_id b:fates",                     \
	    "record fate_items (<= 256); idempotent. After the last open "     \
	    "recipient the message is removed")                                \
	M(406, FATES_ACK, CLEANUP, QMGR, "u:queue_id u:error u:gone",          \
	    "durable (error 0), or to be sent again later; gone 1: removed")   \
	M(407, MARK, QMGR, CLEANUP, "u:queue_id u:what s:reason",              \
	    "what (enum ipc_mark): hold, release, delete, requeue, crashed")   \
	M(408, MARKED, CLEANUP, QMGR, "u:queue_id u:result s:text",            \
	    "result 0 done and durable, 1 no such message, 2 failed: text")    \
	M(409, NOTICE, QMGR, CLEANUP, "u:queue_id u:kind",                     \
	    "compose and queue the notice (kind: enum ipc_notice) about this " \
	    "message's recipients that failed for good, or are delayed, and "  \
	    "record so: one group")                                            \
	M(410, NOTICED, CLEANUP, QMGR,                                         \
	    "u:queue_id u:kind u:error u:gone s:text",                         \
	    "error 0: durable; gone 1: the message is removed. error 1: no "   \
	    "notice can be made (text): the message is to go on hold; "        \
	    "error 2: try again later")                                        \
	M(411, LOAD, QMGR, CLEANUP, "", "what was kept?")                      \
	M(412, LOADED, CLEANUP, QMGR, "u:error b:text",                        \
	    "the text of the last KEEP, or \"\"; error: not just now")         \
	M(413, KEEP, QMGR, CLEANUP, "b:text",                                  \
	    "keep this text beside the queue; it replaces the one before")     \
	M(414, KEPT, CLEANUP, QMGR, "u:error s:reason", "durable (error 0)")   \
	M(415, SCANNED, CLEANUP, QMGR, "u:queue_id",                           \
	    "all that was in the spool when this channel came, up to this id, "\
	    "has been handed out; UINT64_MAX: all of it")                      \
	/* -- qmgr and the delivery agents ---------------------------------- */\
	M(500, DELIVER, QMGR, AGENT,                                           \
	    "u:queue_id u:cookie u:arrived_us u:size u:flags "                 \
	    "s:reverse_path b:rcpts",                                          \
	    "deliver to these rcpt_items; tid is of no meaning")               \
	M(501, RESULT, AGENT, QMGR,                                            \
	    "u:queue_id u:index u:attempt u:fate s:esc s:reply s:relay u:site",\
	    "kept by the agent until RESULT_ACK; attempt as in the rcpt_item " \
	    "of DELIVER. site 1: it is the next hop's fault, and whatever "    \
	    "goes there now would fare alike (no address, no connection, "     \
	    "refused before MAIL)")                                            \
	M(502, RESULT_ACK, QMGR, AGENT, "u:queue_id u:index u:attempt",        \
	    "the result is in the spool")                                      \
	M(503, AGENT_HELLO, AGENT, QMGR, "b:running",                          \
	    "first on a new channel: u64 queue id, u32 index, u32 attempt "    \
	    "of each delivery that is running or whose RESULT is not "         \
	    "acknowledged (several messages if needed); what is not told "     \
	    "here is delivered anew")                                          \
	M(504, AGENT_HELLO_END, AGENT, QMGR, "",                               \
	    "all are told; unacknowledged RESULTs follow")                     \
	M(505, RECALL, QMGR, REMOTE, "",                                       \
	    "the system stops: give back what no host has been told of")       \
	M(506, RETURNED, REMOTE, QMGR, "u:queue_id u:index u:attempt",         \
	    "not begun, and forgotten: no attempt, to be given out anew")      \
	/* -- the agents and cleanup ---------------------------------------- */\
	M(600, FETCH, AGENT, CLEANUP, "u:queue_id u:cookie",                   \
	    "the content of a message that was given to us")                   \
	M(601, FETCHED, CLEANUP, AGENT, "u:size u:flags b:content",            \
	    "up to SPOOL_INLINE_MAX octets")                                   \
	M(602, FETCHED_FILE, CLEANUP, AGENT, "u:size u:flags u:offset f:fd",   \
	    "a read-only descriptor; use pread, it is shared")                 \
	M(603, FETCH_FAILED, CLEANUP, AGENT, "u:gone s:reason",                \
	    "gone 1: no such message or a wrong cookie; 0: temporary")         \
	/* -- local's dispatcher and its workers ---------------------------- */\
	M(700, JOB, LOCAL, WORKER,                                             \
	    "u:queue_id u:index u:again u:arrived_us s:reverse_path "          \
	    "s:address s:original s:extension u:flags u:size b:content",       \
	    "deliver to the worker's own mailbox; again 1: an earlier "        \
	    "attempt may have done so")                                        \
	M(701, JOB_FILE, LOCAL, WORKER,                                        \
	    "u:queue_id u:index u:again u:arrived_us s:reverse_path "          \
	    "s:address s:original s:extension u:flags u:size u:offset f:fd",   \
	    "the same, with the content in a file")                            \
	M(702, JOB_RESULT, WORKER, LOCAL,                                      \
	    "u:queue_id u:index u:fate s:esc s:reply",                         \
	    "durable in the mailbox, or why not")                              \
	M(703, WORKER_FAILED, WORKER, LOCAL, "u:fate s:esc s:reply",           \
	    "the worker cannot be that user: the fate of all its jobs")        \
	/* -- control sockets ----------------------------------------------- */\
	M(800, CTL_ASK, TOOL, ANY_PROGRAM, "b:words",                          \
	    "a verb and its arguments, each NUL-terminated")                   \
	M(801, CTL_ROW, ANY_PROGRAM, TOOL, "b:columns",                        \
	    "a row of the answer: columns as in common/ctl.h")                 \
	M(802, CTL_END, ANY_PROGRAM, TOOL, "u:exit s:text",                    \
	    "the end: exit code of sysexits.h and a line for people")          \
	M(803, CTL_DATA, ANY_PROGRAM, TOOL, "b:octets",                        \
	    "raw octets of the answer (cat)")

enum ipc_type {
#define IPC_ENUM(num, name, from, to, fields, meaning) IPC_##name = num,
	IPC_MESSAGES(IPC_ENUM)
#undef IPC_ENUM
};

enum ipc_mark {
	IPC_MARK_HOLD,
	IPC_MARK_RELEASE,
	IPC_MARK_DELETE,
	IPC_MARK_REQUEUE, /* expand the unfinished recipients anew: a group */
	IPC_MARK_CRASHED, /* a delivery agent died with it in its hands */
};

enum ipc_notice {
	IPC_NOTICE_FAILED, /* the stuck recipients: failed or expired */
	IPC_NOTICE_DELAYED, /* the open ones that no warning was sent for */
};

struct ipc_field {
	char kind; /* 'u', 's', 'b' or 'f' */
	uint64_t u;
	struct slice s;
};

/* A decoded message; slices borrow from the octets it was decoded from. */
struct ipc_msg {
	uint16_t type;
	uint32_t tid;
	unsigned nfields;
	struct ipc_field field[IPC_FIELDS_MAX];
	int fd; /* of an 'f' field; the taker sets it to -1, else it is closed */
};

/* The number / the octets of field `i' (0 is the first). The fields were
   checked at the door; a wrong index or kind is our bug and panics. */
uint64_t ipc_u(const struct ipc_msg *m, unsigned i);
struct slice ipc_s(const struct ipc_msg *m, unsigned i);
/* Take the descriptor out of the message; the caller closes it. */
int ipc_take_fd(struct ipc_msg *m);

const char *ipc_type_name(unsigned type);   /* "RCPT"; "?" when unknown */
const char *ipc_role_name(enum ipc_role r); /* "smtpd"; the program's name */
/* IPC_MASTER... for "smtpd"; 0 when there is no such program. */
enum ipc_role ipc_role_by_name(struct slice name);

/* -- the pure codec ------------------------------------------------------- */

enum ipc_decoded { IPC_DEC_OK, IPC_DEC_MORE, IPC_DEC_BAD };

/*
 * Decode one message from `from' to `to' at the start of `in'.
 * OK: *m is filled, *used octets were consumed; *wants_fd tells that a
 * descriptor belongs to it (m->fd is -1 until the caller puts it there).
 * MORE: not whole yet. BAD: *why says what is wrong, in English.
 */
enum ipc_decoded ipc_decode(struct slice in, enum ipc_role from,
    enum ipc_role to, struct ipc_msg *m, size_t *used, bool *wants_fd,
    const char **why);

/*
 * Build a message at the end of `out': begin, the fields in order, end. A field
 * of the wrong kind, too long, missing or too many is our bug and panics; cut
 * texts from outside to size before. ipc_put_fd only notes the field; who
 * sends the octets sends the descriptor with the first of them.
 */
struct ipc_build {
	struct strbuf *out;
	size_t at;            /* where the message begins */
	const char *fields;   /* what is still to come */
	unsigned type;
};
void ipc_build_begin(struct ipc_build *b, struct strbuf *out,
    enum ipc_type type, uint32_t tid);
void ipc_build_u(struct ipc_build *b, uint64_t v);
void ipc_build_s(struct ipc_build *b, struct slice s); /* 's' or 'b' */
void ipc_build_f(struct ipc_build *b);
void ipc_build_end(struct ipc_build *b);

/* -- channels -------------------------------------------------------------- */

struct event_base;
struct ipc_chan;

struct ipc_chan_ops {
	enum ipc_role me, peer;
	/*
	 * A message came. Return false when it makes no sense: the channel is
	 * closed as if it had been bad. The handler may call ipc_chan_free().
	 */
	bool (*message)(void *owner, struct ipc_chan *ch, struct ipc_msg *m);
	/*
	 * The peer went away or broke the rules (`why'). The owner is to call
	 * ipc_chan_free(), now or later; nothing more is received or sent.
	 */
	void (*closed)(void *owner, struct ipc_chan *ch, const char *why);
	/* May be NULL: what was queued has been sent. */
	void (*drained)(void *owner, struct ipc_chan *ch);
};

/* Takes `fd' (made non-blocking) and borrows `ops'. */
struct ipc_chan *ipc_chan_new(struct event_base *base, int fd,
    const struct ipc_chan_ops *ops, void *owner);
/*
 * `lost' is called after `closed' of any channel of this process, with its peer;
 * ipc_say_lost() calls it for what is no struct ipc_chan. NULL: nobody is.
 */
void ipc_on_lost(void (*lost)(void *arg, enum ipc_role peer), void *arg);
void ipc_say_lost(enum ipc_role peer);
/* Closes. Safe inside own callbacks: the memory goes at the end of the turn.
   What is queued is tried once more without waiting. NULL is fine. */
void ipc_chan_free(struct ipc_chan *ch);
/* Also after `closed' was called, and for NULL: then nothing is sent. */
bool ipc_chan_alive(const struct ipc_chan *ch);
/* Octets that wait to be sent. Owners stop making more above their mark. */
size_t ipc_chan_queued(const struct ipc_chan *ch);
/* Stop or go on reading (flow control by the owner). */
void ipc_chan_pause(struct ipc_chan *ch, bool pause);
int ipc_chan_fd(const struct ipc_chan *ch);

/*
 * Queue a message; all of a turn go out with one send at its end. On a dead
 * channel the message is dropped (the closed callback has said so).
 *     ipc_begin(ch, IPC_VERDICT, tid);
 *     ipc_put_u(ch, 250);
 *     ipc_put_s(ch, esc);
 *     ipc_put_s(ch, text);
 *     ipc_end(ch);
 */
void ipc_begin(struct ipc_chan *ch, enum ipc_type type, uint32_t tid);
void ipc_put_u(struct ipc_chan *ch, uint64_t v);
void ipc_put_s(struct ipc_chan *ch, struct slice s);
void ipc_put_str(struct ipc_chan *ch, const char *s);
/* Takes `fd': it is closed once sent. */
void ipc_put_fd(struct ipc_chan *ch, int fd);
void ipc_end(struct ipc_chan *ch);
/* As ipc_end(), for what the peer does not wait for: it leaves with the next
   message that is waited for, or within IPC_LATER_MS. So it wakes nobody by
   itself while there is work. */
#define IPC_LATER_MS 20
void ipc_end_later(struct ipc_chan *ch);
/* Send what is queued now, as far as the socket takes it. */
void ipc_flush(struct ipc_chan *ch);

/* -- blocking use: program start, tools ------------------------------------ */

/* Descriptors received whose messages have not been handed out, oldest first. */
#define IPC_FDS_MAX 64
struct ipc_fds {
	int at[IPC_FDS_MAX];
	unsigned n;
};
/* One connection read message by message; zero it, set fd, me and peer. */
struct ipc_sync {
	int fd;
	enum ipc_role me, peer;
	struct strbuf in;
	struct ipc_fds fds;
	size_t done; /* octets of `in' that were handed out */
};
/*
 * The next message; waits at most timeout_ms (-1: for ever). Returns 1 and *m,
 * which lives until the next call; 0 at the end of file; -1 with errno
 * (ETIMEDOUT, EPROTO: bad message, ...).
 */
int ipc_sync_read(struct ipc_sync *c, struct ipc_msg *m, int timeout_ms);
/* Writes all of `b'; -1 with errno. */
int ipc_sync_write(int fd, struct slice b);
void ipc_sync_clear(struct ipc_sync *c); /* closes descriptors not taken, fd too */
/*
 * Go on without blocking: what `c' has read beyond the message handed out last
 * becomes the first input of `ch', which was made on the same descriptor. *c is
 * cleared; the descriptor stays open.
 */
void ipc_chan_adopt(struct ipc_chan *ch, struct ipc_sync *c);

#endif
