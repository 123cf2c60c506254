/*
 * dns_conf - the two files that say where names are looked up: resolv.conf and
 * hosts. Pure parsers: what they do not understand they leave out.
 */
#ifndef SERVICES_DNS_CONF_H
#define SERVICES_DNS_CONF_H

#include "common/dns.h"
#include "common/settings.h"
#include "common/strbuf.h"

#define DNS_SERVERS_MAX 8
#define DNS_HOSTS_MAX   1000000 /* lines of a hosts file; the rest is left out */

/*
 * The "nameserver" lines, as "address:port", at most DNS_SERVERS_MAX. Without
 * one, the server of this host: 127.0.0.1:53 (resolv.conf(5)). An address with
 * a scope (fe80::1%eth0) is left out. Owned by the caller.
 */
void dns_conf_servers(struct slice resolv_conf, struct strlist *out);

struct dns_hosts;
struct dns_hosts *dns_hosts_new(struct slice text);
void dns_hosts_free(struct dns_hosts *h);
/*
 * False: the name does not stand there. True: it does, and DNS is not asked;
 * *out gains the addresses of the family of `type', maybe none.
 */
bool dns_hosts_find(const struct dns_hosts *h, struct slice name,
    enum dns_type type, struct strbuf *out);

#endif
