/*
 * rows - rows of columns {u8 'u' or 's', slice name, u64 or slice value} as
 * lines of JSON or as a table. Whatever octets a value holds, the output is
 * valid UTF-8 without control characters: in JSON what is not UTF-8 becomes
 * U+FFFD, in a table it and control characters become \xHH.
 */
#ifndef TOOLS_ROWS_H
#define TOOLS_ROWS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/slice.h"
#include "common/strbuf.h"

#define ROWS_COLUMNS_MAX 32

struct row_column {
	struct slice name, text;
	uint64_t number;
	bool is_text;
};

/*
 * Cut the first column off *row. Returns 1 and *col (borrowed), 0 at the end,
 * -1 when the row is broken.
 */
int row_next(struct slice *row, struct row_column *col);

/* Add a column to a row that is made here: for verbs without a server. */
void row_add_u(struct strbuf *row, const char *name, uint64_t value);
void row_add_s(struct strbuf *row, const char *name, struct slice value);

/* Add `s' as a JSON string with its quotes. */
void json_add_string(struct strbuf *out, struct slice s);
/* Add the row as one JSON object and a newline; false: broken, nothing added. */
bool row_add_json(struct strbuf *out, struct slice row);
/* Add `s' as it can stand on a terminal. */
void text_add_printable(struct strbuf *out, struct slice s);

/*
 * Rows on their way out. As a table the first ROWS_WIDTH_SAMPLE rows decide the
 * width of the columns; names of columns come from the first row. Columns
 * whose names begin with "_" are for JSON and other programs: the table leaves
 * them out, JSON drops the "_".
 */
#define ROWS_WIDTH_SAMPLE 256

struct rows_out {
	FILE *to;
	bool json;
	bool broken;         /* a row could not be read: it was left out */
	size_t count;
	struct strbuf held;  /* rows that wait for the widths: u32 length, row */
	size_t nheld;
	size_t ncolumns, width[ROWS_COLUMNS_MAX];
	bool numeric[ROWS_COLUMNS_MAX];
	bool started;        /* the widths are fixed, the header is out */
	struct strbuf line, cell; /* kept between rows */
};

void rows_begin(struct rows_out *o, FILE *to, bool json);
void rows_put(struct rows_out *o, struct slice row);
/* Writes what is held; false when writing failed. */
bool rows_end(struct rows_out *o);

#endif
