/*
 * accepting - whether there is room for more mail: what smtpd is to answer MAIL
 * from now on. Looked at once a second and whenever the spool says "full".
 */
#ifndef CLEANUP_ACCEPTING_H
#define CLEANUP_ACCEPTING_H

#include "cleanup/program.h"
#include "cleanup/reply.h"

/* Free inodes below which nothing is taken either. */
#define ACCEPTING_INODES_MIN 64

struct accepting;

/* `changed' is called with the new reply whenever it becomes another. */
struct accepting *accepting_new(struct program *pg,
    void (*changed)(struct program *pg, const struct reply *r));
void accepting_free(struct accepting *a);
/* 250, or 452/451. */
struct reply accepting_reply(const struct accepting *a);
/* The spool failed with this errno: "no space" counts at once, and for at
   least a few seconds, whatever the file system says (quotas). */
void accepting_spool_error(struct accepting *a, int error);
/* pg->stopping or the settings have changed. */
void accepting_look(struct accepting *a);

#endif
