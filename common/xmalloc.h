/*
 * xmalloc - allocation that does not fail: out of memory ends the process with
 * a log line. Nothing was acknowledged that is not in the spool, so a restart
 * is always safe. What a peer can make us allocate is limited by the caller
 * before the call.
 */
#ifndef COMMON_XMALLOC_H
#define COMMON_XMALLOC_H

#include <stddef.h>

#include "common/slice.h"

void *xmalloc(size_t n);
/* Zeroed; checks the product for overflow. */
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
/* Room for `count' elements of `size'; checks the product for overflow. */
void *xreallocarray(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
/* A NUL-terminated copy; a NUL inside `s' stays inside. */
char *xslicedup(struct slice s);

#endif
