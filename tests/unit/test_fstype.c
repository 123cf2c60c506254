/* What kind of file system is a place for mail: the numbers of statfs(2). */
#include "config.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <unistd.h>

#include "common/fstype.h"
#include "tests/unit/unit.h"

static void
test_magic_numbers(void **state)
{
	static const struct {
		uint64_t magic;
		enum fstype_verdict want;
		const char *name;
	} rows[] = {
		{ NFS_SUPER_MAGIC, FSTYPE_REMOTE, "NFS" },
		{ CIFS_SUPER_MAGIC, FSTYPE_REMOTE, "CIFS" },
		/* f_type is signed: above 31 bits it comes extended */
		{ (uint64_t)(int32_t)0xff534d42, FSTYPE_REMOTE, "CIFS" },
		{ SMB2_SUPER_MAGIC, FSTYPE_REMOTE, "SMB" },
		{ SMB_SUPER_MAGIC, FSTYPE_REMOTE, "SMB" },
		{ V9FS_MAGIC, FSTYPE_REMOTE, "9p" },
		{ AFS_SUPER_MAGIC, FSTYPE_REMOTE, "AFS" },
		{ AFS_FS_MAGIC, FSTYPE_REMOTE, "AFS" },
		{ CODA_SUPER_MAGIC, FSTYPE_REMOTE, "Coda" },
		{ CEPH_SUPER_MAGIC, FSTYPE_REMOTE, "Ceph" },
		{ FUSE_SUPER_MAGIC, FSTYPE_UNSURE, "FUSE" },
		{ TMPFS_MAGIC, FSTYPE_MEMORY, "tmpfs" },
		{ RAMFS_MAGIC, FSTYPE_MEMORY, "ramfs" },
		{ EXT4_SUPER_MAGIC, FSTYPE_GOOD, "ext4" },
		{ XFS_SUPER_MAGIC, FSTYPE_GOOD, "XFS" },
		{ BTRFS_SUPER_MAGIC, FSTYPE_GOOD, "btrfs" },
		{ OVERLAYFS_SUPER_MAGIC, FSTYPE_GOOD, "" },
		{ 0x12345678, FSTYPE_GOOD, "" },
		{ 0, FSTYPE_GOOD, "" },
	};
	const char *name;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		if (fstype_judge(rows[i].magic, &name) != rows[i].want) {
			fail_msg("row %zu: %s", i, rows[i].name);
		}
		assert_string_equal(name, rows[i].name);
	}
}

static void
test_of_a_descriptor(void **state)
{
	const char *name = NULL;
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_int_equal(fstype_of(fd, &name), FSTYPE_GOOD);
	(void)close(fd);
	assert_int_equal(fstype_of(-1, &name), FSTYPE_GOOD);
	assert_string_equal(name, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_magic_numbers),
		cmocka_unit_test(test_of_a_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
