/*
 * veredus spool: status is asked of the running cleanup; check and dump read the
 * directory themselves, of a running system, at rest, or a backup.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/fstype.h"
#include "common/qid.h"
#include "common/spool_check.h"
#include "tools/rows.h"
#include "tools/verbs.h"

/* What lies in a spool was written by others: it is not read as root where
   another account will do. */
static void
become_owner(const struct tool *t, int fd)
{
	struct stat st;

	if (geteuid() == 0 && fstatat(fd, "queue", &st, 0) == 0 &&
	    st.st_uid != 0 && (setgroups(0, NULL) == -1 ||
	    setresgid(st.st_gid, st.st_gid, st.st_gid) == -1 ||
	    setresuid(st.st_uid, st.st_uid, st.st_uid) == -1)) {
		tool_die(t, EX_OSERR, "cannot become the spool's owner: %s",
		    strerror(errno));
	}
}

static int
open_spool(struct tool *t, const char *dir)
{
	int fd;

	if (dir == NULL) {
		tool_need_sockets(t);
		dir = t->settings.queue_directory;
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		tool_die(t, EX_NOINPUT, "%s: %s", dir, strerror(errno));
	}
	become_owner(t, fd);
	return fd;
}

/* -- check ----------------------------------------------------------------------- */

struct check {
	const struct tool *t;
	struct rows_out rows;
};

static void
on_found(void *arg, const struct spool_finding *f)
{
	struct check *c = arg;
	struct strbuf row;

	if (!c->t->json) {
		(void)printf("%s: %s, octet %" PRIu64 ": %s\n", f->damage ?
		    "damaged" : "note", f->place, f->offset, f->what);
		return;
	}
	strbuf_init(&row, 0);
	row_add_s(&row, "place", slice_of(f->place));
	row_add_u(&row, "offset", f->offset);
	row_add_s(&row, "what", slice_of(f->what));
	row_add_u(&row, "damage", f->damage);
	rows_put(&c->rows, strbuf_slice(&row));
	strbuf_clear(&row);
}

static void
print_summary(struct check *c, const struct spool_summary *s, const char *fs)
{
	const struct {
		const char *name, *text;
		uint64_t value;
		bool always;
	} facts[] = {
		{ "messages", "messages", s->messages, true },
		{ "recipients_open", "recipients still to be delivered to",
		    s->rcpts_open, true },
		{ "octets", "octets of content", s->octets, true },
		{ "journal_only", "of the messages live in the journal only",
		    s->journal_only, true },
		{ "behind", "have a file that the journal knows more of",
		    s->behind, false },
		{ "done", "files of messages that are done: a start removes "
		    "them", s->done, false },
		{ "children", "children of groups that a start settles",
		    s->children, false },
		{ "leftovers", "files that were being written: a start "
		    "removes them, nobody was told of them", s->leftovers,
		    false },
		{ "corrupt", "unreadable files set aside before (.corrupt)",
		    s->corrupt, false },
		{ "bad_segments", "segments set aside before (.bad)",
		    s->bad_segments, false },
		{ "foreign", "files that are none of ours", s->foreign,
		    false },
		{ "journal_entries", "entries in the journal",
		    s->journal.entries, false },
		{ "journal_cut", "batch at the journal's end that was being "
		    "written, nobody was told of it", s->journal.cut, false },
		{ "damaged", "damaged places", s->damaged, true },
	};
	struct strbuf row;
	size_t i;

	strbuf_init(&row, 0);
	for (i = 0; i < NELEMS(facts); i++) {
		row_add_u(&row, facts[i].name, facts[i].value);
		if (!c->t->json && (facts[i].always || facts[i].value > 0)) {
			(void)printf("%10" PRIu64 " %s\n", facts[i].value,
			    facts[i].text);
		}
	}
	row_add_s(&row, "file_system", slice_of(fs));
	if (c->t->json) {
		rows_put(&c->rows, strbuf_slice(&row));
	}
	strbuf_clear(&row);
}

static int
check(struct tool *t, const char *dir)
{
	struct check c = { .t = t };
	struct spool_summary s;
	const char *fs;
	int fd = open_spool(t, dir);

	switch (fstype_of(fd, &fs)) {
	case FSTYPE_REMOTE:
		tool_say(t, "it lies on %s: no system starts on it there, for "
		    "a flush over a network is no promise", fs);
		break;
	case FSTYPE_MEMORY:
		tool_say(t, "it lies on %s: nothing of it outlives the power",
		    fs);
		break;
	case FSTYPE_UNSURE:
	case FSTYPE_GOOD:
		break;
	}
	rows_begin(&c.rows, stdout, true);
	if (spool_check(fd, on_found, &c, &s) == -1) {
		tool_die(t, EX_NOINPUT, "%s: %s", dir != NULL ? dir :
		    t->settings.queue_directory, strerror(errno));
	}
	print_summary(&c, &s, fs);
	if (!rows_end(&c.rows) || fflush(stdout) == EOF) {
		return EX_IOERR;
	}
	return s.damaged > 0 ? 1 : EX_OK;
}

/* -- dump -------------------------------------------------------------------------- */

struct dump {
	struct tool *t;
	struct rows_out rows;
	uint64_t qid, segment; /* 0: all */
	bool facts, any;
	char place[64];
};

static void
on_fact(void *arg, const char *name, const char *value)
{
	struct dump *d = arg;
	struct strbuf row;

	strbuf_init(&row, 0);
	row_add_s(&row, "place", slice_of(d->place));
	row_add_s(&row, "name", slice_of(name));
	row_add_s(&row, "value", slice_of(value));
	rows_put(&d->rows, strbuf_slice(&row));
	strbuf_clear(&row);
}

static void
on_entry(void *arg, uint64_t lsn, uint8_t kind, uint64_t qid,
    struct slice body)
{
	struct dump *d = arg;
	char segment[QID_TEXT + 1], id[QID_TEXT + 1];
	struct strbuf row;

	if ((d->segment != 0 && d->segment != lsn >> 32) ||
	    (d->qid != 0 && !spool_entry_is_of(kind, qid, body, d->qid))) {
		return;
	}
	d->any = true;
	qid_format(lsn >> 32, segment);
	qid_format(qid, id);
	if (d->facts) {
		(void)snprintf(d->place, sizeof(d->place), "%s+%" PRIu64,
		    segment, lsn & UINT32_MAX);
		on_fact(d, "entry", spool_entry_name(kind));
		spool_dump_entry(kind, qid, body, on_fact, d);
		return;
	}
	(void)snprintf(d->place, sizeof(d->place), "journal/%s", segment);
	strbuf_init(&row, 0);
	row_add_s(&row, "place", slice_of(d->place));
	row_add_u(&row, "offset", lsn & UINT32_MAX);
	row_add_s(&row, "kind", slice_of(spool_entry_name(kind)));
	row_add_s(&row, "id", slice_of(id));
	row_add_u(&row, "octets", body.n);
	rows_put(&d->rows, strbuf_slice(&row));
	strbuf_clear(&row);
}

static void
on_file(void *arg, const char *place, uint64_t octets)
{
	struct dump *d = arg;
	const char *name = strrchr(place, '/') + 1;
	struct strbuf row;

	d->any = true;
	strbuf_init(&row, 0);
	row_add_s(&row, "place", slice_of(place));
	row_add_u(&row, "offset", 0);
	row_add_s(&row, "kind", SL("file"));
	row_add_s(&row, "id", slice_make(name, strcspn(name, "+.")));
	row_add_u(&row, "octets", octets);
	rows_put(&d->rows, strbuf_slice(&row));
	strbuf_clear(&row);
}

static void
on_bad(void *arg, uint64_t segment, uint64_t offset, const char *why)
{
	const struct dump *d = arg;
	char id[QID_TEXT + 1];

	qid_format(segment, id);
	tool_say(d->t, "segment %s, octet %" PRIu64 ": %s", id, offset, why);
}

static int
dump(struct tool *t, const char *dir, const char *what)
{
	struct dump d = { .t = t };
	struct journal_report report;
	uint64_t id = 0;
	int fd = open_spool(t, dir);

	if (what != NULL && !qid_parse(slice_of(what), &id)) {
		tool_die(t, EX_USAGE, "%s is neither a queue id nor a segment: "
		    "13 digits", what);
	}
	d.facts = id > UINT32_MAX; /* segments are numbered from 1 */
	d.qid = d.facts ? id : 0;
	d.segment = d.facts ? 0 : id;
	rows_begin(&d.rows, stdout, t->json);
	if (d.facts) {
		(void)snprintf(d.place, sizeof(d.place), "file");
		switch (spool_dump_file(fd, id, on_fact, &d)) {
		case 1:
			d.any = true;
			break;
		case 0:
			break;
		default:
			tool_die(t, EX_NOINPUT, "%s: %s", what,
			    strerror(errno));
		}
	}
	if (what == NULL && spool_each_file(fd, on_file, &d) == -1) {
		tool_die(t, EX_NOINPUT, "queue: %s", strerror(errno));
	}
	if (journal_scan(fd, on_entry, on_bad, &d, &report) == -1) {
		tool_die(t, EX_NOINPUT, "journal: %s", strerror(errno));
	}
	if (!rows_end(&d.rows) || fflush(stdout) == EOF) {
		return EX_IOERR;
	}
	if (!d.any && what != NULL) {
		tool_say(t, "%s: not there", what);
		return 1;
	}
	return EX_OK;
}

static int
status(struct tool *t)
{
	static const char *const words[] = { "spool" };

	tool_need_sockets(t);
	return tool_ask(t, TOOL_CLEANUP, words, 1, NULL);
}

int
verb_spool(struct tool *t, int argc, char **argv)
{
	const char *dir = NULL, *what, *name;
	int c;

	while ((c = getopt(argc, argv, "jd:")) != -1) {
		if (c == 'j') {
			t->json = true;
		} else if (c == 'd') {
			dir = optarg;
		} else {
			return verb_usage(t, argv[0]);
		}
	}
	if (argc - optind < 1 || argc - optind > 2) {
		return verb_usage(t, argv[0]);
	}
	name = argv[optind];
	what = argc - optind == 2 ? argv[optind + 1] : NULL;
	if (strcmp(name, "status") == 0 && what == NULL && dir == NULL) {
		return status(t);
	}
	if (strcmp(name, "check") == 0 && what == NULL) {
		return check(t, dir);
	}
	if (strcmp(name, "dump") == 0) {
		return dump(t, dir, what);
	}
	return verb_usage(t, argv[0]);
}
