/*
 * users_file - a file in passwd's format, held in memory and read again when it
 * was replaced or changed. Blocks: belongs to one thread of the pool.
 */
#ifndef SERVICES_USERS_FILE_H
#define SERVICES_USERS_FILE_H

#include <stdint.h>

#include "common/account.h"

struct users_file {
	char *path;      /* NULL: nothing read yet */
	uint64_t dev, ino, size;
	int64_t mtime_ns, ctime_ns;
	struct strbuf text;
	struct account_line *lines; /* by name; borrow from text */
	size_t nlines;
};

void users_file_init(struct users_file *f);
void users_file_clear(struct users_file *f);
/*
 * As account_lookup(). `dirfd' is the directory of `path', or -1: a file below
 * one that we cannot enter is reached by it. A file that cannot be read is
 * ACCOUNT_TEMP, also when it could be read before. `report' gets a line for each
 * bad line of the file when it is read (again); such lines are skipped.
 */
enum account_result users_file_lookup(struct users_file *f, int dirfd,
    const char *path, struct slice name, struct account *a, struct strbuf *why,
    struct strbuf *report);

#endif
