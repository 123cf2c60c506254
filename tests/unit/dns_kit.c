#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "tests/unit/dns_kit.h"
#include "tests/unit/unit.h"

void
pkt_u8(struct pkt *p, unsigned v)
{
	assert_true(p->n < sizeof(p->b));
	p->b[p->n++] = (unsigned char)v;
}

void
pkt_u16(struct pkt *p, unsigned v)
{
	pkt_u8(p, v >> 8 & 255);
	pkt_u8(p, v & 255);
}

void
pkt_u32(struct pkt *p, uint32_t v)
{
	pkt_u16(p, v >> 16);
	pkt_u16(p, v & 65535);
}

static void
put(struct pkt *p, struct slice s)
{
	assert_true(s.n <= sizeof(p->b) - p->n);
	if (s.n > 0) {
		memcpy(p->b + p->n, s.p, s.n);
	}
	p->n += s.n;
}

void
pkt_name(struct pkt *p, const char *name)
{
	struct slice rest = slice_of(name), label;

	while (slice_word(&rest, ".", &label)) {
		pkt_u8(p, (unsigned)label.n);
		put(p, label);
	}
	pkt_u8(p, 0);
}

void
pkt_begin(struct pkt *p, unsigned id, unsigned flags, const char *name,
    unsigned type)
{
	p->n = 0;
	pkt_u16(p, id);
	pkt_u16(p, flags);
	pkt_u16(p, 1);
	pkt_u16(p, 0);
	pkt_u32(p, 0);
	pkt_name(p, name);
	pkt_u16(p, type);
	pkt_u16(p, 1);
}

static size_t
rr_begin(struct pkt *p, unsigned section, const char *name, unsigned type,
    uint32_t ttl)
{
	unsigned count = (unsigned)p->b[section] << 8 | p->b[section + 1];

	count++;
	p->b[section] = (unsigned char)(count >> 8);
	p->b[section + 1] = (unsigned char)count;
	pkt_name(p, name);
	pkt_u16(p, type);
	pkt_u16(p, 1);
	pkt_u32(p, ttl);
	pkt_u16(p, 0);
	return p->n;
}

static void
rr_end(struct pkt *p, size_t at)
{
	size_t n = p->n - at;

	p->b[at - 2] = (unsigned char)(n >> 8);
	p->b[at - 1] = (unsigned char)n;
}

void
pkt_rr(struct pkt *p, unsigned section, const char *name, unsigned type,
    uint32_t ttl, struct slice data)
{
	size_t at = rr_begin(p, section, name, type, ttl);

	put(p, data);
	rr_end(p, at);
}

void
pkt_rr_name(struct pkt *p, unsigned section, const char *name, unsigned type,
    uint32_t ttl, struct slice before, const char *target)
{
	size_t at = rr_begin(p, section, name, type, ttl);

	put(p, before);
	pkt_name(p, target);
	rr_end(p, at);
}

void
pkt_mx(struct pkt *p, const char *name, unsigned preference,
    const char *target)
{
	const char pref[2] = { (char)(preference >> 8), (char)preference };

	pkt_rr_name(p, AN, name, T_MX, 300, slice_make(pref, 2), target);
}

void
pkt_soa(struct pkt *p, const char *name, uint32_t ttl, uint32_t minimum)
{
	size_t at = rr_begin(p, NS, name, T_SOA, ttl);

	pkt_name(p, "ns.test");
	pkt_name(p, "hostmaster.test");
	pkt_u32(p, 1);
	pkt_u32(p, 2);
	pkt_u32(p, 3);
	pkt_u32(p, 4);
	pkt_u32(p, minimum);
	rr_end(p, at);
}

struct slice
pkt_slice(const struct pkt *p)
{
	return slice_make((const char *)p->b, p->n);
}

/* -- a server ---------------------------------------------------------------- */

#define CONNS 16

struct fake {
	fake_fn *fn;
	void *arg;
	int udp, tcp;
	struct event *on_udp, *on_tcp;
	struct {
		int fd;
		struct event *ev;
		struct fake *f;
		unsigned char in[600];
		size_t n;
	} conn[CONNS];
	char address[32];
	unsigned questions;
	struct pkt reply;
};

/* What a question asks; false: not a question. */
static bool
question(const unsigned char *q, size_t n, char name[256], unsigned *type,
    unsigned *flags)
{
	size_t at = 12, len = 0;

	if (n < 17) {
		return false;
	}
	*flags = (unsigned)q[2] << 8 | q[3];
	while (at < n && q[at] != 0) {
		unsigned label = q[at++];

		if (label > 63 || at + label >= n || len + label > 250) {
			return false;
		}
		if (len > 0) {
			name[len++] = '.';
		}
		while (label-- > 0) {
			name[len++] = ascii_lower((char)q[at++]);
		}
	}
	name[len] = '\0';
	*type = (unsigned)q[at + 1] << 8 | q[at + 2];
	return true;
}

static void
think(struct fake *f, const unsigned char *q, size_t n, bool tcp)
{
	char name[256];
	unsigned type = 0, flags = 0;

	f->reply.n = 0;
	assert_true(question(q, n, name, &type, &flags));
	f->questions++;
	f->reply.b[0] = q[0]; /* what pkt_begin() is to be given */
	f->reply.b[1] = q[1];
	f->fn(f->arg, name, type, flags, tcp, &f->reply);
}

static void
on_udp(evutil_socket_t fd, short what, void *arg)
{
	struct fake *f = arg;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	unsigned char q[600];
	ssize_t n = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from,
	    &len);

	(void)what;
	if (n > 0) {
		think(f, q, (size_t)n, false);
		if (f->reply.n > 0) {
			(void)sendto(fd, f->reply.b, f->reply.n, 0,
			    (struct sockaddr *)&from, len);
		}
	}
}

static void
on_conn(evutil_socket_t fd, short what, void *arg)
{
	struct fake *f;
	ssize_t n;
	size_t want;
	unsigned i = 0;

	(void)what;
	f = arg;
	while (f->conn[i].fd != fd) {
		i++;
	}
	n = read(fd, f->conn[i].in + f->conn[i].n,
	    sizeof(f->conn[i].in) - f->conn[i].n);
	if (n <= 0) {
		event_free(f->conn[i].ev);
		f->conn[i].ev = NULL;
		(void)close(fd);
		f->conn[i].fd = -1;
		return;
	}
	f->conn[i].n += (size_t)n;
	want = 2 + ((size_t)f->conn[i].in[0] << 8 | f->conn[i].in[1]);
	if (f->conn[i].n >= 2 && f->conn[i].n >= want) {
		think(f, f->conn[i].in + 2, want - 2, true);
		f->conn[i].n = 0;
		if (f->reply.n > 0) {
			const unsigned char len[2] = {
				(unsigned char)(f->reply.n >> 8),
				(unsigned char)f->reply.n };

			/* loopback takes 64 KiB at once */
			assert_int_equal(write(fd, len, 2), 2);
			assert_int_equal(write(fd, f->reply.b, f->reply.n),
			    f->reply.n);
		}
	}
}

static void
on_tcp(evutil_socket_t fd, short what, void *arg)
{
	struct fake *f = arg;
	int c = accept(fd, NULL, NULL);
	unsigned i = 0;

	(void)what;
	while (c != -1 && i < CONNS && f->conn[i].fd != -1) {
		i++;
	}
	assert_true(c != -1 && i < CONNS);
	f->conn[i].fd = c;
	f->conn[i].n = 0;
	f->conn[i].ev = event_new(event_get_base(f->on_tcp), c,
	    EV_READ | EV_PERSIST, on_conn, f);
	assert_int_equal(event_add(f->conn[i].ev, NULL), 0);
}

/* Bound to 127.0.0.1 at *port (0: any). */
static int
bound(int kind, uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons(*port) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == -1) {
		(void)close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

struct fake *
fake_new(struct event_base *base, fake_fn *fn, void *arg)
{
	struct fake *f = xcalloc(1, sizeof(*f));
	uint16_t port;
	unsigned i;

	f->fn = fn;
	f->arg = arg;
	for (f->tcp = -1; f->tcp == -1;) { /* one port for both */
		port = 0;
		f->udp = bound(SOCK_DGRAM, &port);
		f->tcp = bound(SOCK_STREAM, &port);
		if (f->tcp == -1) {
			(void)close(f->udp);
		}
	}
	assert_int_equal(listen(f->tcp, 8), 0);
	for (i = 0; i < CONNS; i++) {
		f->conn[i].fd = -1;
	}
	f->on_udp = event_new(base, f->udp, EV_READ | EV_PERSIST, on_udp, f);
	f->on_tcp = event_new(base, f->tcp, EV_READ | EV_PERSIST, on_tcp, f);
	assert_int_equal(event_add(f->on_udp, NULL), 0);
	assert_int_equal(event_add(f->on_tcp, NULL), 0);
	(void)snprintf(f->address, sizeof(f->address), "127.0.0.1:%u", port);
	return f;
}

void
fake_free(struct fake *f)
{
	unsigned i;

	for (i = 0; i < CONNS; i++) {
		if (f->conn[i].fd != -1) {
			event_free(f->conn[i].ev);
			(void)close(f->conn[i].fd);
		}
	}
	event_free(f->on_udp);
	event_free(f->on_tcp);
	(void)close(f->udp);
	(void)close(f->tcp);
	free(f);
}

const char *
fake_address(const struct fake *f)
{
	return f->address;
}

unsigned
fake_questions(const struct fake *f)
{
	return f->questions;
}

const char *
fake_nobody(void)
{
	static char address[32];
	uint16_t port = 0;
	int fd = bound(SOCK_DGRAM, &port);

	(void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	(void)close(fd);
	return address;
}
