/*
 * settings_impl - what the files of `settings' share among themselves.
 */
#ifndef COMMON_SETTINGS_IMPL_H
#define COMMON_SETTINGS_IMPL_H

#include "common/settings.h"

#define SETTINGS_FILE_MAX  (1024 * 1024) /* octets of a file that is read */
#define SETTINGS_LINE_MAX  16384         /* octets of one line */
#define SETTINGS_VALUE_MAX 64000         /* octets expanded: fits an IPC blob */

/*
 * Is `value' of `row' plausible, beyond its type? On false `why' says what is
 * wrong and what would be right. (settings_check.c; one row per setting.)
 */
bool settings_plausible(const struct set_row *row, struct slice value,
    struct strbuf *why);

/* The next member of a list; "{ ... }" keeps commas and spaces together. */
bool settings_member(struct slice *rest, struct slice *member);

/* A host or domain name of LDH labels, at most 255 octets. */
bool settings_is_domain(struct slice s);

#endif
