/*
 * table - from octets to a number: open addressing, made to be filled once and
 * asked often. Keys are borrowed and must outlive the table. Not for keys that
 * a peer can choose in any number: who fills it bounds it.
 */
#ifndef COMMON_TABLE_H
#define COMMON_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

struct table {
	struct table_slot {
		struct slice key;
		uint32_t hash, value;
		bool used;
	} *slots;
	uint32_t used, cap;
};

/* All zeros is an empty table as well. */
void table_init(struct table *t);
void table_clear(struct table *t);
/* False: no such key, *value untouched. */
bool table_get(const struct table *t, struct slice key, uint32_t *value);
/* False: the key is there already, and keeps its value. */
bool table_add(struct table *t, struct slice key, uint32_t value);

#endif
