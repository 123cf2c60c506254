/*
 * spool_names - the names in the directories of a queue, read at the start.
 * Blocks. Long directories are read by several threads, which are gone when it
 * returns; they touch nothing but what they fill.
 */
#ifndef COMMON_SPOOL_NAMES_H
#define COMMON_SPOOL_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "common/strbuf.h"

struct spool_names {
	int fd;               /* the directory, for reading; borrowed */
	unsigned dir;         /* its number */
	uint64_t *ids;        /* names of messages that belong there, sorted */
	size_t nids;
	struct strbuf others; /* all other names, each with its NUL */
	int error;            /* errno, or 0 */
};

/* Fills all of `at': fd and dir are set, the rest is zero. */
void spool_names_read(struct spool_names *at, size_t n);
void spool_names_clear(struct spool_names *at, size_t n);

#endif
