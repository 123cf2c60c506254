#include "config.h"

#include <sys/socket.h>

#include "master/program.h"

const struct program programs[] = {
	{ IPC_LOG, P_LOG, 0, "writes the log" },
	{ IPC_USERS, P_USERS, 0, "asks the account database" },
	{ IPC_DNS, P_DNS, 0, "asks DNS servers" },
	{ IPC_CLEANUP, P_CLEANUP, GET_SPOOL | GET_KEY,
	    "decides on addresses, keeps the spool" },
	{ IPC_FORKER, P_FORKER, 0, "starts local's workers" },
	{ IPC_LOCAL, P_LOCAL, 0, "delivers to local users" },
	{ IPC_REMOTE, P_REMOTE, 0, "delivers to other hosts" },
	{ IPC_QMGR, P_QMGR, GET_KEY, "schedules the queue" },
	{ IPC_SMTPD, P_SMTPD, 0, "takes mail in" },
};
const size_t program_count = NELEMS(programs);

const struct program_link program_links[] = {
	{ IPC_SMTPD, IPC_CLEANUP, SOCK_STREAM },
	{ IPC_QMGR, IPC_CLEANUP, SOCK_STREAM },
	{ IPC_LOCAL, IPC_CLEANUP, SOCK_STREAM },
	{ IPC_REMOTE, IPC_CLEANUP, SOCK_STREAM },
	{ IPC_QMGR, IPC_LOCAL, SOCK_STREAM },
	{ IPC_QMGR, IPC_REMOTE, SOCK_STREAM },
	{ IPC_CLEANUP, IPC_USERS, SOCK_STREAM },
	{ IPC_CLEANUP, IPC_DNS, SOCK_STREAM },
	{ IPC_REMOTE, IPC_DNS, SOCK_STREAM },
	{ IPC_LOCAL, IPC_FORKER, SOCK_SEQPACKET }, /* fixed records */
};
const size_t program_link_count = NELEMS(program_links);

const struct program_listener program_listeners[] = {
	{ "smtp", IPC_SMTPD, NULL, false },
	{ "submit", IPC_SMTPD, "public/submit", false },
	{ "control", IPC_QMGR, "admin/queue", true },
	{ "mailq", IPC_QMGR, "public/mailq", false },
	{ "control", IPC_CLEANUP, "admin/cleanup", true },
	{ "control", IPC_MASTER, "admin/master", true },
};
const size_t program_listener_count = NELEMS(program_listeners);

const struct program *
program_by_role(enum ipc_role role)
{
	size_t i;

	for (i = 0; i < program_count; i++) {
		if (programs[i].role == role) {
			return &programs[i];
		}
	}
	return NULL;
}

unsigned
program_instances(const struct program *p, const struct settings *s)
{
	return p->role == IPC_SMTPD ? (unsigned)s->smtpd_processes : 1;
}
