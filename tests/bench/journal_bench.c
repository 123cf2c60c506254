/*
 * journal_bench DIRECTORY [OCTETS [SECONDS]] - how many entries a second the
 * journal takes on that disk, and what one costs in CPU, with so many in flight;
 * beside it, what a bare batch costs there: a write of 4 KiB into zeros and its
 * flush. `make tests/bench/journal_bench'; DIRECTORY is to be empty.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/journal.h"
#include "common/xmalloc.h"

#define FLYING_MAX 1000

struct bench;
struct flying {
	struct journal_entry e;
	struct bench *b;
	uint64_t begun;
};
struct bench {
	struct event_base *base;
	struct journal *j;
	char *body;
	size_t octets;
	uint64_t done, waited_us, max_us, qid;
	bool stop;
};

static uint64_t
now_us(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void
put(struct flying *f)
{
	const struct slice part = slice_make(f->b->body, f->b->octets);

	f->begun = now_us(CLOCK_MONOTONIC);
	journal_append(f->b->j, &f->e, JOURNAL_NEW, 1, ++f->b->qid, &part, 1);
}

/* Nothing is needed any more once it is done: the ring goes round. */
static void
on_done(struct journal_entry *e)
{
	struct flying *f = e->arg;
	struct bench *b = f->b;
	const uint64_t took = now_us(CLOCK_MONOTONIC) - f->begun;

	if (e->error != 0) {
		(void)fprintf(stderr, "journal_bench: %s\n",
		    strerror(e->error));
		exit(1);
	}
	b->done++;
	b->waited_us += took;
	b->max_us = took > b->max_us ? took : b->max_us;
	journal_set_floor(b->j, e->lsn >> 32);
	if (!b->stop) {
		put(f);
	}
}

static void
run(struct bench *b, size_t flying, uint64_t us)
{
	static struct flying fs[FLYING_MAX];
	struct journal_usage before, after;
	struct rusage r0, r1;
	uint64_t begun, cpu, took;
	size_t i;

	b->done = b->waited_us = b->max_us = 0;
	b->stop = false;
	journal_usage(b->j, &before);
	(void)getrusage(RUSAGE_SELF, &r0);
	cpu = now_us(CLOCK_PROCESS_CPUTIME_ID);
	begun = now_us(CLOCK_MONOTONIC);
	for (i = 0; i < flying; i++) {
		fs[i] = (struct flying){ .e = { .done = on_done,
			.arg = &fs[i] }, .b = b };
		put(&fs[i]);
	}
	while (now_us(CLOCK_MONOTONIC) - begun < us) {
		(void)event_base_loop(b->base, EVLOOP_ONCE);
	}
	took = now_us(CLOCK_MONOTONIC) - begun;
	cpu = now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	(void)getrusage(RUSAGE_SELF, &r1);
	journal_usage(b->j, &after);
	printf("%4zu in flight: %8.0f entries/s, %7.0f flushes/s, %5.1f us of "
	    "CPU and %.2f switches an entry; wait %.0f us, at most %llu\n",
	    flying, (double)b->done * 1e6 / (double)took,
	    (double)(after.flushes - before.flushes) * 1e6 / (double)took,
	    (double)cpu / (double)b->done,
	    (double)(r1.ru_nvcsw - r0.ru_nvcsw + r1.ru_nivcsw - r0.ru_nivcsw) /
	    (double)b->done, (double)b->waited_us / (double)b->done,
	    (unsigned long long)b->max_us);
	b->stop = true;
	for (b->qid = b->done; b->done < b->qid + flying; ) {
		(void)event_base_loop(b->base, EVLOOP_ONCE);
	}
}

static void
bare(int dir, uint64_t us)
{
	static char zeros[1 << 20];
	const int fd = openat(dir, "bare", O_RDWR | O_CREAT | O_TRUNC, 0600);
	uint64_t begun, n = 0;
	int i;

	for (i = 0; i < 32; i++) {
		if (pwrite(fd, zeros, sizeof(zeros), (off_t)i << 20) == -1) {
			exit(1);
		}
	}
	(void)fsync(fd);
	memset(zeros, 'x', 4096);
	begun = now_us(CLOCK_MONOTONIC);
	while (now_us(CLOCK_MONOTONIC) - begun < us) {
		if (pwrite(fd, zeros, 4096, (off_t)(n % 8192) << 12) == -1 ||
		    fdatasync(fd) == -1) {
			exit(1);
		}
		n++;
	}
	printf("a bare write and flush: %.0f us\n", (double)us / (double)n);
	(void)close(fd);
	(void)unlinkat(dir, "bare", 0);
}

int
main(int argc, char **argv)
{
	static const size_t flights[] = { 1, 10, 100, 1000 };
	struct journal_config cfg = { .segment_size = 32u << 20, .segments = 4 };
	struct bench b = { .octets = 2048 };
	uint64_t us;
	size_t i;

	if (argc < 2 || chdir(argv[1]) == -1) {
		(void)fprintf(stderr, "usage: journal_bench DIRECTORY "
		    "[OCTETS [SECONDS]]\n");
		return 2;
	}
	b.octets = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : b.octets;
	us = (argc > 3 ? strtoul(argv[3], NULL, 10) : 3) * 1000000u;
	b.body = xcalloc(1, b.octets + 1);
	memset(b.body, 'm', b.octets);
	b.base = event_base_new();
	cfg.spool_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bare(cfg.spool_fd, us);
	if (b.base == NULL || journal_open(b.base, &cfg, NULL, NULL,
	    &b.j) == -1 || journal_start(b.j) == -1) {
		perror("journal_bench");
		return 1;
	}
	for (i = 0; i < NELEMS(flights); i++) {
		run(&b, flights[i], us);
	}
	journal_set_floor(b.j, UINT64_MAX);
	journal_close(b.j);
	event_base_free(b.base);
	free(b.body);
	return 0;
}
