#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sandbox_impl.h"

/*
 * Landlock by its system calls. The header of Debian 12 ends at ABI 2, the
 * kernels do not: what is newer stands here (linux/landlock.h, up to ABI 7).
 * What a kernel does not know is not asked for.
 */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH      1

#define FS_EXECUTE     (1ull << 0)
#define FS_WRITE_FILE  (1ull << 1)
#define FS_READ_FILE   (1ull << 2)
#define FS_READ_DIR    (1ull << 3)
#define FS_REMOVE_DIR  (1ull << 4)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_DIR    (1ull << 7)
#define FS_MAKE_REG    (1ull << 8)
#define FS_ABI_1       ((1ull << 13) - 1)
#define FS_REFER       (1ull << 13) /* ABI 2 */
#define FS_TRUNCATE    (1ull << 14) /* ABI 3 */
#define FS_IOCTL_DEV   (1ull << 15) /* ABI 5 */
#define NET_BIND       1ull         /* ABI 4: bind TCP */
#define NET_CONNECT    2ull         /* ABI 4: connect TCP */
#define SCOPE_ABSTRACT 1ull         /* ABI 6: abstract UNIX sockets */
#define SCOPE_SIGNAL   2ull         /* ABI 6 */

#define READ_RIGHTS  (FS_READ_FILE | FS_READ_DIR)
#define FILE_RIGHTS  (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE)
#define WRITE_RIGHTS                                                           \
	(READ_RIGHTS | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE |        \
	    FS_MAKE_DIR | FS_MAKE_REG | FS_REFER | FS_TRUNCATE)

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct path_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

static uint64_t
known_fs(int abi)
{
	return FS_ABI_1 | (abi >= 2 ? FS_REFER : 0) |
	    (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0);
}

/* Allow `rights' below `path'. What is not there needs no rule. */
static int
allow(int ruleset, const char *path, uint64_t rights)
{
	struct path_attr attr = { .allowed = rights };
	struct stat st;
	int r, saved;

	attr.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (attr.parent_fd == -1) {
		log_debug("landlock: no rule for %s: %s", path,
		    strerror(errno));
		return errno == ENOENT || errno == EACCES ||
		    errno == ENOTDIR ? 0 : -1;
	}
	if (fstat(attr.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
		attr.allowed &= FILE_RIGHTS;
	}
	r = (int)syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH,
	    &attr, 0);
	saved = errno;
	(void)close(attr.parent_fd);
	errno = saved;
	return r;
}

static int
add_rules(int ruleset, const struct sandbox_profile *p,
    const struct sandbox_request *rq, uint64_t known)
{
	size_t i;

	if (p->files == SF_READ_ALL &&
	    allow(ruleset, "/", READ_RIGHTS & known) == -1) {
		return -1;
	}
	for (i = 0; p->files != SF_NONE && i < rq->npaths; i++) {
		if (allow(ruleset, rq->paths[i].path, known &
		    (rq->paths[i].writable ? WRITE_RIGHTS : READ_RIGHTS)) ==
		    -1) {
			return -1;
		}
	}
	return 0;
}

int
sandbox_landlock_abi(void)
{
#ifdef VEREDUS_DEBUG_WALLS
	return 0; /* coverage writes its files wherever it likes */
#else
	long r = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    CREATE_RULESET_VERSION);

	return r > 0 ? (int)r : 0; /* not in this kernel, or switched off */
#endif
}

int
sandbox_landlock_prepare(const struct sandbox_profile *p,
    const struct sandbox_request *rq, int *abi)
{
	struct ruleset_attr attr = { 0, 0, 0 };
	int r = p->files == SF_ALL ? 0 : sandbox_landlock_abi(), ruleset;

	*abi = 0;
	if (r == 0) {
		return -1;
	}
	attr.fs = known_fs(r);
	if ((p->groups & SG_NSS) == 0) { /* account databases are reached by
	                                    any way */
		attr.net = r < 4 ? 0 : (p->groups & SG_CONNECT) != 0 ?
		    NET_BIND : NET_BIND | NET_CONNECT;
		attr.scoped = r >= 6 ? SCOPE_ABSTRACT : 0;
	}
	attr.scoped |= r >= 6 ? SCOPE_SIGNAL : 0;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr,
	    sizeof(attr), 0);
	if (ruleset == -1 || add_rules(ruleset, p, rq, attr.fs) == -1) {
		return -2;
	}
	*abi = r;
	return ruleset;
}

int
sandbox_landlock_restrict(int ruleset)
{
	int r = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
	int saved = errno;

	(void)close(ruleset);
	errno = saved;
	return r;
}
