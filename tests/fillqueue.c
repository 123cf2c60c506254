/*
 * fillqueue - writes many deferred messages into the queue of a spool at rest,
 * for tests of how the programs bear them: fillqueue SPOOL N [WAIT [SPREAD
 * [DOMAINS]]].
 *
 * Message i is from s<i mod 100>@from.test to u<i>@d<i mod DOMAINS>.test (200),
 * was tried once, and is due again WAIT (3600) to WAIT + SPREAD (0) seconds from
 * now. They arrived one millisecond after the other, the last an hour ago: they
 * lie in all directories. SPOOL/queue/0..f exist; the files get their owner.
 * Not durable: a test does not need that.
 */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/envelope.h"
#include "common/qid.h"
#include "common/slice.h"
#include "common/spool_file.h"

#define DIRS     16
#define EACH_US  1000
#define BEFORE_S 3600

static const char content[] = "Received: by mx.veredus.test; long ago\r\n"
    "Subject: hello\r\n\r\nBody.\r\n";

struct fill {
	int dirs[DIRS];
	uint64_t n, wait_s, spread_s, domains;
	uint64_t now_s;
};

static void
open_dirs(struct fill *f, const char *spool)
{
	char path[4096];
	struct stat st;
	int i, n;

	for (i = 0; i < DIRS; i++) {
		n = snprintf(path, sizeof(path), "%s/queue/%x", spool,
		    (unsigned)i);
		f->dirs[i] = n < 0 || (size_t)n >= sizeof(path) ? -1 :
		    open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (f->dirs[i] == -1) {
			err(1, "%s", path);
		}
	}
	if (fstat(f->dirs[0], &st) == -1 ||
	    (geteuid() == 0 && (setegid(st.st_gid) == -1 ||
	    seteuid(st.st_uid) == -1))) {
		err(1, "the owner of %s/queue/0", spool);
	}
}

__attribute__((format(printf, 3, 4))) static struct slice
text(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, size, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= size) {
		errx(1, "a text is too long");
	}
	return slice_make(out, (size_t)n);
}

/* One recipient, tried once. */
static struct spool_state *
make_state(const struct fill *f, uint64_t i, uint64_t qid)
{
	struct spool_header h = { .qid = qid,
		.content_n = sizeof(content) - 1 };
	char from[64], to[64], domain[64], reply[128];
	struct slice hop = text(domain, sizeof(domain), "d%" PRIu64 ".test",
	    i % f->domains), address, record;
	struct fate_item fate = { .index = 0, .attempt = 1,
		.fate = FATE_DEFERRED, .esc = SL("4.4.1"),
		.next_at = f->now_s + f->wait_s +
		    (f->spread_s > 0 ? i % f->spread_s : 0) };
	struct spool_state *st;
	struct envelope e;
	struct strbuf b;

	envelope_init(&e);
	e.qid = qid;
	e.arrived_us = qid;
	address = text(to, sizeof(to), "u%" PRIu64 "@%s", i, domain);
	(void)envelope_add(&e, address, address, SL("smtp"), hop, SL(""));
	envelope_set(&e.reverse_path, text(from, sizeof(from),
	    "s%" PRIu64 "@from.test", i % 100));
	envelope_set(&e.client_addr, SL("127.0.0.1"));
	envelope_set(&e.client_name, SL("localhost"));
	envelope_set(&e.helo, SL("client.test"));
	envelope_set(&e.proto, SL("ESMTP"));
	fate.reply = text(reply, sizeof(reply),
	    "connect to %s[192.0.2.%u]:25: Connection refused", domain,
	    (unsigned)(i % 250));
	st = spool_state_new(&h, &e);
	strbuf_init(&b, 0);
	spool_record_fate(&b, qid, &fate);
	record = strbuf_slice(&b);
	(void)spool_state_apply(st, record);
	strbuf_clear(&b);
	return st;
}

static void
write_one(const struct fill *f, uint64_t i)
{
	uint64_t qid = (f->now_s - BEFORE_S) * 1000000 -
	    (f->n - i) * EACH_US;
	struct slice body = slice_make(content, sizeof(content) - 1);
	struct spool_state *st = make_state(f, i, qid);
	char name[SPOOL_NAME_MAX], head[SPOOL_HEADER];
	struct strbuf tail, all;
	int fd;

	strbuf_init(&tail, 0);
	strbuf_init(&all, 0);
	spool_image(st, body, NULL, head, &tail);
	(void)strbuf_add(&all, head, sizeof(head));
	(void)strbuf_add_slice(&all, body);
	(void)strbuf_add_slice(&all, strbuf_slice(&tail));
	spool_name(qid, 0, name);
	fd = openat(f->dirs[qid >> 20 & (DIRS - 1)], name,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1 || write(fd, all.p, all.n) != (ssize_t)all.n ||
	    close(fd) == -1) {
		err(1, "%s", name);
	}
	strbuf_clear(&tail);
	strbuf_clear(&all);
	spool_state_free(st);
}

static uint64_t
number(int argc, char **argv, int i, uint64_t otherwise)
{
	char *end;
	uint64_t n;

	if (i >= argc) {
		return otherwise;
	}
	errno = 0;
	n = strtoull(argv[i], &end, 10);
	if (errno != 0 || end == argv[i] || *end != '\0') {
		errx(64, "%s: no number", argv[i]);
	}
	return n;
}

int
main(int argc, char **argv)
{
	struct fill f = { .now_s = (uint64_t)time(NULL) };
	uint64_t i;

	f.n = number(argc, argv, 2, 0);
	f.wait_s = number(argc, argv, 3, 3600);
	f.spread_s = number(argc, argv, 4, 0);
	f.domains = number(argc, argv, 5, 200);
	if (argc < 3 || f.n == 0 || f.domains == 0) {
		errx(64, "usage: fillqueue SPOOL N [WAIT [SPREAD [DOMAINS]]]");
	}
	open_dirs(&f, argv[1]);
	for (i = 0; i < f.n; i++) {
		write_one(&f, i);
	}
	return 0;
}
