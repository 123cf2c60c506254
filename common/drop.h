/*
 * drop - the file that sendmail(8) leaves when nobody answers the submit
 * socket, and that cleanup picks up. Pure: memory in, memory out.
 *
 * Where: queue_directory/drop, mode 3733: everybody may leave files, only
 * cleanup may list them. The writer: a hidden temporary name (drop_temp_name),
 * mode 0640, all octets, renamed to a hard-to-guess name (drop_name), syncfs,
 * and only then exit code 0. The file's owner is the sender.
 *
 * Format, version 1, numbers little-endian:
 *   "VRDSD\0\0\1"
 *   u32 octets of the head that follow, then the head:
 *     u32 flags (DROP_*), slice reverse-path, u32 count, slice forward-path ...
 *   the content: CRLF lines as they would go on the wire, not dot-stuffed
 *   u64 octets of the whole file, u32 CRC-32C of all octets before this field
 * A slice is a u32 length and the octets. Whoever may write here is hostile:
 * drop_decode() checks every length, and that no path has a control octet.
 */
#ifndef COMMON_DROP_H
#define COMMON_DROP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/envelope.h"
#include "common/slice.h"
#include "common/strbuf.h"

#define DROP_DIRECTORY "drop"
#define DROP_RCPT_MAX  10000             /* recipients of one file */
#define DROP_HEAD_MAX  (4 * 1024 * 1024) /* octets of the head */
#define DROP_TAIL      12                /* octets after the content */
#define DROP_RANDOM    16                /* random octets of a name */
#define DROP_NAME_MAX  64                /* room for a name and a NUL */

enum {
	DROP_SENDER_GIVEN = 1 << 0,  /* -f: the reverse-path is the user's wish;
	                                else it is to be made from the owner */
	DROP_8BITMIME = 1 << 1,      /* -B8BITMIME */
	DROP_8BIT = 1 << 2,          /* as CONTENT_8BIT ... */
	DROP_DOT_LINES = 1 << 3,
	DROP_LONG_LINES = 1 << 4,
};
#define DROP_FLAGS 0x1fu

/* What stands before the content. The slices borrow. */
struct drop_head {
	uint32_t flags;
	struct slice reverse_path; /* without <>; "" is the null reverse-path */
	struct slice rcpts;        /* encoded: drop_rcpt_add, drop_rcpt_next */
	uint32_t nrcpts;
};

/* -- the writer ------------------------------------------------------------- */

/* Append a forward-path (without <>) to `rcpts'; the caller counts. False when
   it is empty, longer than ENVELOPE_PATH_MAX, or has a control octet. */
bool drop_rcpt_add(struct strbuf *rcpts, struct slice forward_path);
/* Append magic and head. False, `out' untouched, when a bound is exceeded. */
bool drop_head_encode(const struct drop_head *h, struct strbuf *out);
/* Append the tail: `octets' and `crc' (common/crc32c.h) are those of all that
   was written before, from the magic to the end of the content. */
void drop_tail_encode(uint64_t octets, uint32_t crc, struct strbuf *out);
/* Names from DROP_RANDOM random octets: the temporary one, the final one. */
void drop_temp_name(const unsigned char random[DROP_RANDOM],
    char out[DROP_NAME_MAX]);
void drop_name(const unsigned char random[DROP_RANDOM],
    char out[DROP_NAME_MAX]);

/* -- the reader ------------------------------------------------------------- */

/* A final name; others in the directory are none of the reader's. */
bool drop_name_is(struct slice name);
/*
 * Parse a whole file. Returns NULL and fills *h and *content, which borrow from
 * `file'; or says what is wrong.
 */
const char *drop_decode(struct slice file, struct drop_head *h,
    struct slice *content);
/* The next forward-path of a decoded head's rcpts; false at the end. */
bool drop_rcpt_next(struct slice *rcpts, struct slice *forward_path);

#endif
