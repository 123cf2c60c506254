#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sandbox.h"
#include "local/become.h"
#include "local/maildir.h"
#include "local/worker.h"

bool
become_allowed(const char *name, const struct account *a, unsigned euid,
    struct outcome *o)
{
	if (a->uid == 0) {
		outcome_set(o, FATE_FAILED, "5.2.0", "nothing is delivered as "
		    "uid 0: give %s an alias", name);
		return false;
	}
	if (euid != 0 && a->uid != euid) {
		outcome_set(o, FATE_DEFERRED, "4.3.5", "this instance runs "
		    "without root and can deliver to uid %u only", euid);
		return false;
	}
	return true;
}

static bool
look_up(const struct become *b, struct account *a, struct outcome *o)
{
	struct strbuf why;
	bool found = false;

	strbuf_init(&why, REPLY_TEXT_MAX);
	switch (account_lookup(b->settings->local_users, slice_of(b->name), a,
	    &why)) {
	case ACCOUNT_FOUND:
		found = true;
		break;
	case ACCOUNT_NONE:
		outcome_set(o, FATE_FAILED, "5.1.1", "no such user: %s",
		    b->name);
		break;
	case ACCOUNT_TEMP:
		outcome_set(o, FATE_DEFERRED, "4.3.0", "looking up %s: %s",
		    b->name, why.n > 0 ? why.p : "failed");
		break;
	}
	strbuf_clear(&why);
	return found;
}

/* Groups, gid and uid, for good; -1 with errno. */
static int
drop_to(const struct become *b, const struct account *a)
{
	bool nss = strcmp(b->settings->local_users, "nss") == 0;

	if (nss ? initgroups(b->name, a->gid) == -1 :
	    setgroups(1, &a->gid) == -1) {
		return -1;
	}
	return setresgid(a->gid, a->gid, a->gid) == -1 ||
	    setresuid(a->uid, a->uid, a->uid) == -1 ? -1 : 0;
}

/* There is no way back: neither uid nor gid may be had again. */
static bool
is_dropped(const struct account *a)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	return getresuid(&r, &e, &s) == 0 && getresgid(&rg, &eg, &sg) == 0 &&
	    r == a->uid && e == a->uid && s == a->uid && rg == a->gid &&
	    eg == a->gid && sg == a->gid && setuid(0) == -1 &&
	    seteuid(0) == -1;
}

/*
 * Enter the home; returns its descriptor. `before' was opened with O_PATH as
 * root (or is -1): a home below a directory that the user cannot pass, such as
 * a scratch instance below /root, is reached by it. The home itself is entered
 * with the user's rights in both cases.
 */
static int
enter_home(const char *home, int before, struct outcome *o)
{
	int fd;

	if (chdir(home) == -1 &&
	    (errno != EACCES || before == -1 || fchdir(before) == -1)) {
		outcome_errno(o, home, errno);
		return -1;
	}
	fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		outcome_errno(o, home, errno);
	}
	return fd;
}

/* Become the user and stand in the home. -1: *o says why not. */
static int
become_user(const struct become *b, const struct account *a, struct outcome *o)
{
	int before = -1, home;

	if (geteuid() == 0) {
		before = open(a->home, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (drop_to(b, a) == -1) {
			outcome_errno(o, "becoming the user", errno);
			return -1;
		}
		if (!is_dropped(a)) {
			log_fatal(EX_OSERR, "local: root came back");
		}
	}
	home = enter_home(a->home, before, o);
	if (before != -1) {
		(void)close(before);
	}
	return home;
}

static void
wall_in(const struct become *b)
{
	const struct sandbox_path home = { ".", true };
	struct sandbox_request rq = { .program = IPC_WORKER, .paths = &home,
		.npaths = 1, .probe = b->settings->wall_probe };
	char words[256];

	sandbox_enter(&rq, words, sizeof(words));
	/* From here on the user's own content is read: what such a process says
	   must not stand in the log as the forker's words. */
	(void)log_flush();
	(void)dup2(STDOUT_FILENO, STDERR_FILENO);
}

int
become_worker(const struct become *b)
{
	struct worker_config cfg = { .sock = b->sock, .home = -1,
		.mailbox = b->settings->home_mailbox,
		.host = slice_of(b->settings->myhostname) };
	struct account a = { 0, 0, NULL };
	struct outcome o;

	if (!maildir_mailbox_ok(cfg.mailbox, &o) || !look_up(b, &a, &o) ||
	    !become_allowed(b->name, &a, geteuid(), &o) ||
	    (cfg.home = become_user(b, &a, &o)) == -1) {
		account_clear(&a);
		worker_refuse(b->sock, &o);
		return EX_OK;
	}
	account_clear(&a);
	wall_in(b);
	return worker_serve(&cfg);
}
