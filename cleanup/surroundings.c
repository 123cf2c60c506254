#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup/surroundings.h"
#include "common/map.h"
#include "common/xmalloc.h"

void
surroundings_clear(struct strlist *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		free(l->at[i]);
	}
	free(l->at);
	*l = (struct strlist){ NULL, 0 };
}

static void
add_once(struct strlist *l, struct slice s)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (slice_eq(slice_of(l->at[i]), s)) {
			return;
		}
	}
	l->at = xreallocarray(l->at, l->n + 1, sizeof(*l->at));
	l->at[l->n++] = xslicedup(s);
}

/* -- directories ------------------------------------------------------------ */

/* Of "cdb:/etc/veredus/aliases": "/etc/veredus". */
static void
add_directory(struct strlist *dirs, const char *member)
{
	const char *path = strstr(member, ":/"), *last;

	if (path != NULL) {
		path++;
		last = strrchr(path, '/');
		add_once(dirs, slice_make(path,
		    last == path ? 1 : (size_t)(last - path)));
	}
}

void
surroundings_paths(const struct settings *s, struct strlist *dirs,
    struct sandbox_path **paths, size_t *npaths)
{
	const struct strlist *const lists[] = { &s->alias_maps,
		&s->canonical_maps, &s->virtual_alias_maps,
		&s->transport_maps, &s->relocated_maps, &s->mydestination,
		&s->mynetworks, &s->relay_domains,
		&s->local_recipient_maps, &s->relay_recipient_maps };
	struct sandbox_path *p;
	size_t i, k;

	*dirs = (struct strlist){ NULL, 0 };
	for (i = 0; i < NELEMS(lists); i++) {
		for (k = 0; k < lists[i]->n; k++) {
			add_directory(dirs, lists[i]->at[k]);
		}
	}
	p = xcalloc(dirs->n + 1, sizeof(*p));
	for (i = 0; i < dirs->n; i++) {
		p[i] = (struct sandbox_path){ dirs->at[i], false };
	}
	p[i] = (struct sandbox_path){ s->queue_directory, true };
	*paths = p;
	*npaths = dirs->n + 1;
}

void
surroundings_keep(const struct settings *s)
{
	struct strlist dirs;
	struct sandbox_path *paths;
	size_t n, i;

	surroundings_paths(s, &dirs, &paths, &n);
	for (i = 0; i < dirs.n; i++) {
		map_keep_directory(dirs.at[i]);
	}
	free(paths);
	surroundings_clear(&dirs);
}
