/*
 * reading - which message a thread is decoding just now, so that one whose record
 * kills its reader does not do so for ever: when the process dies by its own fault
 * (SIGSEGV, SIGABRT and the like, never SIGKILL) on a thread that is between
 * reading_begin() and reading_end(), the message's queue id is appended to the
 * file "reading". The second time it is refused, and the caller sets it aside.
 *
 * Costs two stores a message: the file is opened at the start, and written by the
 * signal handler only. A mark that cannot be written (a full disk, a stack that
 * has overflowed) is one mark less. One for a process; without reading_open() all
 * is allowed.
 */
#ifndef COMMON_READING_H
#define COMMON_READING_H

#include <stdbool.h>
#include <stdint.h>

#define READING_DEATHS 2 /* so often a message may kill its reader */
#define READING_WHY    "cleanup has died twice while reading it"

/* Read "reading" in the directory, and watch over this process from now on. The
   handlers that were there are called, too. False with errno: no watch. */
bool reading_open(int dir);
void reading_close(void);
/* False: it has killed its readers. Its marks are taken back, for who sets it
   aside, and may be asked to try it again one day. */
bool reading_begin(uint64_t qid);
void reading_end(void);

#endif
