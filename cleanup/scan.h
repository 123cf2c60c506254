/*
 * scan - checks content that did not come through smtpd: lines end with CRLF
 * and nothing else does, no NUL; and learns the flags that smtpd would have
 * learnt. What a file says about its own content is not believed: a wrong
 * "no line begins with a dot" would be smuggling. Pure.
 */
#ifndef CLEANUP_SCAN_H
#define CLEANUP_SCAN_H

#include <stdint.h>

#include "common/slice.h"

#define SCAN_LONG_LINE 998 /* octets without CRLF; RFC 5321, 4.5.3.1.6 */

/* NULL and *flags (CONTENT_8BIT, _DOT_LINES, _LONG_LINES), or what is wrong. */
const char *scan_content(struct slice content, uint32_t *flags);

#endif
