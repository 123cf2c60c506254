#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup/surroundings.h"
#include "common/log.h"
#include "common/xmalloc.h"

void
strings_clear(struct strlist *l)
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

/* -- addresses -------------------------------------------------------------- */

static void
add_interfaces(struct strlist *out)
{
	struct ifaddrs *all, *i;
	char text[INET6_ADDRSTRLEN];
	const void *a;

	if (getifaddrs(&all) == -1) {
		log_warn("cannot list this host's addresses: %s",
		    strerror(errno));
		return;
	}
	for (i = all; i != NULL; i = i->ifa_next) {
		if (i->ifa_addr == NULL) {
			continue;
		}
		if (i->ifa_addr->sa_family == AF_INET) {
			struct sockaddr_in in4;

			memcpy(&in4, i->ifa_addr, sizeof(in4));
			a = inet_ntop(AF_INET, &in4.sin_addr, text,
			    sizeof(text));
		} else if (i->ifa_addr->sa_family == AF_INET6) {
			struct sockaddr_in6 in6;

			memcpy(&in6, i->ifa_addr, sizeof(in6));
			a = inet_ntop(AF_INET6, &in6.sin6_addr, text,
			    sizeof(text));
		} else {
			continue;
		}
		if (a != NULL) {
			add_once(out, slice_of(text));
		}
	}
	freeifaddrs(all);
}

/* "127.0.0.1:25", "[::1]:25", "*:25": the address. */
static struct slice
host_of(struct slice listen)
{
	size_t n;

	if (listen.n > 0 && listen.p[0] == '[') {
		n = slice_find(listen, ']');
		return slice_make(listen.p + 1, n > 0 && n < listen.n ?
		    n - 1 : listen.n - 1);
	}
	for (n = listen.n; n > 0 && listen.p[n - 1] != ':'; n--) {
	}
	return slice_make(listen.p, n > 0 ? n - 1 : listen.n);
}

void
surroundings_addresses(const struct settings *s, struct strlist *out)
{
	struct slice host;
	size_t i;

	*out = (struct strlist){ NULL, 0 };
	for (i = 0; i < s->listen.n; i++) {
		host = host_of(slice_of(s->listen.at[i]));
		if (slice_eq(host, SL("*")) || slice_eq(host, SL("0.0.0.0")) ||
		    slice_eq(host, SL("::"))) {
			add_interfaces(out);
		} else {
			add_once(out, host);
		}
	}
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
		&s->mynetworks, &s->relay_domains };
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
