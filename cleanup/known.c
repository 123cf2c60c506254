/* Each name has one place, by its hash: nothing is searched, nothing grows. */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup/known.h"
#include "common/log.h"
#include "common/siphash.h"
#include "common/xmalloc.h"

struct name {
	char *p; /* NULL: the place is free */
	size_t n;
	uint64_t uid, until_ms;
};

struct known {
	unsigned char key[SIPHASH_KEY];
	struct name place[KNOWN_NAMES];
};

struct known *
known_new(void)
{
	struct known *k = xcalloc(1, sizeof(*k));

	if (getrandom(k->key, sizeof(k->key), 0) != (ssize_t)sizeof(k->key)) {
		log_panic("known: no random octets");
	}
	return k;
}

void
known_forget_all(struct known *k)
{
	size_t i;

	for (i = 0; i < KNOWN_NAMES; i++) {
		free(k->place[i].p);
		k->place[i] = (struct name){ .p = NULL };
	}
}

void
known_free(struct known *k)
{
	if (k != NULL) {
		known_forget_all(k);
		free(k);
	}
}

static size_t
place_of(const struct known *k, struct slice name)
{
	return (size_t)(siphash24(k->key, name.p, name.n) & (KNOWN_NAMES - 1));
}

bool
known_get(const struct known *k, struct slice name, uint64_t now_ms,
    uint64_t *uid)
{
	const struct name *e = &k->place[place_of(k, name)];

	if (e->p == NULL || e->until_ms <= now_ms ||
	    !slice_eq(slice_make(e->p, e->n), name)) {
		return false;
	}
	*uid = e->uid;
	return true;
}

void
known_put(struct known *k, struct slice name, uint64_t uid, uint64_t now_ms)
{
	struct name *e = &k->place[place_of(k, name)];

	free(e->p);
	*e = (struct name){ .p = xslicedup(name), .n = name.n, .uid = uid,
		.until_ms = now_ms + KNOWN_MS };
}
