/*
 * log_pipes - the read ends of all programs' descriptors 2, read a bounded
 * share a turn, their lines handed to the sink whole, one after the other.
 * A line that comes alone is read at once; the next within 20 ms, together with
 * what else has come by then: a program's lines keep their order, those of
 * several may change places.
 */
#ifndef SERVICES_LOG_PIPES_H
#define SERVICES_LOG_PIPES_H

#include <event2/event.h>

#include "services/log_sink.h"

struct log_pipes;

struct log_pipes *log_pipes_new(struct event_base *base, struct log_sink *sink);
/* Another pipe; takes fd. False, and fd is closed: there are too many. */
bool log_pipes_add(struct log_pipes *ps, struct slice program, unsigned pid,
    int fd);
/* The sink has room again, or another one: go on. */
void log_pipes_resume(struct log_pipes *ps);
/*
 * Call `done' once every program but those that outlive us (master, ourselves)
 * has closed its end and all is written.
 */
void log_pipes_finish(struct log_pipes *ps, void (*done)(void *), void *arg);
/* The deadline has come: read what is there, write it as far as it goes. */
void log_pipes_drain(struct log_pipes *ps);
void log_pipes_free(struct log_pipes *ps);

#endif
