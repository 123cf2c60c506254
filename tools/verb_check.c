/* veredus check: what is wrong, and what comes of it. Changes nothing. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "cleanup/check.h"
#include "common/account.h"
#include "common/fstype.h"
#include "common/instance.h"
#include "common/listen.h"
#include "common/sandbox.h"
#include "common/under.h"
#include "common/xmalloc.h"
#include "tools/ctl_client.h"
#include "tools/verbs.h"

struct check {
	const struct tool *t;
	bool verbose, running;
	unsigned errors, warnings;
};

enum grade { GOOD, WARNING, ERROR };

static void __attribute__((format(printf, 3, 4)))
tell(struct check *c, enum grade g, const char *fmt, ...)
{
	static const char *const words[] = { "ok", "warning", "error" };
	struct strbuf line;
	va_list ap;

	c->errors += g == ERROR ? 1 : 0;
	c->warnings += g == WARNING ? 1 : 0;
	if (g == GOOD && !c->verbose) {
		return;
	}
	strbuf_init(&line, 0);
	va_start(ap, fmt);
	(void)strbuf_vprintf(&line, fmt, ap);
	va_end(ap);
	(void)printf("%s: %s\n", words[g], line.p);
	strbuf_clear(&line);
}

/* One finding for each line of `why', with what comes of it. */
static void
tell_lines(struct check *c, enum grade g, const struct strbuf *why,
    const char *consequence)
{
	struct slice rest = strbuf_slice(why), line;

	while (slice_word(&rest, "\n", &line)) {
		tell(c, g, "%.*s%s%s", SLF(line),
		    consequence[0] != '\0' ? ": " : "", consequence);
	}
}

/* -- the file ---------------------------------------------------------------- */

static void
check_file(struct check *c)
{
	struct stat st;

	if (stat(c->t->conf, &st) == -1) {
		tell(c, ERROR, "%s: %s", c->t->conf, strerror(errno));
		return;
	}
	if (geteuid() == 0 && (st.st_uid != 0 || (st.st_mode & 022) != 0)) {
		tell(c, ERROR, "%s can be changed by others than root: they "
		    "could make root run any program (daemon_directory)",
		    c->t->conf);
	} else {
		tell(c, GOOD, "%s is readable, every setting is known",
		    c->t->conf);
	}
}

/* -- accounts ---------------------------------------------------------------- */

static void
check_shared(struct check *c)
{
	const struct settings *s = &c->t->settings;
	const char *const users[] = { s->log_user, s->users_user,
		s->queue_user, s->qmgr_user, s->local_user, s->smtpd_user };
	unsigned uid[NELEMS(users)], gid;
	size_t i, j;

	for (i = 0; i < NELEMS(users); i++) {
		if (sandbox_account(users[i], &uid[i], &gid) == -1) {
			return; /* said already */
		}
		for (j = 0; j < i; j++) {
			if (uid[i] == uid[j]) {
				tell(c, WARNING, "%s and %s are one account: "
				    "a program that is broken into could "
				    "reach the other", users[j], users[i]);
			}
		}
	}
}

static void
check_accounts(struct check *c)
{
	struct strbuf why;

	if (geteuid() != 0) {
		tell(c, WARNING, "not run by root: every program has this one "
		    "account, and only this account gets mail");
		return;
	}
	strbuf_init(&why, 0);
	if (instance_accounts(&c->t->settings, &why)) {
		tell(c, GOOD, "there is an account for every program");
		check_shared(c);
	} else {
		tell_lines(c, ERROR, &why, "it does not start");
	}
	strbuf_clear(&why);
}

/* -- directories and programs ------------------------------------------------ */

static void
check_directory(struct check *c, const struct instance_dir *d)
{
	struct strbuf why;

	strbuf_init(&why, 0);
	switch (instance_dir_judge(d, &why)) {
	case INSTANCE_GOOD:
		tell(c, GOOD, "%s (%s)", d->path, d->purpose);
		break;
	case INSTANCE_MISSING:
		tell(c, GOOD, "%s (%s): not there yet, a start makes it",
		    d->path, d->purpose);
		break;
	case INSTANCE_REPAIRED:
		tell_lines(c, WARNING, &why, "the next start sets it right");
		break;
	case INSTANCE_WRONG:
		tell_lines(c, ERROR, &why, "it does not start");
		break;
	}
	strbuf_clear(&why);
}

static void
check_directories(struct check *c)
{
	struct instance_dir dirs[INSTANCE_DIRS];
	struct strbuf why;
	size_t i;

	strbuf_init(&why, 0);
	if (instance_dirs(&c->t->settings, geteuid() == 0, dirs, &why)) {
		for (i = 0; i < INSTANCE_DIRS; i++) {
			check_directory(c, &dirs[i]);
		}
	} else {
		tell_lines(c, ERROR, &why, "it does not start");
	}
	instance_dirs_clear(dirs);
	strbuf_clear(&why);
}

static void
check_file_system(struct check *c)
{
	const char *dir = c->t->settings.queue_directory, *name;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1) {
		return; /* told by check_directories() */
	}
	switch (fstype_of(fd, &name)) {
	case FSTYPE_REMOTE:
		tell(c, ERROR, "queue_directory %s lies on %s: it does not "
		    "start; use a local disk", dir, name);
		break;
	case FSTYPE_MEMORY:
		tell(c, WARNING, "queue_directory %s lies on %s: all mail in "
		    "it is lost when the power goes", dir, name);
		break;
	case FSTYPE_UNSURE:
		tell(c, WARNING, "queue_directory %s lies on %s: whether a "
		    "flush there means anything cannot be told", dir, name);
		break;
	case FSTYPE_GOOD:
		tell(c, GOOD, "the file system of %s %s", dir, name);
		break;
	}
	(void)close(fd);
}

static void
check_programs(struct check *c)
{
	static const char *const names[] = { "master", "log", "users",
		"cleanup", "forker", "local", "qmgr", "smtpd" };
	struct strbuf path;
	struct stat st;
	size_t i;

	strbuf_init(&path, 0);
	for (i = 0; i < NELEMS(names); i++) {
		strbuf_reset(&path);
		(void)strbuf_printf(&path, "%s/%s",
		    c->t->settings.daemon_directory, names[i]);
		if (access(path.p, X_OK) == -1) {
			tell(c, ERROR, "%s: %s: it does not start", path.p,
			    strerror(errno));
		} else if (geteuid() == 0 && stat(path.p, &st) == 0 &&
		    (st.st_uid != 0 || (st.st_mode & 022) != 0)) {
			tell(c, WARNING, "%s can be changed by others than "
			    "root, who starts it", path.p);
		} else {
			tell(c, GOOD, "%s", path.p);
		}
	}
	strbuf_clear(&path);
}

/* -- listeners --------------------------------------------------------------- */

static bool
is_running(const struct tool *t)
{
	static const char *const words[] = { "status" };
	char *path = tool_socket_path(t, "admin/master");
	struct ctl_client cl;
	bool yes = ctl_client_ask(&cl, path, IPC_MASTER, words, 1) == 0;

	if (yes) {
		ctl_client_close(&cl);
	}
	free(path);
	return yes;
}

static void
check_one_listener(struct check *c, const struct listen_at *at)
{
	struct strbuf why;
	int fd;

	strbuf_init(&why, 0);
	fd = listen_bind(at, &why);
	if (fd == -1) {
		tell(c, ERROR, "%s: it does not start", why.p);
	} else {
		tell(c, GOOD, "%s is free", at->name);
		(void)close(fd);
	}
	strbuf_clear(&why);
}

/* What inet_protocols leaves of `listen'. */
static void
check_unused(struct check *c, bool has_ipv6)
{
	const struct settings *s = &c->t->settings;
	struct listen_entry e;
	size_t i;

	for (i = 0; i < s->listen.n; i++) {
		if (listen_parse(slice_of(s->listen.at[i]), &e) &&
		    !listen_is_used(s, has_ipv6, &e)) {
			tell(c, WARNING, "nobody listens on %s of listen: %s",
			    s->listen.at[i], e.family == AF_INET6 && !has_ipv6 ?
			    "this host has no IPv6" :
			    "inet_protocols leaves that protocol out");
		}
	}
}

static void
check_listeners(struct check *c)
{
	const struct settings *s = &c->t->settings;
	bool has_ipv6 = listen_host_has_ipv6();
	struct listen_at at[LISTEN_MAX];
	struct strbuf why;
	size_t i, n;

	strbuf_init(&why, 0);
	if (!listen_plan(s, has_ipv6, at, &n, &why)) {
		tell_lines(c, ERROR, &why, "it does not start");
		n = 0;
	} else if (s->listen.n == 0) {
		tell(c, WARNING, "listen is empty: no mail comes in by SMTP, "
		    "only by sendmail");
	}
	check_unused(c, has_ipv6);
	for (i = 0; i < n && !c->running; i++) {
		check_one_listener(c, &at[i]);
	}
	if (strlen(s->runtime_directory) + sizeof("/admin/cleanup") >
	    sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		tell(c, ERROR, "runtime_directory is too long for the name of "
		    "a socket: it does not start");
	}
	strbuf_clear(&why);
}

/* -- policy ------------------------------------------------------------------ */

static void
check_networks(struct check *c)
{
	const struct strlist *l = &c->t->settings.mynetworks;
	const char *slash;
	size_t i;

	for (i = 0; i < l->n; i++) {
		slash = strchr(l->at[i], '/');
		if (l->at[i][0] != '!' && slash != NULL &&
		    strcmp(slash, "/0") == 0) {
			tell(c, ERROR, "mynetworks has %s: anyone on the "
			    "internet may send mail through this host",
			    l->at[i]);
		}
	}
}

/* Settings that stand in each other's way. */
static void
check_luser(struct check *c)
{
	const struct settings *s = &c->t->settings;

	if (s->luser_relay[0] != '\0' && s->local_recipient_maps.n > 0) {
		tell(c, WARNING, "luser_relay gets nothing for users that "
		    "local_recipient_maps does not list: they are refused with "
		    "550; to take them, write \"local_recipient_maps =\"");
	}
}

/* As cleanup sees them: in a child under its account. */
static void
check_maps(struct check *c, struct settings *s)
{
	const struct under_work work = { .user = s->queue_user,
		.prepare = cleanup_check_prepare, .check = cleanup_check_and_warn,
		.arg = s };
	struct strbuf why;

	strbuf_init(&why, 0);
	if (under_run(&work, &why)) {
		tell_lines(c, WARNING, &why, "");
		tell(c, GOOD, "%s can read every map", s->queue_user);
	} else {
		tell_lines(c, ERROR, &why, "cleanup does not start");
	}
	strbuf_clear(&why);
}

/* The lines that name nobody: their users are unknown, mail for them refused. */
static void
check_user_lines(struct check *c, const char *path, struct slice text)
{
	struct account_line l;
	struct slice line;
	unsigned number = 0;
	size_t n;

	while (text.n > 0) {
		n = slice_find(text, '\n');
		line = slice_make(text.p, n);
		n += n < text.n ? 1 : 0;
		text = slice_make(text.p + n, text.n - n);
		number++;
		if (slice_trim(line).n > 0 && line.p[0] != '#' &&
		    !account_parse_line(line, &l)) {
			tell(c, WARNING, "%s:%u: not a line of passwd(5) with "
			    "numbers and an absolute home", path, number);
		}
	}
}

static void
check_users(struct check *c)
{
	const char *path = c->t->settings.local_users;
	struct strbuf text;

	if (strncmp(path, "file:", 5) != 0) {
		return;
	}
	path += 5;
	strbuf_init(&text, 0);
	if (account_read_file(AT_FDCWD, path, &text) == -1) {
		tell(c, ERROR, "local_users: %s: %s: every local recipient is "
		    "answered 451", path, strerror(errno));
	} else {
		check_user_lines(c, path, strbuf_slice(&text));
	}
	strbuf_clear(&text);
}

/* -- mailboxes ----------------------------------------------------------------- */

/* Those who join the group mail must be able to make files there. */
static void
check_mail_spool(struct check *c)
{
	const struct settings *s = &c->t->settings;
	const struct group *mail = getgrnam("mail");
	const char *dir = s->mail_spool_directory;
	struct stat st;

	if (s->home_mailbox[0] != '\0') {
		return;
	}
	if (stat(dir, &st) == -1 || !S_ISDIR(st.st_mode)) {
		tell(c, WARNING, "mail_spool_directory = %s is no directory: "
		    "mail for users of this host is deferred", dir);
	} else if (geteuid() == 0 && (st.st_mode & 02) == 0 &&
	    ((st.st_mode & 020) == 0 || mail == NULL ||
	    st.st_gid != mail->gr_gid)) {
		tell(c, WARNING, "mail_spool_directory = %s is not writable by "
		    "the group mail: mail for users of this host is deferred",
		    dir);
	} else if ((st.st_mode & 02) != 0 && (st.st_mode & S_ISVTX) == 0) {
		tell(c, WARNING, "mail_spool_directory = %s: anybody may "
		    "remove the mailboxes of others (chmod +t)", dir);
	} else {
		tell(c, GOOD, "mailboxes are in %s", dir);
	}
}

/* As master opens it at a start: made if it is missing, in a directory that is
   there. */
static void
check_log_file(struct check *c, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == NULL || slash == path ? xstrdup(slash == NULL ?
	    "." : "/") : xslicedup(slice_make(path, (size_t)(slash - path)));
	struct stat st;
	int error = 0;

	if (stat(path, &st) == 0) {
		error = S_ISDIR(st.st_mode) ? EISDIR :
		    access(path, W_OK) == -1 ? errno : 0;
	} else if (errno != ENOENT) {
		error = errno;
	} else if (access(dir, W_OK | X_OK) == -1) {
		error = errno;
	}
	if (error != 0) {
		tell(c, ERROR, "log = file:%s: %s: it does not start", path,
		    strerror(error));
	} else {
		tell(c, GOOD, "log = file:%s", path);
	}
	free(dir);
}

static void
check_log(struct check *c)
{
	const char *log = c->t->settings.log;
	struct stat st;

	if (strcmp(log, "syslog") == 0 && stat("/dev/log", &st) == -1) {
		tell(c, ERROR, "log = syslog, but there is no /dev/log: veredus "
		    "start refuses, veredus start -f logs to stderr");
	} else if (strcmp(log, "stderr") == 0) {
		tell(c, WARNING, "log = stderr: only veredus start -f works");
	} else if (strncmp(log, "file:", 5) == 0) {
		check_log_file(c, log + 5);
	} else {
		tell(c, GOOD, "log = %s", log);
	}
}

int
verb_check(struct tool *t, int argc, char **argv)
{
	struct check c = { .t = t };
	int o;

	while ((o = getopt(argc, argv, "v")) != -1) {
		if (o != 'v') {
			return verb_usage(t, argv[0]);
		}
		c.verbose = true;
	}
	if (optind != argc) {
		return verb_usage(t, argv[0]);
	}
	tool_need_settings(t);
	c.running = is_running(t);
	check_file(&c);
	check_accounts(&c);
	check_directories(&c);
	check_file_system(&c);
	check_programs(&c);
	check_listeners(&c);
	check_networks(&c);
	check_luser(&c);
	check_maps(&c, &t->settings);
	check_users(&c);
	check_mail_spool(&c);
	check_log(&c);
	(void)printf("%u errors, %u warnings%s\n", c.errors, c.warnings,
	    c.running ? " (Veredus is running)" : "");
	return c.errors > 0 ? EX_CONFIG : 0;
}
