/* The queue by age and destination, or sender: from memory, in one go. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "qmgr/service.h"

#define ROWS_MAX 100 /* the largest; the others in one row */

static void
add_to(struct sched_sum *to, const struct sched_sum *from)
{
	unsigned i;

	to->n += from->n;
	to->octets += from->octets;
	for (i = 0; i < SCHED_AGES; i++) {
		to->by_age[i] += from->by_age[i];
	}
}

static int
largest_first(const void *a, const void *b)
{
	const struct sched_sum *x = a, *y = b;

	return x->n != y->n ? (x->n > y->n ? -1 : 1) :
	    slice_compare(x->text, y->text);
}

/* Columns: whose, all, "5m" (younger than that), "10m", ..., "1280m+". */
static void
add_row(struct ctl_session *cs, const char *title, struct slice text,
    const struct sched_sum *sum)
{
	unsigned minutes = SCHED_AGE_FIRST_S / 60, i;
	char name[32] = "";

	ctl_row_begin(cs);
	ctl_row_s(cs, title, text);
	ctl_row_u(cs, "messages", sum->n);
	ctl_row_u(cs, "kbytes", (sum->octets + 1023) / 1024);
	for (i = 0; i < SCHED_AGES; i++) {
		if (snprintf(name, sizeof(name), "%u%s", i < SCHED_AGES - 1 ?
		    minutes << i : minutes << (i - 1),
		    i < SCHED_AGES - 1 ? "m" : "m+") > 0) {
			ctl_row_u(cs, name, sum->by_age[i]);
		}
	}
	ctl_row_end(cs);
}

void
service_summary(const struct sched *s, struct ctl_session *cs,
    enum sched_by by, enum sched_state only)
{
	const char *title = by == SCHED_BY_SENDER ? "sender" : "destination";
	struct sched_sum all = { .n = 0 }, others = { .n = 0 }, *sums;
	size_t n, i;

	sums = sched_summary(s, by, only, &n);
	for (i = 0; i < n; i++) {
		add_to(&all, &sums[i]);
	}
	add_to(&others, &sums[0]); /* those that have no number */
	qsort(sums + 1, n - 1, sizeof(*sums), largest_first);
	add_row(cs, title, SL("TOTAL"), &all);
	for (i = 1; i < n && sums[i].n > 0; i++) {
		if (i <= ROWS_MAX) {
			add_row(cs, title, sums[i].text, &sums[i]);
		} else {
			add_to(&others, &sums[i]);
		}
	}
	if (others.n > 0) {
		add_row(cs, title, SL("(others)"), &others);
	}
	free(sums);
}
