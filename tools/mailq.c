/*
 * mailq - the mail queue, as people know it: mailq [-j] [-C FILE].
 *
 * Asks qmgr, who alone knows what is being tried just now. Root, the members of
 * admin_group and the account of a private instance see all; others see ids,
 * times, sizes and states.
 */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "tools/ctl_client.h"
#include "tools/rows.h"
#include "tools/tool.h"

#define ANSWER_TIMEOUT_MS 300000

/* One row of qmgr's list. Texts borrow from the row. */
struct line {
	struct slice id, status, sender, recipient, reply, hold_reason;
	uint64_t size, arrival, recipients;
	bool limited; /* no addresses */
};

struct table {
	char last_id[32];   /* of the message whose head is out */
	uint64_t messages, octets;
	uint64_t when_s;    /* that `when' tells; many arrive in one second */
	char when[40];
	struct strbuf out;  /* of one row */
};

/* A column that we show, by its place in struct line. */
static const struct wanted {
	struct slice name;
	size_t place;
	bool is_text;
} wanted[] = {
#define TEXT(name, field)   { { name, sizeof(name) - 1 }, offsetof(struct line, field), true }
#define NUMBER(name, field) { { name, sizeof(name) - 1 }, offsetof(struct line, field), false }
	/* in the order of qmgr's rows: it is found at once */
	TEXT("queue_id", id),
	TEXT("status", status),
	NUMBER("size", size),
	NUMBER("_arrival_time", arrival),
	NUMBER("_recipients", recipients),
	TEXT("sender", sender),
	TEXT("recipient", recipient),
	TEXT("reply", reply),
	TEXT("hold_reason", hold_reason),
};

static void
take_column(struct line *l, const struct row_column *col, size_t *next)
{
	const struct wanted *w;
	char *base = (char *)l;
	size_t i;

	for (i = 0; i < NELEMS(wanted); i++) {
		w = &wanted[(*next + i) % NELEMS(wanted)];
		if (!slice_eq(w->name, col->name) ||
		    w->is_text != col->is_text) {
			continue;
		}
		if (col->is_text) {
			memcpy(base + w->place, &col->text, sizeof(col->text));
		} else {
			memcpy(base + w->place, &col->number,
			    sizeof(col->number));
		}
		l->limited = l->limited &&
		    w->place != offsetof(struct line, recipient);
		*next = (*next + i + 1) % NELEMS(wanted);
		return;
	}
}

static bool
read_line(struct slice row, struct line *l)
{
	struct row_column col;
	size_t next = 0;
	int r;

	*l = (struct line){ .limited = true };
	while ((r = row_next(&row, &col)) == 1) {
		take_column(l, &col, &next);
	}
	return r == 0 && l->id.n > 0 && l->id.n < 32;
}

/* "  (text)", or an address, such as a terminal bears. */
static void
add_text(struct strbuf *out, const char *before, struct slice text,
    const char *after)
{
	(void)strbuf_add_str(out, before);
	text_add_printable(out, text);
	(void)strbuf_add_str(out, after);
}

static const char *
when(struct table *t, uint64_t seconds)
{
	time_t at = (time_t)seconds;
	struct tm tm;

	if ((seconds != t->when_s || t->messages == 0) &&
	    (localtime_r(&at, &tm) == NULL || strftime(t->when,
	    sizeof(t->when), "%a %b %e %H:%M:%S", &tm) == 0)) {
		t->when[0] = '\0';
	}
	t->when_s = seconds;
	return t->when;
}

static void
add_head(struct table *t, const struct line *l)
{
	struct strbuf *out = &t->out;

	(void)strbuf_add_slice(out, l->id);
	(void)strbuf_printf(out, "%c %8llu ",
	    slice_eq(l->status, SL("active")) ? '*' :
	    slice_eq(l->status, SL("hold")) ? '!' : ' ',
	    (unsigned long long)l->size);
	(void)strbuf_add_str(out, when(t, l->arrival));
	(void)strbuf_add_str(out, "  ");
	if (l->limited) {
		(void)strbuf_printf(out, "%llu recipient%s\n",
		    (unsigned long long)l->recipients,
		    l->recipients == 1 ? "" : "s");
	} else {
		add_text(out, "", l->sender.n > 0 ? l->sender :
		    SL("MAILER-DAEMON"), "\n");
	}
	if (l->hold_reason.n > 0) {
		add_text(out, "    (on hold: ", l->hold_reason, ")\n");
	}
}

static bool
print_line(struct table *t, struct slice row)
{
	struct line l;

	if (!read_line(row, &l)) {
		return false;
	}
	strbuf_reset(&t->out);
	if (!slice_eq(l.id, slice_of(t->last_id))) {
		(void)strbuf_add_str(&t->out, t->messages > 0 ? "\n" :
		    "--Queue ID---- --Size-- --Arrival Time-- "
		    "---Sender/Recipient\n");
		add_head(t, &l);
		t->messages++;
		t->octets += l.size;
		memcpy(t->last_id, l.id.p, l.id.n);
		t->last_id[l.id.n] = '\0';
	}
	if (!l.limited && l.reply.n > 0) {
		add_text(&t->out, "    (", l.reply, ")\n");
	}
	if (!l.limited) {
		add_text(&t->out, "                                         ",
		    l.recipient, "\n");
	}
	(void)fwrite(t->out.p, 1, t->out.n, stdout);
	return true;
}

static int
end_table(const struct tool *tool, const struct table *t, int code)
{
	if (code == 0 && t->messages == 0) {
		(void)puts("Mail queue is empty");
	} else if (t->messages > 0) {
		(void)printf("\n-- %llu Kbytes in %llu message%s.\n",
		    (unsigned long long)((t->octets + 1023) / 1024),
		    (unsigned long long)t->messages,
		    t->messages == 1 ? "" : "s");
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		tool_say(tool, "the output could not be written");
		return EX_IOERR;
	}
	return code;
}

/* Reads the answer to its end; returns the exit code. */
static int
print_table(const struct tool *tool, struct ctl_client *c, struct table *t)
{
	struct ctl_item item;
	int code;

	for (;;) {
		switch (ctl_client_next(c, &item, ANSWER_TIMEOUT_MS)) {
		case CTL_GOT_ROW:
			if (!print_line(t, item.octets)) {
				tool_say(tool, "a row could not be read");
				return EX_PROTOCOL;
			}
			break;
		case CTL_GOT_DATA:
			break; /* a list has none */
		case CTL_GOT_LOST:
			code = end_table(tool, t, (int)item.exit);
			tool_say(tool, "no whole answer from %s: %.*s",
			    ipc_role_name(c->in.peer), SLF(item.octets));
			return code;
		case CTL_GOT_END:
			code = end_table(tool, t, (int)item.exit);
			if (item.octets.n > 0) {
				tool_say(tool, "%.*s", SLF(item.octets));
			}
			return code;
		}
	}
}

/* The socket that the caller may use and that shows the most. */
static enum tool_peer
choose(const struct tool *t)
{
	char *path = tool_socket_path(t, "admin/queue");
	bool may = access(path, W_OK) == 0;

	free(path);
	return may ? TOOL_QUEUE : TOOL_MAILQ;
}

static int
list(struct tool *t)
{
	const char *words[] = { "list" };
	enum tool_peer whom = choose(t);
	struct table table = { .messages = 0 };
	struct ctl_client c;
	char *path;
	int code;

	if (t->json) {
		return tool_ask(t, whom, words, 1, NULL);
	}
	path = tool_socket_path(t,
	    whom == TOOL_QUEUE ? "admin/queue" : "public/mailq");
	if (ctl_client_ask(&c, path, IPC_QMGR, words, 1) == -1) {
		code = EX_UNAVAILABLE;
		if (errno == ENOENT || errno == ECONNREFUSED) {
			tool_say(t, "Veredus is not running (nobody answers "
			    "on %s)", path);
		} else {
			tool_say(t, "%s: %s", path, strerror(errno));
		}
	} else {
		code = print_table(t, &c, &table);
		strbuf_clear(&table.out);
		ctl_client_close(&c);
	}
	free(path);
	return code;
}

int
main(int argc, char **argv)
{
	const char *conf = NULL;
	bool json = false;
	struct tool t;
	int c, code;

	while ((c = getopt(argc, argv, "C:jh")) != -1) {
		switch (c) {
		case 'C':
			conf = optarg;
			break;
		case 'j':
			json = true;
			break;
		default:
			(void)fprintf(c == 'h' ? stdout : stderr,
			    "usage: mailq [-j] [-C FILE]\n");
			return c == 'h' ? 0 : EX_USAGE;
		}
	}
	if (optind != argc) {
		(void)fprintf(stderr, "usage: mailq [-j] [-C FILE]\n");
		return EX_USAGE;
	}
	tool_init(&t, "mailq", conf);
	t.json = json;
	tool_need_settings(&t);
	code = list(&t);
	tool_clear(&t);
	return code;
}
