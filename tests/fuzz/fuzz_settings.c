/*
 * Any octets as a settings file: either they load, and then each value parses
 * again to the same; or there are errors, each a printable line.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No file of this machine is to be read. */
static bool
names_files(const uint8_t *data, size_t size)
{
	return memchr(data, '/', size) != NULL;
}

static void
check_errors(struct slice errors)
{
	size_t i;

	if (errors.n == 0 || errors.p[errors.n - 1] != '\n') {
		abort();
	}
	for (i = 0; i < errors.n; i++) {
		if (errors.p[i] != '\n' && (errors.p[i] < 32 ||
		    errors.p[i] > 126)) {
			abort();
		}
	}
}

static void
check_values(const struct settings_source *src)
{
	struct settings again;
	struct strbuf why;
	size_t i;

	settings_init(&again);
	strbuf_init(&why, 0);
	for (i = 0; i < settings_count; i++) {
		if (!settings_set(&again, &settings_table[i],
		    slice_of(src->value[i]), &why)) {
			abort();
		}
	}
	settings_clear(&again);
	strbuf_clear(&why);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings_source src;
	struct settings s;
	struct strbuf errors;

	if (size == 0 || names_files(data, size)) {
		return 0;
	}
	strbuf_init(&errors, 0);
	if (settings_load("fuzz", slice_make((const char *)data, size), &s,
	    &src, &errors)) {
		check_values(&src);
		settings_clear(&s);
		settings_source_clear(&src);
	} else {
		check_errors(strbuf_slice(&errors));
	}
	strbuf_clear(&errors);
	return 0;
}
