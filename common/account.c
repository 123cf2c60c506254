#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/account.h"
#include "common/xmalloc.h"

#define NSS_BUFFER_MAX (1024 * 1024) /* octets of one entry; more is an error */

void
account_clear(struct account *a)
{
	free(a->home);
	a->home = NULL;
}

/* -- passwd(5) ---------------------------------------------------------------- */

static struct slice
cut_field(struct slice *rest)
{
	size_t n = slice_find(*rest, ':');
	struct slice f = slice_make(rest->p, n);
	size_t used = n < rest->n ? n + 1 : n;

	*rest = slice_make(rest->p + used, rest->n - used);
	return f;
}

bool
account_parse_line(struct slice line, struct account_line *out)
{
	struct slice f[7];
	uint64_t uid, gid;
	size_t i, colons = 0;

	for (i = 0; i < line.n; i++) {
		colons += line.p[i] == ':';
	}
	if (colons != NELEMS(f) - 1 || line.p[0] == '#') {
		return false;
	}
	for (i = 0; i < NELEMS(f); i++) {
		f[i] = cut_field(&line);
	}
	if (f[0].n == 0 || f[0].n > ACCOUNT_NAME_MAX ||
	    !slice_number(f[2], UINT32_MAX - 1, &uid) ||
	    !slice_number(f[3], UINT32_MAX - 1, &gid) || f[5].n == 0 ||
	    f[5].n > ACCOUNT_HOME_MAX || f[5].p[0] != '/' ||
	    slice_find(f[5], '\0') < f[5].n) {
		return false;
	}
	*out = (struct account_line){ .name = f[0], .home = f[5],
		.uid = (uid_t)uid, .gid = (gid_t)gid };
	return true;
}

bool
account_find(struct slice text, struct slice name, struct account_line *out)
{
	struct account_line l;
	struct slice line;
	size_t n;

	while (text.n > 0) {
		n = slice_find(text, '\n');
		line = slice_make(text.p, n);
		n += n < text.n;
		text = slice_make(text.p + n, text.n - n);
		if (account_parse_line(line, &l) && slice_eq(l.name, name)) {
			*out = l;
			return true;
		}
	}
	return false;
}

/* -- a file ------------------------------------------------------------------- */

int
account_read_file(int dirfd, const char *path, struct strbuf *text)
{
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
	    O_NOCTTY);
	struct stat st;
	ssize_t r = -1;
	int saved;

	if (fd == -1) {
		return -1;
	}
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		errno = EINVAL;
	} else {
		do {
			r = read(fd, strbuf_room(text, 65536), 65536);
			if (r > 0) {
				strbuf_filled(text, (size_t)r);
			}
		} while ((r > 0 && text->n <= ACCOUNT_FILE_MAX) ||
		    (r == -1 && errno == EINTR));
		if (r > 0) {
			errno = EFBIG;
			r = -1;
		}
	}
	saved = errno;
	(void)close(fd);
	errno = saved;
	return r == 0 ? 0 : -1;
}

static enum account_result
lookup_file(const char *path, struct slice name, struct account *a,
    struct strbuf *why)
{
	enum account_result r = ACCOUNT_TEMP;
	struct account_line l;
	struct strbuf text;

	strbuf_init(&text, 0);
	if (account_read_file(AT_FDCWD, path, &text) == -1) {
		(void)strbuf_printf(why, "%s: %s", path, strerror(errno));
	} else if (!account_find(strbuf_slice(&text), name, &l)) {
		r = ACCOUNT_NONE;
	} else {
		*a = (struct account){ l.uid, l.gid, xslicedup(l.home) };
		r = ACCOUNT_FOUND;
	}
	strbuf_clear(&text);
	return r;
}

/* -- nss ---------------------------------------------------------------------- */

/* getpwnam_r() with a buffer that is large enough. */
static int
get_entry(const char *name, struct passwd *pw, char **buf, struct passwd **res)
{
	size_t n = 4096;
	int error;

	for (;;) {
		*buf = xrealloc(*buf, n);
		error = getpwnam_r(name, pw, *buf, n, res);
		if (error == EINTR) {
			continue;
		}
		if (error != ERANGE || n >= NSS_BUFFER_MAX) {
			return error;
		}
		n *= 2;
	}
}

static enum account_result
lookup_nss(struct slice name, struct account *a, struct strbuf *why)
{
	char text[ACCOUNT_NAME_MAX + 1] = "", *buf = NULL;
	enum account_result r = ACCOUNT_TEMP;
	struct passwd pw, *res = NULL;
	int error;

	memcpy(text, name.p, name.n);
	error = get_entry(text, &pw, &buf, &res);
	if (error == 0 && res == NULL) {
		r = ACCOUNT_NONE;
	} else if (error != 0) {
		/* POSIX leaves it open whether "not found" is an error; with
		   glibc it is none, whatever the backend says. */
		(void)strbuf_printf(why, "account database: %s",
		    strerror(error));
	} else if (pw.pw_dir == NULL || pw.pw_dir[0] != '/') {
		(void)strbuf_printf(why, "%s has no home directory", text);
	} else {
		*a = (struct account){ pw.pw_uid, pw.pw_gid,
			xstrdup(pw.pw_dir) };
		r = ACCOUNT_FOUND;
	}
	free(buf);
	return r;
}

enum account_result
account_lookup(const char *source, struct slice name, struct account *a,
    struct strbuf *why)
{
	if (name.n == 0 || name.n > ACCOUNT_NAME_MAX ||
	    slice_find(name, '\0') < name.n || slice_find(name, ':') < name.n) {
		return ACCOUNT_NONE;
	}
	if (strcmp(source, "nss") == 0) {
		return lookup_nss(name, a, why);
	}
	if (strncmp(source, "file:", 5) == 0) {
		return lookup_file(source + 5, name, a, why);
	}
	(void)strbuf_printf(why, "local_users: neither nss nor file:PATH");
	return ACCOUNT_TEMP;
}
