/*
 * log_sink - where lines go: a file or terminal, or syslog's socket. The
 * descriptor comes from master. Lines are collected, and written by one call a
 * turn; what the sink refuses for good is counted, and the count is said when
 * it takes lines again. Never waits: a sink that is full is tried again later.
 */
#ifndef SERVICES_LOG_SINK_H
#define SERVICES_LOG_SINK_H

#include <stdbool.h>
#include <time.h>

#include "services/log_text.h"

#define LOG_SINK_MAX (256 * 1024) /* octets collected before pipes wait */

enum log_sink_kind { LOG_SINK_NONE, LOG_SINK_FILE, LOG_SINK_TERMINAL,
	LOG_SINK_SYSLOG };

struct log_sink {
	enum log_sink_kind kind;
	int fd;
	char host[256];
	struct strbuf out;   /* each line (or datagram) ends with LF */
	unsigned long lost;  /* lines that the sink has refused */
	bool broken;         /* the last write failed: said once */
};

void log_sink_init(struct log_sink *s, const char *host);
void log_sink_clear(struct log_sink *s);
/* From now on there: kind is "stderr", "file" or "syslog"; takes fd. False,
   and fd is closed: no such kind. What was collected goes to the old first. */
bool log_sink_set(struct log_sink *s, struct slice kind, int fd);
void log_sink_add(struct log_sink *s, const struct tm *now, const char *program,
    unsigned pid, const struct log_line *line);
/* There is no room for another turn's lines: do not read now. */
bool log_sink_full(const struct log_sink *s);
/* Write what is collected. False: something is left, try again soon. */
bool log_sink_flush(struct log_sink *s);

#endif
