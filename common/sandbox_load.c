#include "config.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/sandbox_impl.h"
#include "common/xmalloc.h"

/*
 * Loading a filter: one that libseccomp makes and loads, or the instructions of
 * one that it made beforehand.
 */

/* -- a filter made beforehand ------------------------------------------------ */

/* For one profile: the forker has one kind of children. */
static struct {
	const struct sandbox_profile *profile; /* NULL: none is made */
	struct sock_fprog code;                /* stays */
} ready;

/* The instructions, read back from the file that libseccomp wrote them to. */
static int
take_code(int fd)
{
	struct stat st;
	ssize_t n = -1;

	if (fstat(fd, &st) == 0) {
		ready.code.len = (unsigned short)((size_t)st.st_size /
		    sizeof(*ready.code.filter));
		ready.code.filter = xmalloc((size_t)st.st_size);
		n = pread(fd, ready.code.filter, (size_t)st.st_size, 0);
	}
	return n != -1 && n == st.st_size ? 0 : -EIO;
}

int
sandbox_seccomp_prepare(const struct sandbox_profile *p)
{
	int r, fd = memfd_create("filter", MFD_CLOEXEC);
	scmp_filter_ctx ctx = sandbox_filter(p, true, &r);

	if (ctx != NULL && fd != -1) {
		r = seccomp_export_bpf(ctx, fd);
		r = r == 0 ? take_code(fd) : r;
	}
	if (ctx != NULL) {
		seccomp_release(ctx);
	}
	if (fd == -1) {
		return -errno;
	}
	(void)close(fd);
	if (r == 0) {
		ready.profile = p;
	}
	return r;
}

static int
load_code(const struct sock_fprog *code)
{
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	    SECCOMP_FILTER_FLAG_LOG, code);

	if (r == -1 && errno == EINVAL) { /* an old kernel logs nothing */
		r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, code);
	}
	return r == -1 ? -errno : 0;
}

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LOW_HALF 4u
#else
#define LOW_HALF 0u
#endif
#define DATA(field) (uint32_t)offsetof(struct seccomp_data, field)

/* No tgkill() but to this process. The other filter sees to the rest, and to
   calls of another architecture: the stricter answer counts. */
static int
load_own_signals(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA(args) + LOW_HALF),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)getpid(), 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { NELEMS(code), code };

	return load_code(&prog);
}

int
sandbox_seccomp(const struct sandbox_profile *p)
{
	scmp_filter_ctx ctx;
	int r;

	if (ready.profile == p) {
		/* In this order: behind the other there is no seccomp(). */
		r = load_own_signals();
		return r == 0 ? load_code(&ready.code) : r;
	}
	ctx = sandbox_filter(p, false, &r);
	if (ctx == NULL) {
		return r;
	}
	r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}
