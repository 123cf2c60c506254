/*
 * queue_service - the channel to qmgr: what is in the queue (TAKE, GET), what
 * became of it (FATES), and what the administrator wants (MARK).
 *
 * TAKE hands each message out once a channel: what was there when the channel
 * came, from the oldest, and what is accepted meanwhile, in order of
 * acceptance, by turns. A TAKE ends with its last message, however long that
 * takes: so a lone message wakes nobody but to be handed out. Limits: one TAKE outstanding, QUEUE_READS_MAX messages
 * read at a time, QUEUE_ASKED_MAX other questions in hand.
 */
#ifndef CLEANUP_QUEUE_SERVICE_H
#define CLEANUP_QUEUE_SERVICE_H

#include <stddef.h>

#include "cleanup/program.h"

#define QUEUE_TAKE_MAX  256
#define QUEUE_READS_MAX 64
#define QUEUE_ASKED_MAX 4096

struct queue_service;

/* Listens to spool_on_accepted(). */
struct queue_service *queue_service_new(struct program *pg);
/* No operation of the spool may be in flight. */
void queue_service_free(struct queue_service *s);
/* A fresh channel (takes `fd'): everything is handed out from the beginning. */
void queue_service_channel(struct queue_service *s, int fd);

#endif
