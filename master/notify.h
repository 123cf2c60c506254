/* notify - tell the service manager: sd_notify(3)'s protocol. */
#ifndef MASTER_NOTIFY_H
#define MASTER_NOTIFY_H

/* Remember NOTIFY_SOCKET and take it out of the environment. */
void notify_init(void);
/* Send e.g. "READY=1". Does nothing when nobody asked; never fails. */
void notify_send(const char *state);

#endif
