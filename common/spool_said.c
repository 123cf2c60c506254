#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/spool_int.h"
#include "common/spool_said.h"
#include "common/xmalloc.h"

struct spool_said *
spool_said_get(struct spool_index *ix, uint64_t qid)
{
	void **place = spool_index_add(ix, qid);
	struct spool_said *s = *place;

	if (s == NULL) {
		*place = s = xcalloc(1, sizeof(*s));
		s->qid = qid;
		strbuf_init(&s->records, 0);
		strbuf_init(&s->news, 0);
	}
	return s;
}

struct spool_said *
spool_said_find(const struct spool_index *ix, uint64_t qid)
{
	void **place = spool_index_find(ix, qid);

	return place != NULL ? *place : NULL;
}

struct spool_said *
spool_said_each(const struct spool_index *ix, struct spool_index_at *at)
{
	void **place = spool_index_each(ix, at);

	return place != NULL ? *place : NULL;
}

/* A copy made by a start has all that was said before. */
static void
add_message(struct spool_index *ix, uint64_t lsn, uint64_t qid,
    struct slice image)
{
	struct spool_said *s = spool_said_get(ix, qid);

	s->lsn = lsn;
	free(s->image);
	s->image = xmalloc(image.n + 1);
	memcpy(s->image, image.p, image.n);
	s->n = image.n;
	strbuf_reset(&s->records);
}

static void
add_change(struct spool_index *ix, uint64_t lsn, uint64_t qid, bool done,
    struct slice records)
{
	struct spool_said *s = spool_said_get(ix, qid);

	if (done || s->lsn == 0) {
		s->lsn = lsn;
	}
	if (done) {
		s->done = true;
		free(s->image);
		s->image = NULL;
		strbuf_clear(&s->records);
		strbuf_init(&s->records, 0);
	} else {
		(void)strbuf_add_slice(&s->records, records);
	}
}

static bool
add_group(struct spool_index *ix, uint64_t lsn, uint64_t parent,
    struct slice body)
{
	struct dec d = dec_make(body);
	bool done = dec_u8(&d) != 0;
	struct slice records = dec_slice(&d, body.n), image;
	uint64_t qid;

	if (d.bad) {
		return false;
	}
	add_change(ix, lsn, parent, done, records);
	while (d.in.n > 0) {
		qid = dec_u64(&d);
		image = dec_slice(&d, body.n);
		if (d.bad) {
			return false;
		}
		add_message(ix, lsn, qid, image);
	}
	return true;
}

bool
spool_said_add(struct spool_index *ix, uint64_t lsn, uint8_t kind,
    uint64_t qid, struct slice body)
{
	switch ((enum spool_entry_kind)kind) {
	case SPOOL_ENTRY_MESSAGE:
		add_message(ix, lsn, qid, body);
		return true;
	case SPOOL_ENTRY_STATE:
	case SPOOL_ENTRY_DONE:
		add_change(ix, lsn, qid, kind == SPOOL_ENTRY_DONE, body);
		return true;
	case SPOOL_ENTRY_GROUP:
		return add_group(ix, lsn, qid, body);
	}
	return false;
}

void
spool_said_clear(struct spool_index *ix)
{
	struct spool_index_at at = { 0 };
	struct spool_said *s;

	while ((s = spool_said_each(ix, &at)) != NULL) {
		free(s->image);
		strbuf_clear(&s->records);
		strbuf_clear(&s->news);
		free(s);
	}
	spool_index_clear(ix);
	spool_index_init(ix);
}
