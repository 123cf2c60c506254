#include "config.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
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
	const struct sandbox_profile *inner, *outer; /* NULL: none is made */
	struct sock_fprog code;                      /* stays */
} ready;
/* Whose filter this process has. */
static const struct sandbox_profile *loaded;

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
sandbox_seccomp_prepare(const struct sandbox_profile *inner,
    const struct sandbox_profile *outer)
{
	int r, fd = memfd_create("filter", MFD_CLOEXEC);
	scmp_filter_ctx ctx = sandbox_filter_within(inner, outer, &r);

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
		ready.inner = inner;
		ready.outer = outer;
	}
	return r;
}

bool
sandbox_seccomp_ready(const struct sandbox_profile *p)
{
	return ready.inner == p && loaded != NULL && loaded == ready.outer;
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

/* This process's number, where the code asks for it. */
static void
set_self(struct sock_fprog *code)
{
	struct sock_filter *f = code->filter, *end = f + code->len;

	for (; f < end; f++) {
		if (f->code == (BPF_JMP | BPF_JEQ | BPF_K) &&
		    f->k == SANDBOX_SELF) {
			f->k = (uint32_t)getpid();
		}
	}
}

static int
load(const struct sandbox_profile *p)
{
	scmp_filter_ctx ctx;
	int r;

	if (sandbox_seccomp_ready(p)) {
		set_self(&ready.code);
		return load_code(&ready.code);
	}
	ctx = sandbox_filter(p, &r);
	if (ctx == NULL) {
		return r;
	}
	r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

int
sandbox_seccomp(const struct sandbox_profile *p)
{
	const int r = load(p);

	loaded = r == 0 ? p : NULL;
	return r;
}
