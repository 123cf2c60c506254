/*
 * spool_cut - a file system in memory that knows what a power cut leaves: fed
 * with recorded operations (common/io.h), it keeps for each file and directory
 * what was flushed, and what was done since.
 */
#ifndef TESTS_UNIT_SPOOL_CUT_H
#define TESTS_UNIT_SPOOL_CUT_H

#include <stdint.h>

#include "common/io.h"

enum cut_variant {
	CUT_LOST,  /* nothing that was not flushed is left */
	CUT_NAMES, /* names, as if flushed; of the contents only the flushed */
	CUT_ZEROS, /* names and sizes; contents that were not flushed are zero */
	CUT_RANDOM, /* of each directory's changes the first few; of each file's
	               any, or parts */
	CUT_VARIANTS,
};

struct cut_fs;
/* `root': the inode of the spool's directory, empty and flushed. */
struct cut_fs *cut_new(ino_t root);
void cut_free(struct cut_fs *fs);
void cut_apply(struct cut_fs *fs, const struct io_record *r);
/* Make what is left in the existing, empty directory `path'. */
void cut_make(const struct cut_fs *fs, enum cut_variant v, uint64_t seed,
    const char *path);

#endif
