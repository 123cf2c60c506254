#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "master/hand.h"
#include "master/listeners.h"

#define ROWS_OCTETS 8192 /* rows of one message, unless one alone is longer */

/* Without what it is to be given a program cannot be: it dies, and is started
   again when there is room. */
static void
give_up(const struct proc *p)
{
	log_error("%s[%ld] cannot be given its descriptors: %s",
	    program_name(p->prog), (long)p->pid, strerror(errno));
	(void)kill(p->pid, SIGKILL);
}

/*
 * Ends a message with its descriptor (taken), and sends it at once: only some
 * 64 may wait in a channel.
 */
static void
put_fd_and_end(struct proc *p, int fd)
{
	ipc_put_fd(p->ch, fd);
	ipc_end(p->ch);
	ipc_flush(p->ch);
}

/* -- settings ---------------------------------------------------------------- */

static void
send_rows(struct proc *p, struct strbuf *rows)
{
	if (rows->n > 0) {
		ipc_begin(p->ch, IPC_SETTINGS, 0);
		ipc_put_s(p->ch, strbuf_slice(rows));
		ipc_end(p->ch);
		strbuf_reset(rows);
	}
}

void
hand_settings(struct proc *p)
{
	const struct master *m = p->m;
	struct strbuf rows;
	size_t i, n;

	strbuf_init(&rows, 0);
	for (i = 0; i < settings_count; i++) {
		if ((settings_table[i].flags & p->prog->settings) == 0) {
			continue;
		}
		n = strlen(m->source.value[i]);
		if (rows.n > 0 && rows.n + n > ROWS_OCTETS) {
			send_rows(p, &rows);
		}
		(void)strbuf_add(&rows, settings_table[i].name,
		    strlen(settings_table[i].name) + 1);
		(void)strbuf_add(&rows, m->source.value[i], n + 1);
	}
	send_rows(p, &rows);
	strbuf_clear(&rows);
	ipc_begin(p->ch, IPC_SETTINGS_END, 0);
	ipc_put_u(p->ch, m->generation);
	ipc_end(p->ch);
}

/* -- directories and listeners ----------------------------------------------- */

static void
hand_directory(struct proc *p, const char *name, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy == -1) {
		give_up(p);
		return;
	}
	ipc_begin(p->ch, IPC_DIRECTORY, 0);
	ipc_put_str(p->ch, name);
	put_fd_and_end(p, copy);
}

static void
hand_listeners(struct proc *p)
{
	const struct listener *l;
	int copy;

	for (l = p->m->listeners; l != NULL; l = l->next) {
		if (l->row->role != p->prog->role) {
			continue;
		}
		copy = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
		if (copy == -1) {
			give_up(p);
			return;
		}
		ipc_begin(p->ch, IPC_LISTENER, 0);
		ipc_put_str(p->ch, l->row->kind);
		ipc_put_str(p->ch, l->name);
		put_fd_and_end(p, copy);
	}
}

/* -- channels ---------------------------------------------------------------- */

/* One end of a pair; takes `fd'. */
static void
hand_end(struct proc *to, const struct proc *peer, int fd)
{
	ipc_begin(to->ch, IPC_CHANNEL, 0);
	ipc_put_u(to->ch, (uint64_t)peer->prog->role);
	ipc_put_u(to->ch, peer->index);
	put_fd_and_end(to, fd);
}

static void
hand_channel(struct proc *p, struct proc *peer, int sock_type)
{
	int pair[2];

	if (socketpair(AF_UNIX, sock_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
	    pair) == -1) {
		give_up(p);
		return;
	}
	p->handed[peer->prog->role]++;
	peer->handed[p->prog->role]++;
	p->lost &= ~(UINT32_C(1) << peer->prog->role);
	peer->lost &= ~(UINT32_C(1) << p->prog->role);
	hand_end(p, peer, pair[0]);
	hand_end(peer, p, pair[1]);
}

static void
hand_channels(struct proc *p)
{
	enum ipc_role other;
	struct proc *peer;
	size_t i;

	for (i = 0; i < program_link_count; i++) {
		if (program_links[i].a == p->prog->role) {
			other = program_links[i].b;
		} else if (program_links[i].b == p->prog->role) {
			other = program_links[i].a;
		} else {
			continue;
		}
		for (peer = proc_first_of(p->m, other); peer != NULL;
		    peer = proc_next_of(peer)) {
			if (ipc_chan_alive(peer->ch)) {
				hand_channel(p, peer,
				    program_links[i].sock_type);
			}
		}
	}
}

/* The link of which `role' is the first end: it alone may ask for another, of
   the second there is one at most. */
static const struct program_link *
link_to(enum ipc_role role, uint64_t peer)
{
	size_t i;

	for (i = 0; i < program_link_count; i++) {
		if (program_links[i].a == role &&
		    (uint64_t)program_links[i].b == peer) {
			return &program_links[i];
		}
	}
	return NULL;
}

bool
hand_lost(struct proc *p, uint64_t peer, uint64_t given)
{
	if (link_to(p->prog->role, peer) == NULL || p->handed[peer] != given) {
		return false;
	}
	p->lost |= UINT32_C(1) << peer;
	return true;
}

static bool
is_up(const struct proc *p)
{
	return p != NULL && p->state == PROC_UP && ipc_chan_alive(p->ch);
}

void
hand_renew(struct proc *p)
{
	const struct program_link *l;
	struct proc *peer;
	unsigned role;

	for (role = 0; p->lost != 0 && role < IPC_ANY_PROGRAM; role++) {
		l = (p->lost & UINT32_C(1) << role) == 0 ? NULL :
		    link_to(p->prog->role, role);
		peer = proc_first_of(p->m, (enum ipc_role)role);
		if (l != NULL && is_up(p) && is_up(peer)) {
			log_warn("%s[%ld] and %s[%ld] get a fresh channel: "
			    "theirs broke", program_name(p->prog),
			    (long)p->pid, program_name(peer->prog),
			    (long)peer->pid);
			hand_channel(p, peer, l->sock_type);
		}
	}
	p->lost = 0;
}

void
hand_death(const struct proc *p, bool itself)
{
	struct proc *qmgr = proc_first_of(p->m, IPC_QMGR);

	if (qmgr == NULL || !ipc_chan_alive(qmgr->ch) ||
	    (p->prog->role != IPC_LOCAL && p->prog->role != IPC_REMOTE)) {
		return;
	}
	ipc_begin(qmgr->ch, IPC_AGENT_DIED, 0);
	ipc_put_u(qmgr->ch, (uint64_t)p->prog->role);
	ipc_put_u(qmgr->ch, itself);
	ipc_end(qmgr->ch);
}

void
hand_down(struct proc *p)
{
	hand_settings(p);
	if ((p->prog->gets & GET_SPOOL) != 0) {
		hand_directory(p, "queue", p->m->queue_fd);
		hand_directory(p, "lock", p->m->lock_fd);
	}
	hand_listeners(p);
	if ((p->prog->gets & GET_KEY) != 0) {
		ipc_begin(p->ch, IPC_KEY, 0);
		ipc_put_s(p->ch, slice_make((const char *)p->m->key,
		    sizeof(p->m->key)));
		ipc_end(p->ch);
	}
	hand_channels(p);
	ipc_begin(p->ch, IPC_START, 0);
	ipc_end(p->ch);
}
