#include "config.h"

#include <stdlib.h>

#include "common/listen.h"
#include "common/mx_policy.h"
#include "common/settings.h"
#include "common/xmalloc.h"

struct own_port {
	uint16_t port;
	bool star;      /* of all our addresses */
};

struct mx_policy {
	bool ipv4, ipv6;
	char name[DNS_NAME_MAX + 1]; /* "": none */
	struct cidr *own;
	size_t nown;
	struct own_port *ports;
	size_t nports;
};

static void
take_families(struct mx_policy *p, const struct strlist *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		p->ipv4 |= slice_case_eq(slice_of(l->at[i]), SL("ipv4"));
		p->ipv6 |= slice_case_eq(slice_of(l->at[i]), SL("ipv6"));
	}
}

static void
take_addresses(struct mx_policy *p, const struct strlist *l)
{
	size_t i;

	p->own = xcalloc(l->n + 1, sizeof(*p->own));
	for (i = 0; i < l->n; i++) {
		if (cidr_parse_addr(slice_of(l->at[i]), &p->own[p->nown])) {
			p->nown++;
		}
	}
}

static void
take_ports(struct mx_policy *p, const struct strlist *l)
{
	struct listen_entry e;
	size_t i;

	p->ports = xcalloc(l->n + 1, sizeof(*p->ports));
	for (i = 0; i < l->n; i++) {
		if (listen_parse(slice_of(l->at[i]), &e)) {
			p->ports[p->nports++] = (struct own_port){ e.port,
				e.star };
		}
	}
}

struct mx_policy *
mx_policy_new(const struct settings *s)
{
	struct mx_policy *p = xcalloc(1, sizeof(*p));

	take_families(p, &s->inet_protocols);
	if (!dns_name_normal(slice_of(s->myhostname), p->name)) {
		p->name[0] = '\0';
	}
	take_addresses(p, &s->inet_interfaces);
	take_ports(p, &s->listen);
	return p;
}

void
mx_policy_free(struct mx_policy *p)
{
	if (p != NULL) {
		free(p->own);
		free(p->ports);
		free(p);
	}
}

bool
mx_policy_family(const struct mx_policy *p, bool v6)
{
	return v6 ? p->ipv6 : p->ipv4;
}

/* Do we listen to this port; `loopback': on all of 127.0.0.0/8? */
static bool
own_port(const struct mx_policy *p, uint16_t port, bool loopback)
{
	size_t i;

	for (i = 0; i < p->nports; i++) {
		if (p->ports[i].port == port &&
		    (p->ports[i].star || !loopback)) {
			return true;
		}
	}
	return false;
}

bool
mx_policy_own_name(const struct mx_policy *p, const char *host, uint16_t port)
{
	return strcmp(p->name, host) == 0 && own_port(p, port, false);
}

/*
 * Whom a connection to `a' reaches: Linux takes an IPv4 address mapped into IPv6
 * for that address, and "no address" for loopback. Any domain may name these.
 */
static struct cidr
reached(const struct cidr *a)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	static const unsigned char none[16];
	struct cidr r = *a;

	if (r.v6 && memcmp(r.octets, mapped, sizeof(mapped)) == 0) {
		r = (struct cidr){ .bits = 32 };
		memcpy(r.octets, a->octets + sizeof(mapped), 4);
	}
	if (r.v6 && memcmp(r.octets, none, 16) == 0) {
		r.octets[15] = 1;
	} else if (!r.v6 && memcmp(r.octets, none, 4) == 0) {
		r.octets[0] = 127;
		r.octets[3] = 1;
	}
	return r;
}

bool
mx_policy_own_addr(const struct mx_policy *p, const struct cidr *addr,
    uint16_t port)
{
	const struct cidr to = reached(addr);
	size_t i;

	if (!to.v6 && to.octets[0] == 127 && own_port(p, port, true)) {
		return true;
	}
	for (i = 0; i < p->nown && own_port(p, port, false); i++) {
		if (cidr_match(&p->own[i], &to)) {
			return true;
		}
	}
	return false;
}
