#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/journal.h"
#include "common/qid.h"
#include "common/xmalloc.h"
#include "tests/unit/spool_kit.h"

/* -- directories ------------------------------------------------------------- */

void
kit_make(struct kit *k)
{
	const char *tmp = getenv("TMPDIR");

	*k = (struct kit){ .fd = -1 };
	if (snprintf(k->path, sizeof(k->path), "%s/spool-test.XXXXXX",
	    tmp != NULL ? tmp : ".") >= (int)sizeof(k->path) ||
	    mkdtemp(k->path) == NULL) {
		abort();
	}
}

static int
remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)what;
	(void)ftw;
	return remove(path);
}

void
kit_remove(struct kit *k)
{
	(void)nftw(k->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
on_accepted(void *arg, uint64_t qid)
{
	struct kit *k = arg;

	if (k->nannounced < NELEMS(k->announced)) {
		k->announced[k->nannounced++] = qid;
	}
}

bool kit_journal;

#define PATIENCE_MS 400 /* four of them outlast a pause in settling */

static void
on_fatal(void *arg, int error)
{
	((struct kit *)arg)->failed = error;
}

bool
kit_open(struct kit *k, const struct spool_config *cfg)
{
	struct spool_config own = { .queue_fd = -1 };

	if (cfg != NULL) {
		own = *cfg;
	}
	if (kit_journal && own.journal_segments == 0) {
		own.journal_segments = 4;
		own.journal_segment_size = JOURNAL_SEGMENT_MIN;
	}
	if (own.journal_patience_ms == 0) {
		own.journal_patience_ms = PATIENCE_MS;
	}
	k->failed = 0;
	own.on_fatal = on_fatal;
	own.on_fatal_arg = k;
	k->nannounced = 0;
	k->fd = open(k->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	k->base = event_base_new();
	own.queue_fd = k->fd;
	if (k->fd == -1 || k->base == NULL) {
		abort();
	}
	if (spool_open(k->base, &own, &k->sp) == -1) {
		k->error = errno;
		k->sp = NULL;
		kit_close(k);
		return false;
	}
	spool_on_accepted(k->sp, on_accepted, k);
	return true;
}

void
kit_close(struct kit *k)
{
	if (k->sp != NULL) {
		spool_close(k->sp);
	}
	k->sp = NULL;
	event_base_free(k->base);
	(void)close(k->fd);
	free(k->content);
	k->content = NULL;
}

void
kit_restart(struct kit *k)
{
	kit_close(k);
	if (!kit_open(k, NULL)) {
		abort();
	}
}

int
kit_setup_as(void **state, const struct spool_config *cfg)
{
	struct kit *k = xcalloc(1, sizeof(*k));

	kit_make(k);
	*state = k;
	return kit_open(k, cfg) ? 0 : -1;
}

int
kit_setup(void **state)
{
	return kit_setup_as(state, NULL);
}

int
kit_teardown(void **state)
{
	struct kit *k = *state;

	kit_close(k);
	kit_remove(k);
	free(k);
	return 0;
}

void
kit_wait(struct kit *k)
{
	while (!k->answered) {
		if (event_base_loop(k->base, EVLOOP_ONCE) == -1) {
			abort();
		}
	}
	k->answered = false;
}

void
kit_settle(struct kit *k)
{
	while (spool_busy(k->sp) > 0) {
		(void)event_base_loop(k->base, EVLOOP_ONCE);
	}
}

/* -- answers -------------------------------------------------------------------- */

static void
on_done(void *arg, uint64_t qid, int error)
{
	struct kit *k = arg;

	(void)qid;
	k->error = error;
	k->answered = true;
}

static void
on_fates(void *arg, uint64_t qid, int error, bool gone)
{
	struct kit *k = arg;

	k->gone = gone;
	on_done(arg, qid, error);
}

static void
copy(char *out, size_t cap, const char *text)
{
	if (snprintf(out, cap, "%s", text) < 0) {
		abort();
	}
}

static void
on_info(void *arg, uint64_t qid, int error, const struct spool_info *info)
{
	struct kit *k = arg;
	uint32_t i;

	on_done(arg, qid, error);
	if (error != 0) {
		return;
	}
	k->nrcpts = info->envelope->nrcpts;
	k->open = info->rcpts_open;
	k->hold = info->hold;
	k->crashes = info->crashes;
	k->size = info->size;
	k->parent = info->envelope->parent_qid;
	copy(k->reason, sizeof(k->reason), info->hold_reason);
	copy(k->reverse_path, sizeof(k->reverse_path),
	    info->envelope->reverse_path);
	for (i = 0; i < k->nrcpts && i < NELEMS(k->fates); i++) {
		k->fates[i] = info->rcpts[i].fate;
		k->attempts[i] = info->rcpts[i].attempt;
		k->warned[i] = info->rcpts[i].warned;
		copy(k->replies[i], sizeof(k->replies[i]),
		    info->rcpts[i].reply);
	}
	(void)snprintf(k->relay, sizeof(k->relay), "%s",
	    info->rcpts[0].relay);
}

static void
on_content(void *arg, uint64_t qid, int error, struct slice content, int fd,
    uint64_t offset, uint64_t size, uint32_t flags)
{
	struct kit *k = arg;

	on_done(arg, qid, error);
	if (error != 0) {
		return;
	}
	free(k->content);
	k->content_n = (size_t)size;
	k->content = xmalloc(k->content_n + 1);
	k->flags = flags;
	k->was_fd = fd != -1;
	if (fd == -1) {
		memcpy(k->content, content.p, content.n);
	} else {
		if (pread(fd, k->content, k->content_n, (off_t)offset) !=
		    (ssize_t)size) {
			abort();
		}
		(void)close(fd);
	}
}

/* -- calls ------------------------------------------------------------------------ */

char *
kit_text(size_t n)
{
	char *p = xmalloc(n + 1);
	size_t i;

	for (i = 0; i < n; i++) {
		p[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' :
		    (char)('a' + (i / 64 + i) % 26);
	}
	return p;
}

void
kit_fill(struct spool_draft *d, size_t n)
{
	char *text = kit_text(n);

	(void)spool_draft_add(d, slice_make(text, n));
	free(text);
}

struct spool_draft *
kit_draft(struct kit *k, size_t n)
{
	struct spool_draft *d = spool_draft_new(k->sp);

	kit_fill(d, n);
	return d;
}

void
kit_envelope(struct envelope *e, uint32_t nrcpts)
{
	char address[64];
	uint32_t i;

	envelope_init(e);
	envelope_set(&e->reverse_path, SL("sender@example.org"));
	envelope_set(&e->client_addr, SL("192.0.2.1"));
	envelope_set(&e->proto, SL("ESMTP"));
	e->flags = CONTENT_8BIT;
	for (i = 0; i < nrcpts; i++) {
		(void)snprintf(address, sizeof(address), "user%u@example.net",
		    i);
		(void)envelope_add(e, slice_of(address), slice_of(address),
		    SL("local"), SL("user"), SL(""));
	}
}

int
kit_accept(struct kit *k, size_t n, uint32_t nrcpts, uint64_t *qid)
{
	struct spool_draft *d = spool_draft_new(k->sp);

	*qid = spool_draft_qid(d);
	return kit_accept_draft(k, d, n, nrcpts);
}

int
kit_accept_draft(struct kit *k, struct spool_draft *d, size_t n,
    uint32_t nrcpts)
{
	struct envelope e;

	kit_fill(d, n);
	kit_envelope(&e, nrcpts);
	spool_accept(d, &e, on_done, k);
	kit_wait(k);
	envelope_clear(&e);
	return k->error;
}

int
kit_info(struct kit *k, uint64_t qid)
{
	spool_info_get(k->sp, qid, on_info, k);
	kit_wait(k);
	return k->error;
}

int
kit_fate(struct kit *k, uint64_t qid, uint32_t index, enum fate fate,
    uint32_t attempt)
{
	struct fate_item item = { .index = index, .attempt = attempt,
		.fate = (uint8_t)fate, .next_at = attempt * 100,
		.esc = SL("4.0.0"), .reply = SL("as it is"),
		.relay = SL("mx.example[192.0.2.7]:25") };

	spool_fates(k->sp, qid, &item, 1, on_fates, k);
	kit_wait(k);
	return k->error;
}

int
kit_hold(struct kit *k, uint64_t qid, bool on)
{
	spool_hold(k->sp, qid, on, on ? SL("a reason") : SL(""), on_done, k);
	kit_wait(k);
	return k->error;
}

int
kit_crashed(struct kit *k, uint64_t qid)
{
	spool_crashed(k->sp, qid, on_done, k);
	kit_wait(k);
	return k->error;
}

int
kit_delete(struct kit *k, uint64_t qid)
{
	spool_delete(k->sp, qid, on_done, k);
	kit_wait(k);
	return k->error;
}

int
kit_content(struct kit *k, uint64_t qid, size_t inline_max)
{
	spool_content(k->sp, qid, inline_max, on_content, k);
	kit_wait(k);
	return k->error;
}

int
kit_group(struct kit *k, uint64_t parent, const uint32_t *indexes,
    size_t nindexes, const size_t *sizes, size_t nchildren, uint64_t *qids)
{
	struct spool_draft *drafts[8];
	size_t i;

	for (i = 0; i < nchildren && i < NELEMS(drafts); i++) {
		drafts[i] = spool_draft_new(k->sp);
		qids[i] = spool_draft_qid(drafts[i]);
	}
	return kit_group_drafts(k, parent, indexes, nindexes, drafts, sizes,
	    nchildren);
}

int
kit_group_drafts(struct kit *k, uint64_t parent, const uint32_t *indexes,
    size_t nindexes, struct spool_draft **drafts, const size_t *sizes,
    size_t nchildren)
{
	struct fate_item items[8];
	struct envelope es[8];
	size_t i;

	if (nindexes > NELEMS(items) || nchildren > NELEMS(es)) {
		abort();
	}
	for (i = 0; i < nindexes; i++) {
		items[i] = (struct fate_item){ .index = indexes[i],
			.attempt = 1, .fate = FATE_EXPANDED,
			.esc = SL("2.0.0"), .reply = SL("expanded") };
	}
	for (i = 0; i < nchildren; i++) {
		kit_fill(drafts[i], sizes[i]);
		kit_envelope(&es[i], 1);
		es[i].parent_qid = parent;
		es[i].parent_rcpt = indexes[0];
		es[i].parent_kind = SPOOL_CHILD_FORWARD;
	}
	spool_group(k->sp, parent, items, nindexes, drafts, es, nchildren,
	    on_fates, k);
	kit_wait(k);
	for (i = 0; i < nchildren; i++) {
		envelope_clear(&es[i]);
	}
	return k->error;
}

bool
kit_file(const struct kit *k, uint64_t qid, char out[512])
{
	char dir[400], id[QID_TEXT + 1];
	struct dirent *de;
	bool found = false;
	DIR *d;

	qid_format(qid, id);
	(void)snprintf(dir, sizeof(dir), "%s/queue/%x", k->path,
	    (unsigned)(qid >> 20 & 15));
	d = opendir(dir);
	while (d != NULL && !found && (de = readdir(d)) != NULL) {
		found = strncmp(de->d_name, id, QID_TEXT) == 0;
		if (found && snprintf(out, 512, "%s/%s", dir, de->d_name) >=
		    512) {
			abort();
		}
	}
	if (d != NULL) {
		(void)closedir(d);
	}
	return found;
}

void
kit_cut_records(const char *path)
{
	char text[64 * 1024];
	FILE *f = fopen(path, "rb");
	size_t at, n = f != NULL ? fread(text, 1, sizeof(text), f) : 0;

	if (f == NULL || fclose(f) != 0 || spool_parse(slice_make(text, n),
	    NULL, NULL, NULL, &at, true) != NULL ||
	    truncate(path, (off_t)at) == -1) {
		abort();
	}
}

static size_t nfiles;

static int
count_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)ftw;
	nfiles += what != FTW_D;
	return 0;
}

size_t
kit_files(const struct kit *k)
{
	char queue[300];

	(void)snprintf(queue, sizeof(queue), "%s/queue", k->path);
	nfiles = 0;
	(void)nftw(queue, count_one, 16, FTW_PHYS);
	return nfiles;
}

bool
kit_content_is(const struct kit *k, size_t n)
{
	char *text = kit_text(n);
	bool same = k->content != NULL && k->content_n == n &&
	    memcmp(k->content, text, n) == 0;

	free(text);
	return same;
}
