/*
 * mapentries - keys and values of a map in text: parsed, checked, kept in
 * memory. Behind file: and inline: maps, and what the map compilers write.
 * Pure: no files. Who reads the text bounds its size.
 */
#ifndef COMMON_MAPENTRIES_H
#define COMMON_MAPENTRIES_H

#include <stdbool.h>

#include "common/slice.h"
#include "common/strbuf.h"
#include "common/table.h"

struct mapentries {
	struct strbuf store;
	struct mapentry {
		size_t key, key_n, value, value_n; /* in store */
		unsigned line;
	} *at;
	size_t n, cap;
	struct table index; /* made by mapentries_seal */
};

void mapentries_init(struct mapentries *e);
void mapentries_clear(struct mapentries *e);
/* Copies; the key is kept in lower case. */
void mapentries_add(struct mapentries *e, struct slice key, struct slice value,
    unsigned line);
/*
 * After the last addition: makes it ready to be asked. A key that stands there
 * twice is an error: a line "NAME:LINE: ..." in `errors', and false.
 */
bool mapentries_seal(struct mapentries *e, const char *name,
    struct strbuf *errors);
/* After sealing. */
bool mapentries_find(const struct mapentries *e, struct slice key,
    struct slice *value);
struct slice mapentries_key(const struct mapentries *e, size_t i);
struct slice mapentries_value(const struct mapentries *e, size_t i);

/*
 * Parse the text of a map and seal. False: `errors' has a line for each thing
 * that is wrong ("NAME:LINE: reason").
 */
bool mapentries_parse(struct mapentries *e, struct slice text,
    const char *name, struct strbuf *errors);
/* The same for "{ key=value, key={value, with commas}, { key = value, with
   commas }, ... }". */
bool mapentries_parse_inline(struct mapentries *e, struct slice text,
    const char *name, struct strbuf *errors);

/*
 * Cut the next member off *rest, the inside of "{ ... }": at commas that are
 * not inside braces. White space and one pair of braces around it are taken
 * off. False at the end.
 */
bool mapentries_member(struct slice *rest, struct slice *member);
/* "{ ... }": its inside. False: `text' is not that. */
bool mapentries_braces(struct slice text, struct slice *inside);
/*
 * Split a line into key and value: "key value", "\"a key\" value", "key: value".
 * NULL, or what is wrong. `key' is appended to, unquoted.
 */
const char *mapentries_split(struct slice line, struct strbuf *key,
    struct slice *value);

#endif
