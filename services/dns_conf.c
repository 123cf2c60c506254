/* A hosts file is a table from names to a chain of addresses. */
#include "config.h"

#include <stdlib.h>

#include "common/arena.h"
#include "common/cidr.h"
#include "common/nexthop.h"
#include "common/table.h"
#include "common/xmalloc.h"
#include "services/dns_conf.h"

#define SPACES " \t\r"

/* -- resolv.conf ----------------------------------------------------------- */

static void
add_server(const struct cidr *addr, struct strlist *out)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	(void)strbuf_add_str(&b, addr->v6 ? "[" : "");
	nexthop_print_addr(addr, &b);
	(void)strbuf_add_str(&b, addr->v6 ? "]:53" : ":53");
	out->at = xreallocarray(out->at, out->n + 1, sizeof(*out->at));
	out->at[out->n++] = strbuf_take(&b);
}

void
dns_conf_servers(struct slice text, struct strlist *out)
{
	static const struct cidr here = { .octets = { 127, 0, 0, 1 } };
	struct slice line, word;
	struct cidr addr;

	*out = (struct strlist){ NULL, 0 };
	while (slice_word(&text, "\n", &line)) {
		/* a keyword begins its line */
		if (line.p[0] == 'n' && slice_word(&line, SPACES, &word) &&
		    slice_eq(word, SL("nameserver")) &&
		    slice_word(&line, SPACES, &word) && word.p[0] != '[' &&
		    cidr_parse_addr(word, &addr) && out->n < DNS_SERVERS_MAX) {
			add_server(&addr, out);
		}
	}
	if (out->n == 0) {
		add_server(&here, out);
	}
}

/* -- hosts ----------------------------------------------------------------- */

struct host_addr {
	unsigned char octets[16];
	bool v6;
	uint32_t next; /* of the same name; 0: the last. [0] is not used */
};

struct dns_hosts {
	struct arena arena;
	struct table names; /* to the first host_addr */
	struct host_addr *at;
	uint32_t n, cap;
};

static uint32_t
new_addr(struct dns_hosts *h, const struct cidr *addr)
{
	if (h->n == h->cap) {
		h->cap = h->cap == 0 ? 64 : h->cap * 2;
		h->at = xreallocarray(h->at, h->cap, sizeof(*h->at));
	}
	h->at[h->n] = (struct host_addr){ .v6 = addr->v6 };
	memcpy(h->at[h->n].octets, addr->octets, sizeof(addr->octets));
	return h->n++;
}

static void
add_name(struct dns_hosts *h, const struct cidr *addr, const char *name)
{
	uint32_t at, fresh, steps = 0;

	if (!table_get(&h->names, slice_of(name), &at)) {
		fresh = new_addr(h, addr);
		(void)table_add(&h->names, arena_dup(&h->arena,
		    slice_of(name)), fresh);
		return;
	}
	while (h->at[at].next != 0) {
		at = h->at[at].next;
		if (++steps == DNS_RECORDS_MAX) {
			return;
		}
	}
	fresh = new_addr(h, addr);
	h->at[at].next = fresh;
}

static void
add_line(struct dns_hosts *h, struct slice line)
{
	char name[DNS_NAME_MAX + 1];
	struct cidr addr;
	struct slice word;

	line.n = slice_find(line, '#');
	if (!slice_word(&line, SPACES, &word) || word.p[0] == '[' ||
	    !cidr_parse_addr(word, &addr)) {
		return;
	}
	while (slice_word(&line, SPACES, &word)) {
		if (dns_name_normal(word, name)) {
			add_name(h, &addr, name);
		}
	}
}

struct dns_hosts *
dns_hosts_new(struct slice text)
{
	struct dns_hosts *h = xcalloc(1, sizeof(*h));
	static const struct cidr unused;
	struct slice line;
	unsigned lines = 0;

	arena_init(&h->arena);
	table_init(&h->names);
	(void)new_addr(h, &unused);
	while (lines++ < DNS_HOSTS_MAX && slice_word(&text, "\n", &line)) {
		add_line(h, line);
	}
	return h;
}

void
dns_hosts_free(struct dns_hosts *h)
{
	if (h != NULL) {
		table_clear(&h->names);
		arena_clear(&h->arena);
		free(h->at);
		free(h);
	}
}

bool
dns_hosts_find(const struct dns_hosts *h, struct slice name,
    enum dns_type type, struct strbuf *out)
{
	struct dns_record r = { 0, slice_make("", 0) };
	uint32_t at;

	if (!table_get(&h->names, name, &at)) {
		return false;
	}
	for (; at != 0; at = h->at[at].next) {
		if (h->at[at].v6 == (type == DNS_AAAA)) {
			r.data = slice_make((const char *)h->at[at].octets,
			    h->at[at].v6 ? 16 : 4);
			dns_record_encode(&r, out);
		}
	}
	return true;
}
