/*
 * replay - runs a fuzz target over its corpus as a plain test: each file of
 * tests/fuzz/corpus/NAME as it is, cut at each length, and with a fixed number
 * of deterministic mutations. NAME is the program's name without "fuzz_".
 */
#include "config.h"

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX  (1 << 16)
#define MUTATIONS 400
#define CUTS_MAX  2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seed = 88172645463325252u;

static uint32_t
roll(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 32) % below;
}

/* A copy of its own size, so that a sanitizer sees a read past the end. */
static void
feed(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL) {
		abort();
	}
	memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static size_t
mutate(uint8_t *d, size_t n)
{
	static const uint8_t odd[] = { 0, 1, '\r', '\n', '.', '<', '>', '@', '"',
		'\\', 127, 128, 255 };
	uint32_t i, times = 1 + roll(4);

	for (i = 0; i < times && n > 0; i++) {
		uint32_t at = roll((uint32_t)n);

		switch (roll(5)) {
		case 0:
			d[at] = (uint8_t)(d[at] ^ (1u << roll(8)));
			break;
		case 1:
			d[at] = odd[roll(sizeof(odd))];
			break;
		case 2: /* drop one */
			memmove(d + at, d + at + 1, n - at - 1);
			n--;
			break;
		case 3: /* double a run */
			if (n * 2 < FILE_MAX) {
				memmove(d + n, d + at, n - at);
				n += n - at;
			}
			break;
		default: /* cut */
			n = at;
		}
	}
	return n;
}

static void
run_file(const char *path)
{
	static uint8_t data[FILE_MAX], work[FILE_MAX];
	FILE *f = fopen(path, "rb");
	size_t n, i, m;

	if (f == NULL) {
		perror(path);
		exit(1);
	}
	n = fread(data, 1, sizeof(data), f);
	(void)fclose(f);
	feed(data, n);
	for (i = 0; i < n && i < CUTS_MAX; i++) {
		feed(data, i);
	}
	for (i = 0; i < MUTATIONS; i++) {
		memcpy(work, data, n);
		m = mutate(work, n);
		feed(work, m);
	}
}

int
main(int argc, char **argv)
{
	const char *src = getenv("VEREDUS_SRCDIR");
	const char *name = strstr(argv[0], "fuzz_");
	char dir[4096], path[8192];
	struct dirent *de;
	unsigned files = 0;
	DIR *d;

	if (argc > 1) { /* named files: to look at a finding */
		for (files = 1; files < (unsigned)argc; files++) {
			run_file(argv[files]);
		}
		return 0;
	}
	if (name == NULL || snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s",
	    src != NULL ? src : ".", name + 5) >= (int)sizeof(dir)) {
		return 2;
	}
	d = opendir(dir);
	if (d == NULL) {
		perror(dir);
		return 1;
	}
	while ((de = readdir(d)) != NULL) {
		if (de->d_name[0] != '.' && snprintf(path, sizeof(path), "%s/%s",
		    dir, de->d_name) < (int)sizeof(path)) {
			run_file(path);
			files++;
		}
	}
	(void)closedir(d);
	if (files == 0) {
		(void)fprintf(stderr, "%s: no corpus\n", dir);
		return 1;
	}
	printf("%s: %u corpus files replayed with %d mutations each\n", name,
	    files, MUTATIONS);
	return 0;
}
