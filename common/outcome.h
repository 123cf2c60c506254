/*
 * outcome - the fate of one recipient on its way to qmgr: the fate, its
 * enhanced status code (RFC 3463) and one line for people.
 */
#ifndef COMMON_OUTCOME_H
#define COMMON_OUTCOME_H

#include <stdbool.h>

#include "common/fate.h"
#include "common/slice.h"

struct outcome {
	enum fate fate; /* FATE_NONE: not known yet */
	char esc[ESC_MAX];
	char text[REPLY_TEXT_MAX + 1];
};

/* Cut at REPLY_TEXT_MAX; control octets become '?'. */
void outcome_set(struct outcome *o, enum fate fate, const char *esc,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/*
 * Deferred for an errno at `what' (a path, an action): 4.2.2 over quota, 4.3.1
 * disk full, 4.2.0 the mailbox cannot be used as it is, 4.3.0 all else. Nothing
 * that the machine says is ever a failure for good.
 */
void outcome_errno(struct outcome *o, const char *what, int error);
/* Is it an enhanced status code of this class, '2', '4' or '5'? */
bool outcome_is_esc(struct slice esc, char class);
/*
 * What a worker says, who is less trusted than we are: false unless the fate is
 * one of delivered, deferred and failed and the code one of its class. The text
 * is cleaned.
 */
bool outcome_from_peer(struct outcome *o, uint64_t fate, struct slice esc,
    struct slice text);

#endif
