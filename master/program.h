/*
 * program - the table of what master starts: who, in which order, with what.
 */
#ifndef MASTER_PROGRAM_H
#define MASTER_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/ipc.h"
#include "common/settings.h"

/* What is handed down to a program. */
#define GET_SPOOL (1u << 0) /* directory "queue", and the lock with it */
#define GET_KEY   (1u << 1) /* the delivery cookies' key */

struct program {
	enum ipc_role role;
	unsigned settings; /* the P_ bit of its rows */
	unsigned gets;     /* GET_* */
	const char *purpose;
};

/* In the order of starting; the order of stopping is the reverse. */
extern const struct program programs[];
extern const size_t program_count;

const struct program *program_by_role(enum ipc_role role);
static inline const char *
program_name(const struct program *p)
{
	return ipc_role_name(p->role);
}

/* A channel between each instance of one program and each of another. */
struct program_link {
	enum ipc_role a, b;
	int sock_type; /* SOCK_STREAM carries IPC messages */
};
extern const struct program_link program_links[];
extern const size_t program_link_count;

/* The kinds of listeners and who gets them. */
struct program_listener {
	const char *kind;
	enum ipc_role role;
	const char *socket; /* below runtime_directory; NULL: `listen' */
	bool admin;         /* root and admin_group only; else for everyone */
};
extern const struct program_listener program_listeners[];
extern const size_t program_listener_count;

/* How many of a program are to run by these settings. */
unsigned program_instances(const struct program *p, const struct settings *s);

#endif
