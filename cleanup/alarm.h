/*
 * alarm - tells postmaster (notice_recipient) by mail what an operator must act
 * on, if notify_classes name its class: `resource' (the queue has too little
 * space for mail), `software' (a queue file was found corrupt). At most one
 * message an hour and class; the log has it all.
 */
#ifndef CLEANUP_ALARM_H
#define CLEANUP_ALARM_H

#include "cleanup/program.h"

enum alarm_class { ALARM_RESOURCE, ALARM_SOFTWARE, ALARM_CLASSES };

#define ALARM_PAUSE_S 3600

struct alarm *alarm_new(struct program *pg);
void alarm_free(struct alarm *a);
/* `text': lines that end in LF. `a' may be NULL: then nobody is told. */
void alarm_raise(struct alarm *a, enum alarm_class class, const char *text);

#endif
