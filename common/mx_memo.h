/* mx_memo - the resolver's side of mx's memo. For common/mx*.c only. */
#ifndef COMMON_MX_MEMO_H
#define COMMON_MX_MEMO_H

#include "common/mx.h"

/* A round begins: the trace is written anew, the answers stay. */
void mx_memo_begin(struct mx_memo *m);
/* The answer, or NULL: the question is in the memo now. */
const struct dns_answer *mx_memo_ask(struct mx_memo *m, struct slice name,
    enum dns_type type, unsigned flags);
/* A step that is no lookup. */
void mx_memo_note(struct mx_memo *m, const char *what, struct slice key,
    const char *result);

#endif
