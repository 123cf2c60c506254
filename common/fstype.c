#include "config.h"

#include <sys/vfs.h>

#include "common/fstype.h"
#include "common/slice.h"

/* linux/magic.h and the file systems' own sources */
static const struct {
	uint64_t magic;
	enum fstype_verdict verdict;
	const char *name;
} types[] = {
	{ 0x6969, FSTYPE_REMOTE, "NFS" },
	{ 0xff534d42, FSTYPE_REMOTE, "CIFS" },
	{ 0xfe534d42, FSTYPE_REMOTE, "SMB" },
	{ 0x517b, FSTYPE_REMOTE, "SMB" },
	{ 0x01021997, FSTYPE_REMOTE, "9p" },
	{ 0x5346414f, FSTYPE_REMOTE, "AFS" },
	{ 0x6b414653, FSTYPE_REMOTE, "AFS" },
	{ 0x73757245, FSTYPE_REMOTE, "Coda" },
	{ 0x00c36400, FSTYPE_REMOTE, "Ceph" },
	{ 0x0bd00bd0, FSTYPE_REMOTE, "Lustre" },
	{ 0x013111a8, FSTYPE_REMOTE, "IBRIX" },
	{ 0x47504653, FSTYPE_REMOTE, "GPFS" },
	{ 0x564c, FSTYPE_REMOTE, "NCP" },
	{ 0x19830326, FSTYPE_REMOTE, "BeeGFS" },
	{ 0x20030528, FSTYPE_REMOTE, "OrangeFS" },
	{ 0xaad7aaea, FSTYPE_REMOTE, "PanFS" },
	{ 0x786f4256, FSTYPE_REMOTE, "vboxsf" },
	{ 0x65735546, FSTYPE_UNSURE, "FUSE" },
	{ 0x01021994, FSTYPE_MEMORY, "tmpfs" },
	{ 0x858458f6, FSTYPE_MEMORY, "ramfs" },
	{ 0xef53, FSTYPE_GOOD, "ext4" },
	{ 0x58465342, FSTYPE_GOOD, "XFS" },
	{ 0x9123683e, FSTYPE_GOOD, "btrfs" },
};

enum fstype_verdict
fstype_judge(uint64_t magic, const char **name)
{
	size_t i;

	for (i = 0; i < NELEMS(types); i++) {
		/* f_type is signed, and 32 bits wide on some */
		if (types[i].magic == (magic & UINT32_MAX)) {
			*name = types[i].name;
			return types[i].verdict;
		}
	}
	*name = "";
	return FSTYPE_GOOD;
}

enum fstype_verdict
fstype_of(int fd, const char **name)
{
	struct statfs st;

	*name = "";
	if (fstatfs(fd, &st) == -1) {
		return FSTYPE_GOOD;
	}
	return fstype_judge((uint64_t)st.f_type, name);
}
