/*
 * The worker's two filters, its parent's and the short one behind it, allow what
 * the one filter of its profile allows: each call with many arguments is put to
 * all three, by a small machine for the filters' instructions.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/sandbox_impl.h"
#include "common/xmalloc.h"
#include "tests/unit/unit.h"

#define CALLS 600

struct filter {
	struct sock_filter *code;
	size_t n;
};

static struct filter
export(scmp_filter_ctx ctx)
{
	const int fd = memfd_create("filter", MFD_CLOEXEC);
	struct filter f;
	struct stat st;

	assert_non_null(ctx);
	assert_int_not_equal(fd, -1);
	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	f.n = (size_t)st.st_size / sizeof(*f.code);
	f.code = xmalloc((size_t)st.st_size);
	assert_int_equal(pread(fd, f.code, (size_t)st.st_size, 0), st.st_size);
	(void)close(fd);
	seccomp_release(ctx);
	return f;
}

static bool
jumps(const struct sock_filter *i, uint32_t acc)
{
	switch (BPF_OP(i->code)) {
	case BPF_JEQ:
		return acc == i->k;
	case BPF_JGT:
		return acc > i->k;
	case BPF_JGE:
		return acc >= i->k;
	case BPF_JSET:
		return (acc & i->k) != 0;
	default:
		fail_msg("a jump that is not known: %#x", i->code);
		return false;
	}
}

/* What the filter answers. */
static uint32_t
answer(const struct filter *f, const struct seccomp_data *d)
{
	uint32_t acc = 0;
	size_t at;

	for (at = 0; at < f->n; at++) {
		const struct sock_filter *i = &f->code[at];

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			assert_true(i->k + sizeof(acc) <= sizeof(*d));
			memcpy(&acc, (const char *)d + i->k, sizeof(acc));
			break;
		case BPF_ALU:
			assert_int_equal(BPF_OP(i->code), BPF_AND);
			acc &= i->k;
			break;
		case BPF_JMP:
			at += BPF_OP(i->code) == BPF_JA ? i->k :
			    jumps(i, acc) ? i->jt : i->jf;
			break;
		case BPF_RET:
			return i->k;
		default:
			fail_msg("not known: %#x", i->code);
		}
	}
	fail_msg("fell off the end");
	return 0;
}

static const uint64_t values[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16,
	37, 1030, 1031, 1033, O_RDONLY | O_CLOEXEC, O_CREAT, O_RDWR, CLONE_VM,
	CLONE_THREAD, CLONE_THREAD | CLONE_NEWNS, CLONE_NEWUSER, 17,
	PR_SET_NAME, PR_SET_DUMPABLE, 0x53564d41, 0x5421, 0x541b, 0x5401,
	0xffffffffu, 0x100000000u, UINT64_MAX, SANDBOX_SELF, 0 /* own pid */ };

static bool
allows(const struct filter *f, const struct seccomp_data *d)
{
	return answer(f, d) == SECCOMP_RET_ALLOW;
}

/* What nobody needs behind the walls, and is refused whatever it asks for. */
static bool
is_stricter(int nr)
{
	return nr == SYS_prctl;
}

static void
compare(const struct filter *whole, const struct filter *outer,
    const struct filter *within, unsigned *allowed, unsigned *narrowed)
{
	struct seccomp_data d = { .arch = seccomp_arch_native() };
	size_t arg, v;
	bool one, two;

	for (d.nr = 0; d.nr < CALLS; d.nr++) {
		for (arg = 0; arg < 6; arg++) {
			for (v = 0; v < NELEMS(values); v++) {
				memset(d.args, 0, sizeof(d.args));
				d.args[arg] = v + 1 < NELEMS(values) ?
				    values[v] : (unsigned)getpid();
				one = allows(whole, &d);
				two = allows(outer, &d) && allows(within, &d);
				if (one != two && !(is_stricter(d.nr) && one)) {
					fail_msg("call %d, argument %zu is "
					    "%#llx: %d, not %d", d.nr, arg,
					    (unsigned long long)d.args[arg],
					    two, one);
				}
				*allowed += two;
				*narrowed += allows(outer, &d) && !two;
			}
		}
	}
}

static void
two_filters_are_as_one(void **state)
{
	const struct sandbox_profile *in = sandbox_profile(IPC_WORKER),
		*out = sandbox_profile(IPC_FORKER);
	struct filter whole, outer, within;
	unsigned allowed = 0, narrowed = 0;
	size_t i;
	int err;

	(void)state;
#ifdef VEREDUS_DEBUG_WALLS
	return; /* the programs have laxer filters, and prepare none */
#endif
	whole = export(sandbox_filter(in, &err));
	outer = export(sandbox_filter(out, &err));
	within = export(sandbox_filter_within(in, out, &err));
	assert_true(within.n * 2 < whole.n); /* what it is for */
	for (i = 0; i < within.n; i++) {
		if (within.code[i].k == SANDBOX_SELF) {
			assert_int_equal(within.code[i].code,
			    BPF_JMP | BPF_JEQ | BPF_K);
			within.code[i].k = (uint32_t)getpid();
		}
	}
	compare(&whole, &outer, &within, &allowed, &narrowed);
	assert_true(allowed > 10000);
	assert_true(narrowed > 5000);
	free(whole.code);
	free(outer.code);
	free(within.code);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_filters_are_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
