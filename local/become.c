#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sandbox.h"
#include "common/xmalloc.h"
#include "local/become.h"
#include "local/homedir.h"
#include "local/mboxlock.h"
#include "local/worker.h"

#define MAIL_GROUP "mail" /* Debian's, of /var/mail */

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

/*
 * Where the mailbox is: in the home, or in the mail spool under the user's name.
 * Mail for uid 0 goes to the spool whatever home_mailbox says, and is written by
 * another account: *a is then that one.
 */
struct place {
	const char *dir;     /* the home or the spool */
	const char *mailbox; /* in it */
	char *shown;         /* stays: one a process */
	bool lent;           /* written by default_privs */
	gid_t group;         /* to join; (gid_t)-1: none */
};

/* default_privs takes the place of uid 0. */
static bool
lend_account(const struct become *b, struct account *a, struct outcome *o)
{
	const char *who = b->settings->default_privs;
	unsigned uid, gid;

	if (sandbox_account(who, &uid, &gid) == -1 || uid == 0) {
		outcome_set(o, FATE_DEFERRED, "4.3.5", "nothing is delivered as "
		    "uid 0, and default_privs = %s is no account without "
		    "rights: give %s an alias", who, b->name);
		return false;
	}
	a->uid = uid;
	a->gid = gid;
	return true;
}

/* A mailbox of this name would be another's lock. */
static bool
is_lock_name(const char *name)
{
	const size_t n = strlen(name), tail = strlen(MBOXLOCK_SUFFIX);

	return n > tail && strcmp(name + n - tail, MBOXLOCK_SUFFIX) == 0;
}

static bool
find_place(const struct become *b, struct account *a, struct place *p,
    struct outcome *o)
{
	const struct settings *s = b->settings;
	const struct group *mail;
	struct strbuf shown;

	*p = (struct place){ .dir = a->home, .mailbox = s->home_mailbox,
		.shown = s->home_mailbox, .group = (gid_t)-1,
		.lent = a->uid == 0 };
	if (!p->lent && s->home_mailbox[0] != '\0') {
		return homedir_path_ok(s->home_mailbox, o);
	}
	if (is_lock_name(b->name)) {
		outcome_set(o, FATE_DEFERRED, "4.3.5", "%s cannot have a mailbox "
		    "in %s: that is a lock's name", b->name,
		    s->mail_spool_directory);
		return false;
	}
	if (p->lent && !lend_account(b, a, o)) {
		return false;
	}
	mail = geteuid() == 0 ? getgrnam(MAIL_GROUP) : NULL;
	p->group = mail != NULL ? mail->gr_gid : (gid_t)-1;
	if (p->lent && mail != NULL) {
		a->gid = p->group;
	}
	strbuf_init(&shown, 0);
	(void)strbuf_printf(&shown, "%s/%s", s->mail_spool_directory, b->name);
	p->shown = strbuf_take(&shown);
	p->dir = s->mail_spool_directory;
	p->mailbox = b->name;
	return true;
}

/* The group of mail spools, one more than the user has. */
static int
join_group(gid_t group)
{
	int n = getgroups(0, NULL), ret;
	gid_t *all;

	if (n == -1) {
		return -1;
	}
	all = xcalloc((size_t)n + 1, sizeof(*all));
	n = getgroups(n, all);
	all[n == -1 ? 0 : n] = group;
	ret = n == -1 ? -1 : setgroups((size_t)n + 1, all);
	free(all);
	return ret;
}

/* Groups, gid and uid, for good; -1 with errno. */
static int
drop_to(const struct become *b, const struct place *p, const struct account *a)
{
	bool known = strcmp(b->settings->local_users, "nss") == 0 && !p->lent;

	if (known ? initgroups(b->name, a->gid) == -1 :
	    setgroups(1, &a->gid) == -1) {
		return -1;
	}
	if (p->group != (gid_t)-1 && join_group(p->group) == -1) {
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
 * Enter the home, or the mail spool; returns its descriptor. `before' was opened
 * with O_PATH as root (or is -1): one below a directory that the user cannot
 * pass, such as a scratch instance below /root, is reached by it. The directory
 * itself is entered with the user's rights in both cases.
 */
static int
enter(const char *home, int before, struct outcome *o)
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

/* Become the user and stand in the place. -1: *o says why not. */
static int
become_user(const struct become *b, const struct place *p,
    const struct account *a, struct outcome *o)
{
	int before = -1, dir;

	if (geteuid() == 0) {
		before = open(p->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (drop_to(b, p, a) == -1) {
			outcome_errno(o, "becoming the user", errno);
			return -1;
		}
		if (!is_dropped(a)) {
			log_fatal(EX_OSERR, "local: root came back");
		}
	}
	dir = enter(p->dir, before, o);
	if (before != -1) {
		(void)close(before);
	}
	return dir;
}

static void
wall_in(const struct become *b)
{
	const struct sandbox_path here = { ".", true };
	struct sandbox_request rq = { .program = IPC_WORKER, .paths = &here,
		.npaths = 1, .probe = b->settings->wall_probe };
	char words[256];

	sandbox_enter(&rq, words, sizeof(words));
	/* From here on the user's own content is read: what such a process says
	   must not stand in the log as the forker's words. */
	(void)log_flush();
	(void)dup2(STDOUT_FILENO, STDERR_FILENO);
}

/* Half of the time after which the dispatcher gives a worker up. */
static uint64_t
lock_wait_ms(const struct settings *s)
{
	const uint64_t half = s->local_delivery_timeout * 1000 / 2;

	return half < MBOXLOCK_WAIT_MS ? half : MBOXLOCK_WAIT_MS;
}

int
become_worker(const struct become *b)
{
	const struct settings *s = b->settings;
	struct worker_config cfg = { .sock = b->sock, .dir = -1,
		.host = slice_of(s->myhostname),
		.limit = s->mailbox_size_limit,
		.lock_wait_ms = lock_wait_ms(s) };
	struct account a = { 0, 0, NULL };
	struct place p;
	struct outcome o;

	if (!look_up(b, &a, &o) || !find_place(b, &a, &p, &o) ||
	    !become_allowed(b->name, &a, geteuid(), &o) ||
	    (cfg.dir = become_user(b, &p, &a, &o)) == -1) {
		account_clear(&a);
		worker_refuse(b->sock, &o);
		return EX_OK;
	}
	account_clear(&a);
	(void)umask(022);
	wall_in(b);
	cfg.mailbox = p.mailbox;
	cfg.shown = p.shown;
	cfg.group = p.group;
	return worker_serve(&cfg);
}
