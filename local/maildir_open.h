/*
 * maildir_open - the inside of maildir: its directories, and what is there
 * from before. Only for maildir.c.
 */
#ifndef LOCAL_MAILDIR_OPEN_H
#define LOCAL_MAILDIR_OPEN_H

#include "local/maildir.h"

enum maildir_place {
	MAILDIR_AT_NONE,
	MAILDIR_AT_NEW,
	MAILDIR_AT_CUR,
	MAILDIR_AT_ERROR, /* errno says why we cannot know */
};

/*
 * Open the directories, or check that what is open is still there by name.
 * False: nothing is open, and *o says why.
 */
bool maildir_open(struct maildir *m, struct outcome *o);
void maildir_close(struct maildir *m);

/*
 * Has a delivery with this unique part been here? The first call after
 * maildir_open() or maildir_forget() reads the directories, and sweeps what
 * other processes left in tmp/.
 */
enum maildir_place maildir_find(struct maildir *m, struct slice unique,
    const char *name);
/* We have left something ourselves: read the directories anew. */
void maildir_forget(struct maildir *m);

#endif
