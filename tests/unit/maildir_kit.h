/* maildir_kit - a home for deliveries into real Maildirs and mbox files, and
   looks into it. */
#ifndef TESTS_UNIT_MAILDIR_KIT_H
#define TESTS_UNIT_MAILDIR_KIT_H

#include "common/strbuf.h"
#include "local/maildir.h"
#include "local/mbox.h"

#define QID   0x123456789abcu
#define FIELDS "Return-Path: <s@y.test>\nDelivered-To: ann@x.test\n"

struct world {
	char path[64];
	int home;
	struct maildir box;
	struct mbox mbox; /* "ann" in the home */
	bool is_mbox;     /* deliver into that one */
	struct outcome out[DELIVERY_BATCH];
};

void empty_home(struct world *w);
int raise_curtain(void **state);
int raise_curtain_of_mbox(void **state);
int drop_curtain(void **state);
struct delivery message(uint64_t qid, const char *content);
void deliver(struct world *w, const struct delivery *msgs, size_t n);
void deliver_one(struct world *w, const struct delivery *msg, enum fate
    want);
void start_anew(struct world *w);
size_t count(const struct world *w, const char *sub, char *name, size_t cap);
void read_path(const struct world *w, const char *path, struct strbuf *b);
void expect_mail(const struct world *w, struct slice want);
void touch(const struct world *w, const char *path, const char *text);
/* The whole file is `want'. */
void expect_file(const struct world *w, const char *path, struct slice want);

#define MBOX_PLAY(f) cmocka_unit_test_setup_teardown(f,                        \
	raise_curtain_of_mbox, drop_curtain)
#define PLAY(f) cmocka_unit_test_setup_teardown(f, raise_curtain, drop_curtain)

#endif
