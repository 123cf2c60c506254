/*
 * memo - the resolver's side of the memo (cleanup/resolve.h): what it asks maps
 * and `users', each question once, in order; and its notes. For the resolver
 * only. Where a memo may be NULL, maps are asked directly and notes are lost.
 */
#ifndef CLEANUP_MEMO_H
#define CLEANUP_MEMO_H

#include "cleanup/resolve.h"

enum memo_user { MEMO_USER_FOUND, MEMO_USER_NONE, MEMO_USER_TEMP,
	MEMO_USER_WAIT };

/* A round begins: the trace is written anew, the answers stay. */
void memo_begin(struct memo *m);
/* map_lookup through the memo; m may be NULL. `value' is replaced. */
enum map_result memo_map(struct memo *m, struct map *map, struct slice key,
    struct strbuf *value);
/* Ask `users'; the first question of a name answers WAIT. */
enum memo_user memo_user(struct memo *m, struct slice name, uint64_t *uid);
/* A step that is no lookup. m may be NULL. */
void memo_note(struct memo *m, const char *what, struct slice key,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
