/*
 * remote_kit - a stage for remote: agent_kit, dns and the hosts that it connects
 * to, played by the test over real sockets on 127.0.0.1.
 */
#ifndef TESTS_UNIT_REMOTE_KIT_H
#define TESTS_UNIT_REMOTE_KIT_H

#include "remote/remote.h"
#include "tests/unit/agent_kit.h"

#define HOST_HI   "220 mx.test\r\n"
#define HOST_EHLO "250-mx.test\r\n250-PIPELINING\r\n250 SIZE 100000\r\n"
#define OUR_EHLO  "EHLO me.test\r\n"
#define OK2       "250 2.0.0 ok\r\n"

void join_all(struct world *w);
void rejoin_qmgr(struct world *w);
/* A message of 6 octets to "users" at the listener of the test. */
void send_mail(struct world *w, uint64_t qid, const char *users);
/* The next connection to the listener; nothing connects. */
int host_accept(struct world *w);
int host_accept_at(struct world *w, int listener);
void host_is_alone(struct world *w);
int host_listen(const char *addr, uint16_t *port);
/* Exactly this comes from remote. */
void host_hears(struct world *w, int fd, const char *what);
void host_says(int fd, const char *what);
/* Remote closes (after what was sent before). */
void host_sees_end(struct world *w, int fd);
/* Greeting and EHLO. */
int host_greets(struct world *w);
/* "MAIL RCPT... DATA" for "users" of message `qid', and its content; then says
   `end', the answer to it. */
void host_takes(struct world *w, int fd, uint64_t qid, const char *users,
    const char *end);
int raise_remote(void **state);
int drop_remote(void **state);

#define ACT(f) cmocka_unit_test_setup_teardown(f, raise_remote, drop_remote)

#endif
