/*
 * log - one event, one line, to descriptor 2.
 *
 * In a program started by master descriptor 2 is a non-blocking pipe to the
 * `log' service. Lines are collected and written once a turn of the event loop;
 * what does not fit is counted, and the count is said as soon as there is room.
 * Each line goes out as "<N>text\n", N the syslog level; `log' adds time,
 * program and pid. On a terminal or file (tools, tests) the prefix is left out.
 * Control octets in a line are escaped here, so no line can be forged; values
 * that peers sent are to be quoted by the caller (strbuf_add_quoted).
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>

#define LOG_LINE_MAX 2048 /* octets; longer lines end in "..." */

enum log_level { LOG_L_ERROR = 3, LOG_L_WARN = 4, LOG_L_INFO = 6, LOG_L_DEBUG = 7 };

/*
 * Say how descriptor 2 is to be treated. `piped': with level prefix and
 * collected until log_flush(); else each line is written at once.
 * `name' is put in front of each line when not piped, unless NULL.
 */
void log_setup(const char *name, bool piped);
/* Debug lines are wanted. */
void log_set_debug(bool on);
bool log_is_debug(void);
/*
 * `arm' is called when the first line is collected, so that the loop can call
 * log_flush() at the end of the turn.
 */
void log_on_pending(void (*arm)(void *), void *arg);
/* Write what is collected; returns true when nothing is left. */
bool log_flush(void);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Our bug, or no memory: says why and aborts. Never on anything a peer sent. */
_Noreturn void log_panic(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* The start is not possible: says why, exits with `code' (sysexits.h). */
_Noreturn void log_fatal(int code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
