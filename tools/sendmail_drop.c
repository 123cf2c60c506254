#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/io.h"
#include "tools/sendmail_drop.h"

/* The file's octets but for the message go through one buffer each. */
static int
write_parts(int fd, struct slice head, struct slice message)
{
	struct strbuf tail;
	int ret = -1;

	strbuf_init(&tail, 0);
	drop_tail_encode(head.n + message.n,
	    crc32c(crc32c(0, head.p, head.n), message.p, message.n), &tail);
	if (io_write("sendmail.drop.write", fd, head.p, head.n) == 0 &&
	    io_write("sendmail.drop.write", fd, message.p, message.n) == 0 &&
	    io_write("sendmail.drop.write", fd, tail.p, tail.n) == 0) {
		ret = 0;
	}
	strbuf_clear(&tail);
	return ret;
}

static int
write_file(int dirfd, const char *temp, const char *name, struct slice head,
    struct slice message)
{
	int fd, saved, ret = -1;

	fd = io_openat("sendmail.drop.create", dirfd, temp,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd == -1) {
		return -1;
	}
	/* The umask may have taken the group's bit; the owner's is ours. */
	if (fchmod(fd, 0640) == 0 && write_parts(fd, head, message) == 0 &&
	    io_renameat("sendmail.drop.rename", dirfd, temp, dirfd, name) == 0) {
		/* syncfs() makes data and rename durable with one call, and
		   works where the directory may not be opened for reading. */
		ret = io_syncfs("sendmail.drop.syncfs", fd);
		temp = name;
	}
	saved = errno;
	(void)close(fd);
	if (ret == -1) {
		(void)io_unlinkat("sendmail.drop.unlink", dirfd, temp, 0);
	}
	errno = saved;
	return ret;
}

int
sendmail_drop(const char *directory, const struct drop_head *head,
    struct slice message)
{
	unsigned char random[DROP_RANDOM];
	char temp[DROP_NAME_MAX], name[DROP_NAME_MAX];
	struct strbuf b;
	int dirfd, saved, ret = -1;

	dirfd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd == -1) {
		return -1;
	}
	strbuf_init(&b, 0);
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		errno = EIO;
	} else if (!drop_head_encode(head, &b)) {
		errno = E2BIG;
	} else {
		drop_temp_name(random, temp);
		drop_name(random, name);
		ret = write_file(dirfd, temp, name, strbuf_slice(&b), message);
	}
	saved = errno;
	strbuf_clear(&b);
	(void)close(dirfd);
	errno = saved;
	return ret;
}
