/*
 * mailboxes - find the mailboxes in the value of an address header field
 * (RFC 5322, 3.4): display names, angle brackets, groups, comments, quoted
 * strings, folding. Pure; one pass; comments nest by a counter, so hostile
 * input costs time linear in its length and no memory.
 */
#ifndef COMMON_MAILBOXES_H
#define COMMON_MAILBOXES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/slice.h"

/*
 * The next addr-spec at or after *place (start with 0). On true *spec borrows
 * exactly the octets of the addr-spec in `field' (so that it can be replaced in
 * place: what stands between angle brackets, trimmed, or a bare address), and
 * *place stands behind it. What is no address (an empty "<>", a phrase alone
 * inside a group's name) is passed over. False at the end of the field.
 * A spec with white space or comments inside is given as it stands; the caller
 * leaves alone what addr_parse_mailbox() does not take.
 */
bool mailboxes_next(struct slice field, size_t *place, struct slice *spec);

#endif
