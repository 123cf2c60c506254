/*
 * dns_watch - a small file that others replace or rewrite when they like.
 *
 * Watched by inotify on its directory, and on that of each symbolic link on the
 * way (/etc/resolv.conf often leads below /run); looked at again a moment after
 * an event, and each DNS_WATCH_POLL_S in any case. What cannot be read
 * is told once and leaves what was read before in force. Reading blocks, for as
 * long as a small local file takes.
 */
#ifndef SERVICES_DNS_WATCH_H
#define SERVICES_DNS_WATCH_H

#include <event2/event.h>

#include "common/settings.h"
#include "common/slice.h"

#define DNS_WATCH_POLL_S 30
#define DNS_WATCH_LINKS  8 /* on the way to the file */

struct dns_watch;

/* The file's text, or (`there' false) it is missing. */
typedef void dns_watch_fn(void *arg, bool there, struct slice text);

/* Reads at once: `fn' is called before this returns, and at each change. */
struct dns_watch *dns_watch_new(struct event_base *base, const char *path,
    size_t size_max, dns_watch_fn *fn, void *arg);
void dns_watch_free(struct dns_watch *w);

/* Add the directories that it must be able to read, each once. */
void dns_watch_directories(const char *path, struct strlist *out);

#endif
