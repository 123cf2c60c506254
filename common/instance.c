#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/instance.h"
#include "common/sandbox.h"
#include "common/xmalloc.h"

enum owner { OWNER_ROOT, OWNER_ADMIN, OWNER_QUEUE };

static const struct dir_row {
	size_t base;      /* offset of the setting */
	const char *below;
	mode_t mode;
	enum owner owner;
	const char *purpose;
} rows[] = {
#define AT(setting) offsetof(struct settings, setting)
	{ AT(queue_directory), "", 0755, OWNER_ROOT, "the spool" },
	{ AT(queue_directory), "/queue", 0700, OWNER_QUEUE, "queued mail" },
	{ AT(queue_directory), "/journal", 0700, OWNER_QUEUE,
	    "mail that has no file yet" },
	/* Anyone may put a message in, nobody may look; its group lets
	   cleanup read what the caller's sendmail wrote. */
	{ AT(queue_directory), "/drop", 03733, OWNER_QUEUE,
	    "mail that sendmail left" },
	{ AT(empty_directory), "", 0755, OWNER_ROOT, "an empty root" },
	{ AT(runtime_directory), "", 0755, OWNER_ROOT, "sockets" },
	{ AT(runtime_directory), "/public", 0755, OWNER_ROOT,
	    "sockets for everyone" },
	{ AT(runtime_directory), "/admin", 0750, OWNER_ADMIN,
	    "sockets for administrators" },
#undef AT
};
_Static_assert(NELEMS(rows) == INSTANCE_DIRS, "a row per directory");

bool
instance_group(const char *group, gid_t *gid)
{
	const struct group *gr;
	uint64_t n;

	if (slice_number(slice_of(group), UINT32_MAX - 1, &n)) {
		*gid = (gid_t)n;
		return true;
	}
	gr = getgrnam(group);
	if (gr == NULL) {
		return false;
	}
	*gid = gr->gr_gid;
	return true;
}

/* uid and gid of an owner; false: `why'. */
static bool
find_owner(const struct settings *s, enum owner o, uid_t *uid, gid_t *gid,
    struct strbuf *why)
{
	const char *user = o == OWNER_QUEUE ? s->queue_user : s->root_user;

	if (sandbox_account(user, uid, gid) == -1) {
		(void)strbuf_printf(why, "%s: there is no account \"%s\"\n",
		    o == OWNER_QUEUE ? "queue_user" : "root_user", user);
		return false;
	}
	if (o == OWNER_ADMIN && !instance_group(s->admin_group, gid)) {
		(void)strbuf_printf(why, "admin_group: there is no group "
		    "\"%s\"\n", s->admin_group);
		return false;
	}
	return true;
}

static const char *
setting_at(const struct settings *s, size_t offset)
{
	const char *const *field = (const void *)((const char *)s + offset);

	return *field;
}

bool
instance_dirs(const struct settings *s, bool as_root,
    struct instance_dir out[INSTANCE_DIRS], struct strbuf *why)
{
	struct strbuf path;
	bool ok = true;
	size_t i;

	for (i = 0; i < INSTANCE_DIRS; i++) {
		strbuf_init(&path, 0);
		(void)strbuf_printf(&path, "%s%s",
		    setting_at(s, rows[i].base), rows[i].below);
		out[i] = (struct instance_dir){ .path = strbuf_take(&path),
			.top = rows[i].below[0] == '\0',
			.mode = rows[i].mode, .purpose = rows[i].purpose,
			.uid = geteuid(), .gid = getegid() };
		if (as_root && ok) {
			ok = find_owner(s, rows[i].owner, &out[i].uid,
			    &out[i].gid, why);
		}
	}
	return ok;
}

void
instance_dirs_clear(struct instance_dir dirs[INSTANCE_DIRS])
{
	size_t i;

	for (i = 0; i < INSTANCE_DIRS; i++) {
		free(dirs[i].path);
		dirs[i].path = NULL;
	}
}

/* -- looking ---------------------------------------------------------------- */

/* What is wrong with a directory that is there; NULL: nothing. */
static const char *
find_fault(const struct instance_dir *d, const struct stat *st)
{
	if (!S_ISDIR(st->st_mode)) {
		return "it is not a directory";
	}
	if (d->top) {
		if (st->st_uid != 0 && st->st_uid != d->uid) {
			return "it belongs to someone else";
		}
		return (st->st_mode & 022) != 0 ?
		    "others may write into it" : NULL;
	}
	if (st->st_uid != d->uid || (st->st_gid != d->gid && geteuid() == 0)) {
		return "it has the wrong owner or group";
	}
	return (st->st_mode & 07777) != d->mode ? "it has the wrong mode" :
	    NULL;
}

static void
say(struct strbuf *why, const struct instance_dir *d, const char *what)
{
	(void)strbuf_printf(why, "%s (%s): %s\n", d->path, d->purpose, what);
}

enum instance_judged
instance_dir_judge(const struct instance_dir *d, struct strbuf *why)
{
	const char *fault;
	struct stat st;

	if ((d->top ? stat(d->path, &st) : lstat(d->path, &st)) == -1) {
		if (errno == ENOENT) {
			return INSTANCE_MISSING;
		}
		say(why, d, strerror(errno));
		return INSTANCE_WRONG;
	}
	fault = find_fault(d, &st);
	if (fault == NULL) {
		return INSTANCE_GOOD;
	}
	say(why, d, fault);
	return d->top || !S_ISDIR(st.st_mode) ? INSTANCE_WRONG :
	    INSTANCE_REPAIRED;
}

/* -- making ----------------------------------------------------------------- */

/* mkdir -p: parents that are missing become 0755. */
static int
make_with_parents(const char *path, mode_t mode)
{
	char *copy = xstrdup(path), *slash = copy;
	int r = 0, saved;

	while (r == 0 && (slash = strchr(slash + 1, '/')) != NULL) {
		*slash = '\0';
		if (mkdir(copy, 0755) == 0) {
			r = chmod(copy, 0755); /* whatever the umask says */
		} else if (errno != EEXIST) {
			r = -1;
		}
		*slash = '/';
	}
	if (r == 0) {
		r = mkdir(path, mode & 0777);
	}
	saved = errno;
	free(copy);
	errno = saved;
	return r;
}

/* Owner and mode by descriptor, so that no name can be exchanged. */
static bool
set_right(const struct instance_dir *d, struct strbuf *why)
{
	int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	bool ok = fd != -1;

	if (ok && geteuid() == 0) {
		ok = fchown(fd, d->uid, d->gid) == 0;
	}
	ok = ok && fchmod(fd, d->mode) == 0;
	if (!ok) {
		say(why, d, strerror(errno));
	}
	if (fd != -1) {
		(void)close(fd);
	}
	return ok;
}

bool
instance_dir_make(const struct instance_dir *d, struct strbuf *why)
{
	struct strbuf found;
	bool ok = false;

	strbuf_init(&found, 0);
	switch (instance_dir_judge(d, &found)) {
	case INSTANCE_GOOD:
		ok = true;
		break;
	case INSTANCE_MISSING:
		if (make_with_parents(d->path, d->mode) == -1) {
			say(why, d, strerror(errno));
		} else {
			ok = set_right(d, why);
		}
		break;
	case INSTANCE_REPAIRED:
		ok = set_right(d, why);
		break;
	case INSTANCE_WRONG:
		(void)strbuf_add_slice(why, strbuf_slice(&found));
		break;
	}
	strbuf_clear(&found);
	return ok;
}

bool
instance_accounts(const struct settings *s, struct strbuf *why)
{
	const struct {
		const char *setting, *user;
	} accounts[] = {
		{ "log_user", s->log_user },
		{ "users_user", s->users_user },
		{ "queue_user", s->queue_user },
		{ "qmgr_user", s->qmgr_user },
		{ "local_user", s->local_user },
		{ "smtpd_user", s->smtpd_user },
		{ "default_privs", s->default_privs },
	};
	unsigned uid, gid;
	bool ok = true;
	size_t i;

	for (i = 0; i < NELEMS(accounts); i++) {
		if (sandbox_account(accounts[i].user, &uid, &gid) == -1) {
			(void)strbuf_printf(why,
			    "%s: there is no account \"%s\"\n",
			    accounts[i].setting, accounts[i].user);
			ok = false;
		} else if (uid == 0) {
			(void)strbuf_printf(why, "%s: %s is root: no program "
			    "may be\n", accounts[i].setting, accounts[i].user);
			ok = false;
		}
	}
	return ok;
}
