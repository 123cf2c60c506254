/* memrchr() is GNU's; AC_USE_SYSTEM_EXTENSIONS shows it. */
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
#define LOOKUP_PIECE   8192          /* octets of a file that is searched */

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

/* Is it an entry of this name? Cheap for the many that are not. */
static bool
is_entry(struct slice line, struct slice name, struct account_line *out)
{
	return line.n > name.n && line.p[name.n] == ':' &&
	    memcmp(line.p, name.p, name.n) == 0 &&
	    account_parse_line(line, out);
}

bool
account_find(struct slice text, struct slice name, struct account_line *out)
{
	struct slice line;
	size_t n;

	while (text.n > 0) {
		n = slice_find(text, '\n');
		line = slice_make(text.p, n);
		n += n < text.n;
		text = slice_make(text.p + n, text.n - n);
		if (is_entry(line, name, out)) {
			return true;
		}
	}
	return false;
}

/* -- a file ------------------------------------------------------------------- */

/* A regular file and nothing else: -1 with errno. */
static int
open_file(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
	    O_NOCTTY);
	struct stat st;

	if (fd != -1 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		(void)close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}

/* At most `piece' octets more; 0 at the end, -1 with errno. */
static ssize_t
read_piece(int fd, struct strbuf *text, size_t piece)
{
	ssize_t r;

	do {
		r = read(fd, strbuf_room(text, piece), piece);
	} while (r == -1 && errno == EINTR);
	if (r > 0) {
		strbuf_filled(text, (size_t)r);
	}
	return r;
}

static void
close_quietly(int fd)
{
	int saved = errno;

	(void)close(fd);
	errno = saved;
}

int
account_read_file(int dirfd, const char *path, struct strbuf *text)
{
	int fd = open_file(dirfd, path);
	ssize_t r;

	if (fd == -1) {
		return -1;
	}
	do {
		r = read_piece(fd, text, 65536);
	} while (r > 0 && text->n <= ACCOUNT_FILE_MAX);
	if (r > 0) {
		errno = EFBIG;
		r = -1;
	}
	close_quietly(fd);
	return r == 0 ? 0 : -1;
}

/* In the whole lines of `text', which are dropped. Its last `fresh' octets have
   not been looked at yet; at the end of the file, 0, all of it is lines. */
static bool
find_in_piece(struct strbuf *text, size_t fresh, struct slice name,
    struct account *a)
{
	struct slice lines = strbuf_slice(text);
	struct account_line l;
	const char *last;

	if (fresh > 0) {
		last = memrchr(lines.p + lines.n - fresh, '\n', fresh);
		lines.n = last == NULL ? 0 : (size_t)(last - lines.p) + 1;
	}
	if (account_find(lines, name, &l)) {
		*a = (struct account){ l.uid, l.gid, xslicedup(l.home) };
		return true;
	}
	strbuf_consume(text, lines.n);
	return false;
}

/*
 * Each worker begins with this, and most of what it costs is memory that is
 * touched first: read by small pieces into the same room.
 */
static enum account_result
lookup_fd(int fd, struct slice name, struct account *a)
{
	enum account_result found = ACCOUNT_NONE;
	struct strbuf text;
	size_t sum = 0;
	ssize_t r;

	strbuf_init(&text, 0);
	do {
		r = read_piece(fd, &text, LOOKUP_PIECE);
		sum += r > 0 ? (size_t)r : 0;
		if (r == -1) {
			found = ACCOUNT_TEMP;
		} else if (find_in_piece(&text, (size_t)r, name, a)) {
			found = ACCOUNT_FOUND;
		} else if (sum > ACCOUNT_FILE_MAX) {
			errno = EFBIG;
			found = ACCOUNT_TEMP;
		}
	} while (r > 0 && found == ACCOUNT_NONE);
	strbuf_clear(&text);
	return found;
}

static enum account_result
lookup_file(const char *path, struct slice name, struct account *a,
    struct strbuf *why)
{
	int fd = open_file(AT_FDCWD, path);
	enum account_result r = fd == -1 ? ACCOUNT_TEMP :
	    lookup_fd(fd, name, a);

	if (r == ACCOUNT_TEMP) {
		(void)strbuf_printf(why, "%s: %s", path, strerror(errno));
	}
	if (fd != -1) {
		close_quietly(fd);
	}
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
