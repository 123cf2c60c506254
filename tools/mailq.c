/*
 * mailq - the mail queue, as people know it: mailq [-j] [-C FILE].
 *
 * Asks qmgr, who alone knows what is being tried just now. Root, the members of
 * admin_group and the account of a private instance see all; others see ids,
 * times, sizes and states.
 */
#include "config.h"

#include <errno.h>
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
};

static bool
read_line(struct slice row, struct line *l)
{
	const struct {
		const char *name;
		struct slice *text;
		uint64_t *number;
	} wanted[] = {
		{ "queue_id", &l->id, NULL },
		{ "status", &l->status, NULL },
		{ "sender", &l->sender, NULL },
		{ "recipient", &l->recipient, NULL },
		{ "reply", &l->reply, NULL },
		{ "hold_reason", &l->hold_reason, NULL },
		{ "size", NULL, &l->size },
		{ "_arrival_time", NULL, &l->arrival },
		{ "_recipients", NULL, &l->recipients },
	};
	struct row_column col;
	size_t i;
	int r;

	*l = (struct line){ .limited = true };
	while ((r = row_next(&row, &col)) == 1) {
		for (i = 0; i < NELEMS(wanted); i++) {
			if (!slice_eq(col.name, slice_of(wanted[i].name)) ||
			    col.is_text != (wanted[i].text != NULL)) {
				continue;
			}
			if (col.is_text) {
				*wanted[i].text = col.text;
			} else {
				*wanted[i].number = col.number;
			}
		}
		l->limited = l->limited &&
		    !slice_eq(col.name, SL("recipient"));
	}
	return r == 0 && l->id.n > 0 && l->id.n < 32;
}

/* "  (text)", or an address, such as a terminal bears. */
static void
print_text(const char *before, struct slice text, const char *after)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	text_add_printable(&b, text);
	(void)printf("%s%s%s\n", before, b.n > 0 ? b.p : "", after);
	strbuf_clear(&b);
}

static void
print_head(const struct line *l)
{
	char when[40] = "";
	time_t t = (time_t)l->arrival;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL ||
	    strftime(when, sizeof(when), "%a %b %e %H:%M:%S", &tm) == 0) {
		when[0] = '\0';
	}
	(void)printf("%.*s%c %8llu %s  ", SLF(l->id),
	    slice_eq(l->status, SL("active")) ? '*' :
	    slice_eq(l->status, SL("hold")) ? '!' : ' ',
	    (unsigned long long)l->size, when);
	if (l->limited) {
		(void)printf("%llu recipient%s\n",
		    (unsigned long long)l->recipients,
		    l->recipients == 1 ? "" : "s");
	} else {
		print_text("", l->sender.n > 0 ? l->sender :
		    SL("MAILER-DAEMON"), "");
	}
	if (l->hold_reason.n > 0) {
		print_text("    (on hold: ", l->hold_reason, ")");
	}
}

static bool
print_line(struct table *t, struct slice row)
{
	struct line l;

	if (!read_line(row, &l)) {
		return false;
	}
	if (!slice_eq(l.id, slice_of(t->last_id))) {
		if (t->messages++ == 0) {
			(void)puts("--Queue ID---- --Size-- --Arrival Time-- "
			    "---Sender/Recipient");
		} else {
			(void)putchar('\n');
		}
		t->octets += l.size;
		memcpy(t->last_id, l.id.p, l.id.n);
		t->last_id[l.id.n] = '\0';
		print_head(&l);
	}
	if (l.limited) {
		return true;
	}
	if (l.reply.n > 0) {
		print_text("    (", l.reply, ")");
	}
	print_text("                                         ", l.recipient,
	    "");
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
print_table(const struct tool *tool, struct ctl_client *c)
{
	struct table t = { .messages = 0 };
	struct ctl_item item;
	int code;

	for (;;) {
		switch (ctl_client_next(c, &item, ANSWER_TIMEOUT_MS)) {
		case CTL_GOT_ROW:
			if (!print_line(&t, item.octets)) {
				tool_say(tool, "a row could not be read");
				return EX_PROTOCOL;
			}
			break;
		case CTL_GOT_DATA:
			break; /* a list has none */
		case CTL_GOT_LOST:
			code = end_table(tool, &t, (int)item.exit);
			tool_say(tool, "no whole answer from %s: %.*s",
			    ipc_role_name(c->in.peer), SLF(item.octets));
			return code;
		case CTL_GOT_END:
			code = end_table(tool, &t, (int)item.exit);
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
		code = print_table(t, &c);
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
