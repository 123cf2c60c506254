/*
 * control - what the tools ask cleanup, on the administrators' socket:
 *   cat ID                     a message, as it is in the spool
 *   trace CLIENT SENDER RCPT   what would happen to such mail, and why
 *   spool                      how the spool is: a row of counters
 *   map KEY SPEC               ask a map
 */
#ifndef CLEANUP_CONTROL_H
#define CLEANUP_CONTROL_H

#include "cleanup/program.h"
#include "common/ctl.h"

extern const struct ctl_verb control_verbs[];
extern const size_t control_nverbs;

/* The verbs' `arg' is the struct program. */

#endif
