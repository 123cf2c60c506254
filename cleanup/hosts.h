/*
 * hosts - to which hosts and addresses would mail for a next hop go? For
 * `veredus trace': by the rules that remote uses (common/mx.h), with answers of
 * the dns service. Real mail is not routed here.
 */
#ifndef CLEANUP_HOSTS_H
#define CLEANUP_HOSTS_H

#include <stdint.h>

#include "common/mx.h"

#define HOSTS_WAIT_MAX_MS   30000 /* for all answers of one next hop */
#define HOSTS_LOOKINGS_MAX  64    /* next hops at a time */

struct event_base;
struct settings;
struct hosts;

struct hosts *hosts_new(struct event_base *base, const struct settings *s);
void hosts_free(struct hosts *h);
/* After a reload. */
void hosts_set_settings(struct hosts *h, const struct settings *s);
/* A fresh channel to dns (takes `fd'); what waits for the old one fails. */
void hosts_channel(struct hosts *h, int fd);

/* What was asked, and what came of it; both live until the callback returns. */
typedef void hosts_cb(void *arg, const struct mx_memo *trace,
    const struct mx_result *r);
/*
 * Find the hosts of `hop' (not NEXTHOP_UNIX), by LMTP's rules or SMTP's. Calls cb
 * once: before this returns, then 0 is returned, or later; then the id is for
 * hosts_cancel().
 */
uint32_t hosts_ask(struct hosts *h, const struct nexthop *hop, bool lmtp,
    hosts_cb *cb, void *arg);
/* cb is not called any more. An id that is not valid any more is fine. */
void hosts_cancel(struct hosts *h, uint32_t id);

#endif
