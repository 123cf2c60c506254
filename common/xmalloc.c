#include "config.h"

#include <stdint.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/xmalloc.h"

void *
xmalloc(size_t n)
{
	void *p = malloc(n > 0 ? n : 1);

	if (p == NULL) {
		log_panic("out of memory for %zu octets", n);
	}
	return p;
}

void *
xcalloc(size_t count, size_t size)
{
	void *p = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

	if (p == NULL) {
		log_panic("out of memory for %zu x %zu octets", count, size);
	}
	return p;
}

void *
xrealloc(void *old, size_t n)
{
	void *p = realloc(old, n > 0 ? n : 1);

	if (p == NULL) {
		log_panic("out of memory for %zu octets", n);
	}
	return p;
}

void *
xreallocarray(void *old, size_t count, size_t size)
{
	if (size > 0 && count > SIZE_MAX / size) {
		log_panic("out of memory for %zu x %zu octets", count, size);
	}
	return xrealloc(old, count * size);
}

char *
xslicedup(struct slice s)
{
	char *p = xmalloc(s.n + 1);

	if (s.n > 0) {
		memcpy(p, s.p, s.n);
	}
	p[s.n] = '\0';
	return p;
}

char *
xstrdup(const char *s)
{
	return xslicedup(slice_of(s));
}
