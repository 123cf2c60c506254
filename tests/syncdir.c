/*
 * syncdir DIR - a name in a directory, and the file system dies before the
 * directory is flushed: prints what io_fsync() says then. For
 * tests/e2e/test_power.py.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/io.h"

/* FS_IOC_SHUTDOWN, and its flag for "nothing that is not flushed" */
#define SHUTDOWN   _IOR('X', 125, uint32_t)
#define NOLOGFLUSH 2u

int
main(int argc, char **argv)
{
	uint32_t how = NOLOGFLUSH;
	int dir, fd;

	dir = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;
	if (dir == -1 || fsync(dir) == -1) {
		return 2;
	}
	fd = io_openat("syncdir.open", dir, ".a", O_WRONLY | O_CREAT, 0600);
	if (fd == -1 || io_write("syncdir.write", fd, "x", 1) == -1 ||
	    io_fdatasync("syncdir.sync", fd) == -1 ||
	    io_renameat("syncdir.rename", dir, ".a", dir, "a") == -1 ||
	    ioctl(dir, SHUTDOWN, &how) == -1) {
		return 2;
	}
	(void)printf("%s\n", io_fsync("syncdir.dir.sync", dir) == -1 ?
	    strerror(errno) : "durable");
	return 0;
}
