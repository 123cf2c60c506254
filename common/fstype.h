/*
 * fstype - what kind of file system the spool lies on: one whose flushes and
 * renames do not mean what ours rely on is no place for mail.
 */
#ifndef COMMON_FSTYPE_H
#define COMMON_FSTYPE_H

#include <stdint.h>

enum fstype_verdict {
	FSTYPE_GOOD,    /* or unknown */
	FSTYPE_MEMORY,  /* its content ends with the power: warned of */
	FSTYPE_UNSURE,  /* it may be over a network: warned of */
	FSTYPE_REMOTE,  /* over a network: refused */
};

/* `magic' as f_type of statfs(2); *name is a word for people, or "". */
enum fstype_verdict fstype_judge(uint64_t magic, const char **name);
/* The same for an open descriptor; FSTYPE_GOOD when it cannot be told. */
enum fstype_verdict fstype_of(int fd, const char **name);

#endif
