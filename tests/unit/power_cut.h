/*
 * power_cut - a file system in memory that knows what a power cut leaves: fed
 * with recorded operations (common/io.h), it keeps for each file and directory
 * what was flushed, and what was done since.
 *
 * To use it: make a scratch directory that the code under test takes for an old
 * one, with nothing in it; io_record_start(), let the code run, io_promise() for
 * each thing that it says is durable, io_record_stop(). Then cut_new() with the
 * inode of that directory, and for each record cut_apply() and, wherever the
 * power may fail, cut_make() into a fresh directory, in which the code starts
 * again and is held to the promises so far.
 *
 * It knows opening with O_CREAT, mkdir, write and pwrite at any offset (so also
 * files made ahead of need and written again), ftruncate, rename, unlink,
 * fdatasync and fsync of files and of directories, syncfs. What is not done by
 * the functions of common/io does not exist for it: what is there before must be
 * written by them, too, and flushed. A rename between two directories happens
 * in either of them with its own flush: harsher than real file systems are.
 */
#ifndef TESTS_UNIT_POWER_CUT_H
#define TESTS_UNIT_POWER_CUT_H

#include <stdint.h>

#include "common/io.h"

enum cut_variant {
	CUT_LOST,  /* nothing that was not flushed is left */
	CUT_NAMES, /* names, as if flushed; of the contents only the flushed */
	CUT_ZEROS, /* names and sizes; contents that were not flushed are zero */
	CUT_RANDOM, /* of each directory's changes the first few; of each file's
	               any, or parts */
	CUT_BLOCKS, /* of each directory's changes the first few; each block of
	               4 KiB of a file as it was at some moment since the flush,
	               or torn: its first sectors younger than the others; the
	               size of some moment, too */
	CUT_VARIANTS,
};

struct cut_fs;
/* `root': the inode of the directory, empty and flushed. */
struct cut_fs *cut_new(ino_t root);
/* The scratch directory is `path', which exists and is empty: all that is below
   `from' (NULL: nothing) is made there, and is flushed. So what a cut has left
   can be cut again, while the code starts on it. */
struct cut_fs *cut_load(const char *from, const char *path);
void cut_free(struct cut_fs *fs);
void cut_apply(struct cut_fs *fs, const struct io_record *r);
/* Make what is left in the existing, empty directory `path'. `seed', not 0:
   which of the possible, for the last two variants. */
void cut_make(const struct cut_fs *fs, enum cut_variant v, uint64_t seed,
    const char *path);

#endif
