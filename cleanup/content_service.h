/*
 * content_service - hands the content of a message to the agent that was given
 * it to deliver: FETCH with the cookie that only cleanup and qmgr can make. An
 * agent can read what it was given and nothing else.
 */
#ifndef CLEANUP_CONTENT_SERVICE_H
#define CLEANUP_CONTENT_SERVICE_H

#include <stddef.h>

#include "cleanup/program.h"
#include "common/ipc.h"

#define CONTENT_ASKED_MAX 31 /* questions in hand */

struct content_service;

/* For one agent, IPC_LOCAL or IPC_REMOTE. */
struct content_service *content_service_new(struct program *pg,
    enum ipc_role agent);
/* No operation of the spool may be in flight. */
void content_service_free(struct content_service *s);
/* A fresh channel to the agent (takes `fd'). */
void content_service_channel(struct content_service *s, int fd);

#endif
