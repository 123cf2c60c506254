/* master's parts without a process: tables, addresses, backoff, lock,
   directories, the check under an account. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/child.h"
#include "common/instance.h"
#include "common/listen.h"
#include "common/log.h"
#include "common/map.h"
#include "common/under.h"
#include "master/backoff.h"
#include "master/connect.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/program.h"
#include "tests/unit/unit.h"

/* -- the table of programs --------------------------------------------------- */

static bool
is_program(enum ipc_role role)
{
	return program_by_role(role) != NULL;
}

static void
test_programs(void **state)
{
	unsigned seen = 0;
	size_t i, j;

	(void)state;
	for (i = 0; i < program_count; i++) {
		assert_string_not_equal(program_name(&programs[i]), "?");
		assert_int_equal(ipc_role_by_name(
		    slice_of(program_name(&programs[i]))), programs[i].role);
		assert_int_equal(seen & programs[i].settings, 0);
		assert_true(programs[i].settings != 0);
		seen |= programs[i].settings;
		for (j = 0; j < i; j++) {
			assert_int_not_equal(programs[i].role,
			    programs[j].role);
		}
	}
	/* Nobody's words are lost, and nobody asks who is not there. */
	assert_int_equal(programs[0].role, IPC_LOG);
	assert_int_equal(programs[program_count - 1].role, IPC_SMTPD);
}

static void
test_links(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < program_link_count; i++) {
		assert_true(is_program(program_links[i].a));
		assert_true(is_program(program_links[i].b));
		assert_int_not_equal(program_links[i].a, program_links[i].b);
		for (j = 0; j < i; j++) {
			assert_false(program_links[i].a == program_links[j].a &&
			    program_links[i].b == program_links[j].b);
			assert_false(program_links[i].a == program_links[j].b &&
			    program_links[i].b == program_links[j].a);
		}
	}
	/* The program that parses the network speaks to cleanup alone. */
	for (i = 0; i < program_link_count; i++) {
		if (program_links[i].a == IPC_SMTPD ||
		    program_links[i].b == IPC_SMTPD) {
			assert_int_equal(program_links[i].b, IPC_CLEANUP);
		}
	}
}

static void
test_listener_rows(void **state)
{
	const struct program_listener *l;
	size_t i, unix_sockets = 0;

	(void)state;
	for (i = 0; i < program_listener_count; i++) {
		l = &program_listeners[i];
		assert_true(l->role == IPC_MASTER || is_program(l->role));
		assert_true(strlen(l->kind) <
		    sizeof(((struct child_listener *)NULL)->kind));
		if (l->socket == NULL) {
			continue;
		}
		unix_sockets++;
		assert_int_equal(l->admin,
		    strncmp(l->socket, "admin/", 6) == 0);
		assert_true(l->admin || strncmp(l->socket, "public/", 7) == 0);
	}
	assert_true(LISTEN_MAX + unix_sockets <= CHILD_LISTENERS_MAX);
}

/* -- backoff ------------------------------------------------------------------ */

static void
test_backoff(void **state)
{
	static const uint64_t want[] = { 0, 100, 200, 400, 800, 1600, 3200,
		6400, 12800, 25600, 30000, 30000 };
	unsigned failures = 0;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(want); i++) {
		assert_int_equal(backoff_next(&failures, 10), want[i]);
	}
	for (i = 0; i < 5000; i++) {
		assert_int_equal(backoff_next(&failures, 59999), 30000);
	}
	assert_int_equal(backoff_next(&failures, 60000), 0);
	assert_int_equal(backoff_next(&failures, 0), 100);
}

/* -- listen ------------------------------------------------------------------- */

static void
test_listen_parse(void **state)
{
	static const struct {
		const char *in;
		bool good, star;
		int family;
		unsigned port;
	} rows[] = {
		{ "127.0.0.1:25", true, false, AF_INET, 25 },
		{ "[::1]:25", true, false, AF_INET6, 25 },
		{ "[2001:db8::1]:65535", true, false, AF_INET6, 65535 },
		{ "*:1", true, true, AF_UNSPEC, 1 },
		{ "", false, false, 0, 0 },
		{ "25", false, false, 0, 0 },
		{ ":25", false, false, 0, 0 },
		{ "127.0.0.1", false, false, 0, 0 },
		{ "127.0.0.1:", false, false, 0, 0 },
		{ "127.0.0.1:0", false, false, 0, 0 },
		{ "127.0.0.1:65536", false, false, 0, 0 },
		{ "127.0.0.1:25x", false, false, 0, 0 },
		{ "127.0.0.1:-1", false, false, 0, 0 },
		{ "127.0.0.256:25", false, false, 0, 0 },
		{ "::1:25", false, false, 0, 0 },
		{ "[::1:25", false, false, 0, 0 },
		{ "[]:25", false, false, 0, 0 },
		{ "[127.0.0.1]:25", false, false, 0, 0 },
		{ "localhost:25", false, false, 0, 0 },
		{ "**:25", false, false, 0, 0 },
	};
	struct listen_entry e;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		memset(&e, 0x55, sizeof(e));
		if (listen_parse(slice_of(rows[i].in), &e) != rows[i].good) {
			fail_msg("%s", rows[i].in);
		}
		if (rows[i].good) {
			assert_int_equal(e.star, rows[i].star);
			assert_int_equal(e.family, rows[i].family);
			assert_int_equal(e.port, rows[i].port);
		} else {
			assert_int_equal(e.port, 0x5555);
		}
	}
}

/* Settings from a text of lines; they must be good. */
static void
settings_of(const char *text, struct settings *s)
{
	struct settings_source src;
	struct strbuf errors;

	strbuf_init(&errors, 0);
	if (!settings_load("test", slice_of(text), s, &src, &errors)) {
		fail_msg("%s", errors.p);
	}
	settings_source_clear(&src);
	strbuf_clear(&errors);
}

static void
test_listen_plan(void **state)
{
	static const struct {
		const char *text;
		bool has_ipv6;
		const char *want; /* names, a blank behind each */
	} rows[] = {
		{ "listen = *:25\n", true, "0.0.0.0:25 [::]:25 " },
		{ "listen = *:25\n", false, "0.0.0.0:25 " },
		{ "listen = *:25\ninet_protocols = ipv6\n", true, "[::]:25 " },
		{ "listen = *:25\ninet_protocols = ipv4\n", true,
		    "0.0.0.0:25 " },
		{ "listen = [::1]:25\ninet_protocols = ipv4\n", true, "" },
		{ "listen = 127.0.0.1:25, 127.0.0.1:25, [0::1]:25 [::1]:25\n",
		    true, "127.0.0.1:25 [::1]:25 " },
		{ "listen =\n", true, "" },
		{ "listen = *:25, [::1]:25, 127.0.0.1:26\n", true,
		    "0.0.0.0:25 [::]:25 127.0.0.1:26 " },
		{ "listen = 127.0.0.1:25, [::1]:25, [::1]:26, *:25\n", true,
		    "[::1]:26 0.0.0.0:25 [::]:25 " },
	};
	struct listen_at at[LISTEN_MAX];
	struct settings s;
	struct strbuf names, why;
	size_t i, j, n;

	(void)state;
	strbuf_init(&names, 0);
	strbuf_init(&why, 0);
	for (i = 0; i < NELEMS(rows); i++) {
		settings_of(rows[i].text, &s);
		assert_true(listen_plan(&s, rows[i].has_ipv6, at, &n, &why));
		strbuf_reset(&names);
		(void)strbuf_add_str(&names, "");
		for (j = 0; j < n; j++) {
			(void)strbuf_printf(&names, "%s ", at[j].name);
		}
		assert_string_equal(names.p, rows[i].want);
		settings_clear(&s);
	}
	strbuf_clear(&names);
	strbuf_clear(&why);
}

static void
test_listen_too_many(void **state)
{
	struct listen_at at[LISTEN_MAX];
	struct settings s;
	struct strbuf text, why;
	size_t n;
	int i;

	(void)state;
	strbuf_init(&text, 0);
	strbuf_init(&why, 0);
	(void)strbuf_add_str(&text, "listen =");
	for (i = 1; i <= 60; i++) {
		(void)strbuf_printf(&text, " *:%d", i);
	}
	(void)strbuf_add_str(&text, "\n");
	settings_of(text.p, &s);
	assert_false(listen_plan(&s, true, at, &n, &why));
	assert_true(n <= LISTEN_MAX);
	assert_non_null(strstr(why.p, "72"));
	settings_clear(&s);
	strbuf_clear(&text);
	strbuf_clear(&why);
}

static void
test_listen_bind(void **state)
{
	struct listen_at at = { .name = "127.0.0.1:0", .family = AF_INET,
		.at.v4 = { .sin_family = AF_INET }, .len = sizeof(at.at.v4) };
	struct strbuf why, own;
	int fd;

	(void)state;
	strbuf_init(&why, 0);
	strbuf_init(&own, 0);
	at.at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = listen_bind(&at, &why);
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, &at.at.sa, &at.len), 0);
	assert_int_equal(listen_bind(&at, &why), -1);
	assert_int_equal(errno, EADDRINUSE);
	assert_string_equal(why.p, "cannot listen on 127.0.0.1:0: another "
	    "program listens there");
	listen_own_addresses(&at, 1, &own);
	assert_string_equal(own.p, "127.0.0.1");
	at.at.v4.sin_addr.s_addr = htonl(INADDR_ANY);
	strbuf_reset(&own);
	listen_own_addresses(&at, 1, &own);
	assert_non_null(strstr(own.p, "127.0.0.1"));
	(void)close(fd);
	strbuf_clear(&why);
	strbuf_clear(&own);
}

/* -- settings of a reload ------------------------------------------------------ */

static void
test_moves_maps(void **state)
{
	static const struct {
		const char *before, *after;
		bool moved;
	} rows[] = {
		{ "alias_maps = cdb:/a/x\n", "alias_maps = cdb:/a/x\n", false },
		{ "alias_maps = cdb:/a/x\n", "alias_maps = cdb:/a/y\n", false },
		{ "alias_maps = cdb:/a/x\n", "alias_maps = cdb:/b/x\n", true },
		{ "alias_maps = cdb:/a/x\n",
		    "alias_maps = cdb:/a/x\ntransport_maps = file:/b/x\n", true },
		{ "alias_maps = cdb:/a/x\ntransport_maps = file:/b/x\n",
		    "alias_maps = cdb:/b/x\n", false },
		{ "alias_maps = cdb:/a/x\n",
		    "alias_maps = inline:{ /c/d=e }\n", false },
		{ "alias_maps = cdb:/a/x\n",
		    "alias_maps = cdb:/a/x\nmydestination = a, file:/c/d\n",
		    true },
	};
	struct settings before, after;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		settings_of(rows[i].before, &before);
		settings_of(rows[i].after, &after);
		if (config_moves_maps(&before, &after) != rows[i].moved) {
			fail_msg("%s -> %s", rows[i].before, rows[i].after);
		}
		settings_clear(&before);
		settings_clear(&after);
	}
}

static void
test_same_base(void **state)
{
	struct settings a, b;
	struct settings_source sa, sb;
	struct strbuf errors;

	(void)state;
	strbuf_init(&errors, 0);
	assert_true(settings_load("f", SL("queue_directory = /q\n"), &a, &sa,
	    &errors));
	assert_true(settings_load("f", SL("debug = yes\nqueue_directory=/r\n"
	    "journal_segments = 6\njournal_segment_size = 2M\n"),
	    &b, &sb, &errors));
	assert_true(config_same_base("f", &sa, &sa, &errors));
	assert_false(config_same_base("f", &sa, &sb, &errors));
	assert_non_null(strstr(errors.p, "f:2: queue_directory changes from "
	    "\"/q\" to \"/r\""));
	assert_non_null(strstr(errors.p, "f:3: journal_segments changes from "
	    "\"4\" to \"6\""));
	assert_non_null(strstr(errors.p, "f:4: journal_segment_size changes"));
	/* Back to its default: no line of the file says so. */
	strbuf_reset(&errors);
	assert_false(config_same_base("f", &sb, &sa, &errors));
	assert_non_null(strstr(errors.p, "f: journal_segments changes from \"6\" "
	    "to \"4\", by its default: that"));
	assert_null(strstr(errors.p, "f:0"));
	settings_clear(&a);
	settings_clear(&b);
	settings_source_clear(&sa);
	settings_source_clear(&sb);
	strbuf_clear(&errors);
}

/* Each program's account is for a start: a reload must not take it halfway. */
static void
test_accounts_are_base(void **state)
{
	struct settings a, b;
	struct settings_source sa, sb;
	struct strbuf errors;
	char text[80], wanted[80];
	const char *name;
	size_t i, n, seen = 0;

	(void)state;
	strbuf_init(&errors, 0);
	assert_true(settings_load("f", SL(""), &a, &sa, &errors));
	for (i = 0; i < settings_count; i++) {
		name = settings_table[i].name;
		n = strlen(name);
		if (n < 5 || strcmp(name + n - 5, "_user") != 0) {
			continue;
		}
		(void)snprintf(text, sizeof(text), "%s = 61500\n", name);
		(void)snprintf(wanted, sizeof(wanted), "f:1: %s changes", name);
		strbuf_reset(&errors);
		assert_true(settings_load("f", slice_of(text), &b, &sb,
		    &errors));
		assert_false(config_same_base("f", &sa, &sb, &errors));
		assert_non_null(strstr(errors.p, wanted));
		settings_clear(&b);
		settings_source_clear(&sb);
		seen++;
	}
	assert_true(seen >= 9);
	settings_clear(&a);
	settings_source_clear(&sa);
	strbuf_clear(&errors);
}

/* -- the disk ------------------------------------------------------------------ */

static char dir[64];

static int
make_dir(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/veredus-test-XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
remove_dir(void **state)
{
	char cmd[100];

	(void)state;
	(void)snprintf(cmd, sizeof(cmd), "%s/lock", dir);
	(void)unlink(cmd);
	return rmdir(dir);
}

static void
test_lock(void **state)
{
	struct strbuf why;
	char mine[64];
	bool unclean;
	int fd, copy;

	(void)state;
	strbuf_init(&why, 0);
	(void)snprintf(mine, sizeof(mine), "pid %ld", (long)getpid());
	fd = lock_spool(dir, &unclean, &why);
	assert_true(fd >= 0);
	assert_false(unclean);
	assert_int_equal(lock_spool(dir, &unclean, &why), -1);
	assert_non_null(strstr(why.p, mine));
	copy = dup(fd); /* as cleanup has it: the spool stays locked */
	(void)close(fd);
	assert_int_equal(lock_spool(dir, &unclean, &why), -1);
	(void)close(copy);
	fd = lock_spool(dir, &unclean, &why);
	assert_true(fd >= 0);
	assert_true(unclean); /* the last one said no good-bye */
	lock_release(fd);
	fd = lock_spool(dir, &unclean, &why);
	assert_true(fd >= 0);
	assert_false(unclean);
	(void)close(fd);
	strbuf_clear(&why);
}

static mode_t
mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void
test_directories(void **state)
{
	struct instance_dir dirs[INSTANCE_DIRS];
	struct strbuf text, why;
	struct settings s;
	size_t i;

	(void)state;
	strbuf_init(&text, 0);
	strbuf_init(&why, 0);
	(void)strbuf_printf(&text, "queue_directory = %s/a/spool\n"
	    "runtime_directory = %s/a/run\n", dir, dir);
	settings_of(text.p, &s);
	assert_true(instance_dirs(&s, false, dirs, &why));
	for (i = 0; i < INSTANCE_DIRS; i++) {
		assert_int_equal(instance_dir_judge(&dirs[i], &why),
		    INSTANCE_MISSING);
		assert_true(instance_dir_make(&dirs[i], &why));
		assert_int_equal(instance_dir_judge(&dirs[i], &why),
		    INSTANCE_GOOD);
		assert_int_equal(mode_of(dirs[i].path), dirs[i].mode);
	}
	assert_int_equal(dirs[3].mode, 03733);
	/* What is ours is set right; what is the administrator's is not. */
	assert_int_equal(chmod(dirs[3].path, 0777), 0);
	assert_int_equal(instance_dir_judge(&dirs[3], &why), INSTANCE_REPAIRED);
	assert_true(instance_dir_make(&dirs[3], &why));
	assert_int_equal(mode_of(dirs[3].path), 03733);
	assert_int_equal(chmod(dirs[0].path, 0777), 0);
	strbuf_reset(&why);
	assert_false(instance_dir_make(&dirs[0], &why));
	assert_non_null(strstr(why.p, "others may write"));
	assert_int_equal(mode_of(dirs[0].path), 0777);
	/* A link in the place of a directory is not followed. */
	assert_int_equal(rmdir(dirs[1].path), 0);
	assert_int_equal(symlink("/tmp", dirs[1].path), 0);
	assert_false(instance_dir_make(&dirs[1], &why));
	assert_int_equal(unlink(dirs[1].path), 0);
	for (i = INSTANCE_DIRS; i-- > 0;) {
		(void)rmdir(dirs[i].path);
	}
	(void)strbuf_printf(&why, "%s", "");
	strbuf_reset(&text);
	(void)strbuf_printf(&text, "%s/a", dir);
	assert_int_equal(rmdir(text.p), 0);
	instance_dirs_clear(dirs);
	settings_clear(&s);
	strbuf_clear(&text);
	strbuf_clear(&why);
}

/* -- a check in a child --------------------------------------------------------- */

static bool
check_uid(void *arg, struct strbuf *why)
{
	const char *what = arg;

	if (strcmp(what, "die") == 0) {
		_exit(3);
	}
	if (strcmp(what, "long") == 0) {
		while (why->n < 300000) {
			(void)strbuf_add_str(why, "a line\n");
		}
		return false;
	}
	(void)strbuf_printf(why, "uid %u\n", (unsigned)geteuid());
	return geteuid() != 0;
}

static bool
run_under(const char *user, void *arg, struct strbuf *why)
{
	const struct under_work w = { .user = user, .check = check_uid,
		.arg = arg };

	return under_run(&w, why);
}

static void
test_under(void **state)
{
	char yes[] = "", die[] = "die", many[] = "long";
	struct strbuf why;

	(void)state;
	strbuf_init(&why, 0);
	assert_true(run_under("65534", yes, &why));
	assert_non_null(strstr(why.p, "uid "));
	if (geteuid() == 0) {
		assert_string_equal(why.p, "uid 65534\n");
		strbuf_reset(&why);
		assert_false(run_under("0", yes, &why));
	}
	strbuf_reset(&why);
	assert_false(run_under("65534", die, &why));
	assert_non_null(strstr(why.p, "died"));
	strbuf_reset(&why);
	assert_false(run_under("65534", many, &why));
	assert_true(why.n >= 300000);
	strbuf_clear(&why);
}

/* A map in a directory that its reader may not walk to. */
static void
keep_maps(void *arg)
{
	char inner[80];

	(void)snprintf(inner, sizeof(inner), "%s/in", (const char *)arg);
	map_keep_directory(inner);
}

static uid_t owner;

static bool
open_map(void *arg, struct strbuf *why)
{
	char spec[100];
	struct map *m;

	/* The owner closes the door; another finds it closed. */
	if (owner != geteuid() || chmod(arg, 0) == 0) {
		(void)snprintf(spec, sizeof(spec), "file:%s/in/map",
		    (const char *)arg);
		m = map_open(slice_of(spec), why);
		if (m != NULL) {
			map_close(m);
			return true;
		}
	}
	return false;
}

static void
test_kept_directory(void **state)
{
	struct under_work w = { .user = "65534", .check = open_map,
		.arg = dir };
	struct strbuf why;
	char inner[80], file[90];
	int fd;

	(void)state;
	strbuf_init(&why, 0);
	(void)snprintf(inner, sizeof(inner), "%s/in", dir);
	(void)snprintf(file, sizeof(file), "%s/map", inner);
	owner = geteuid();
	assert_int_equal(mkdir(inner, 0755), 0);
	assert_int_equal(chmod(inner, 0755), 0);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "a b\n", 4), 4);
	assert_int_equal(fchmod(fd, 0644), 0);
	(void)close(fd);
	assert_int_equal(chmod(dir, 0700), 0);
	assert_false(under_run(&w, &why));
	assert_int_equal(chmod(dir, 0700), 0);
	assert_non_null(strstr(why.p, "Permission denied"));
	w.prepare = keep_maps;
	strbuf_reset(&why);
	if (!under_run(&w, &why)) {
		fail_msg("%s", why.p);
	}
	assert_int_equal(chmod(dir, 0700), 0);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(inner), 0);
	strbuf_clear(&why);
}

/* -- the service manager --------------------------------------------------------- */

static void
test_notify(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char name[64], got[64];
	ssize_t n;

	(void)state;
	notify_send("READY=1"); /* nobody asked: nothing happens */
	(void)snprintf(name, sizeof(name), "@veredus-notify-%ld",
	    (long)getpid());
	memcpy(sun.sun_path, name, strlen(name));
	sun.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (const struct sockaddr *)&sun,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
	    strlen(name))), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	notify_init();
	assert_null(getenv("NOTIFY_SOCKET"));
	notify_send("READY=1");
	n = recv(fd, got, sizeof(got), MSG_DONTWAIT);
	assert_int_equal(n, 7);
	assert_memory_equal(got, "READY=1", 7);
	(void)close(fd);
}

/* -- sockets for remote ------------------------------------------------------ */

static const struct {
	const char *setting, *value, *path;
	bool want;
} sockets[] = {
	{ "lmtp_sockets", "/run/a, /run/b", "/run/b", true },
	{ "lmtp_sockets", "/run/a", "/run/ab", false },
	{ "lmtp_sockets", "/run/ab", "/run/a", false },
	{ "lmtp_sockets", "/run/a", "/run/../run/a", false },
	{ "mailbox_transport", "lmtp:unix:/run/a", "/run/a", true },
	{ "mailbox_transport", "lmtp:unix:/run/a", "/run", false },
	{ "mailbox_transport", "smtp:[unix:/run/a]", "/run/a", false },
	{ "default_transport", "lmtp:unix:/run/a", "/run/a", true },
	{ "default_transport", "hold: lmtp:unix:/run/a", "/run/a", false },
	{ "transport_maps", "static:lmtp:unix:/run/a", "/run/a", false },
};

static void
test_sockets_named(void **state)
{
	struct settings s;
	struct strbuf why;
	size_t i;

	(void)state;
	strbuf_init(&why, 0);
	for (i = 0; i < NELEMS(sockets); i++) {
		settings_init(&s);
		assert_true(settings_set(&s, settings_find(SL(
		    "mailbox_transport")), SL(""), &why));
		assert_true(settings_set(&s, settings_find(SL(
		    "default_transport")), SL("smtp"), &why));
		if (!settings_set(&s,
		    settings_find(slice_of(sockets[i].setting)),
		    slice_of(sockets[i].value), &why)) {
			fail_msg("%s: %s", sockets[i].value, why.p);
		}
		if (connect_is_named(&s, slice_of(sockets[i].path)) !=
		    sockets[i].want) {
			fail_msg("%s = %s: %s", sockets[i].setting,
			    sockets[i].value, sockets[i].path);
		}
		settings_clear(&s);
	}
	strbuf_clear(&why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_listener_rows),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_listen_parse),
		cmocka_unit_test(test_listen_plan),
		cmocka_unit_test(test_listen_too_many),
		cmocka_unit_test(test_listen_bind),
		cmocka_unit_test(test_moves_maps),
		cmocka_unit_test(test_same_base),
		cmocka_unit_test(test_accounts_are_base),
		cmocka_unit_test_setup_teardown(test_lock, make_dir,
		    remove_dir),
		cmocka_unit_test_setup_teardown(test_directories, make_dir,
		    remove_dir),
		cmocka_unit_test(test_under),
		cmocka_unit_test_setup_teardown(test_kept_directory, make_dir,
		    remove_dir),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_sockets_named),
	};

	log_setup("test_master", false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
