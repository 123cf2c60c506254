/*
 * sendmail - the program that everything on a host calls to send mail.
 *
 * Given: a message on standard input, recipients on the command line or in the
 * header. Talks to: the submit socket of smtpd; when it does not answer, or
 * answers 4yz, the drop directory keeps the message. Gives up: nothing, it runs
 * as its caller and has no other rights. Exit 0 means that the mail is kept.
 */
#include "config.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/xmalloc.h"
#include "tools/sendmail_args.h"
#include "tools/sendmail_drop.h"
#include "tools/sendmail_input.h"
#include "tools/sendmail_relay.h"
#include "tools/sendmail_submit.h"
#include "tools/tool.h"

struct job {
	struct tool tool;
	struct sendmail_args args;
	struct strbuf message;       /* wire form */
	struct strbuf reverse_path;
	struct slice *rcpts;
	enum submit_fate *fates;
	size_t nrcpts, rcpts_cap;
	struct strbuf header_from;   /* storage of addresses found by -t */
};

static bool
add_rcpt(void *arg, struct slice rcpt)
{
	struct job *j = arg;

	if (j->nrcpts == DROP_RCPT_MAX) {
		tool_die(&j->tool, EX_DATAERR, "more than %d recipients",
		    DROP_RCPT_MAX);
	}
	if (j->nrcpts == j->rcpts_cap) {
		j->rcpts_cap = j->rcpts_cap == 0 ? 16 : j->rcpts_cap * 2;
		j->rcpts = xreallocarray(j->rcpts, j->rcpts_cap,
		    sizeof(*j->rcpts));
	}
	j->rcpts[j->nrcpts++] = rcpt;
	return true;
}

/*
 * A recipient as it may stand in RCPT: the canonical text of what people write,
 * a leading backslash dropped (it stops aliasing elsewhere), a bare name
 * completed. What is no address at all is refused here, with its place.
 */
static struct slice
canonical_rcpt(struct job *j, struct slice in)
{
	struct strbuf value, out;
	struct addr a;
	enum addr_err e;

	if (in.n > 0 && in.p[0] == '\\') {
		in = slice_make(in.p + 1, in.n - 1);
	}
	if (in.n > 2 && in.p[0] == '<' && in.p[in.n - 1] == '>') {
		in = slice_make(in.p + 1, in.n - 2);
	}
	e = addr_parse_mailbox(in, ADDR_ALLOW_BARE, &a);
	if (e != ADDR_OK) {
		tool_die(&j->tool, EX_DATAERR, "bad recipient <%.*s>: %s",
		    SLF(in), addr_err_text(e));
	}
	strbuf_init(&value, 0);
	strbuf_init(&out, 0);
	addr_local_value(&a, &value);
	addr_print(strbuf_slice(&value), a.domain.n > 0 ? a.domain :
	    slice_of(j->tool.settings.myorigin), &out);
	strbuf_clear(&value);
	return strbuf_slice(&out); /* lives as long as the program */
}

static void
need_recipients(struct job *j)
{
	size_t i;
	int k;

	for (k = 0; k < j->args.nrcpts; k++) {
		/* "a, b" in one word is what some callers give */
		struct slice rest = slice_of(j->args.rcpts[k]), word;

		if (slice_find(rest, '"') < rest.n) {
			(void)add_rcpt(j, rest);
			continue;
		}
		while (slice_word(&rest, ", \t", &word)) {
			(void)add_rcpt(j, word);
		}
	}
	if (j->nrcpts == 0) {
		tool_die(&j->tool, EX_USAGE, j->args.from_header ?
		    "no recipient in To, Cc or Bcc" :
		    "no recipient: name one, or use -t");
	}
	for (i = 0; i < j->nrcpts; i++) {
		j->rcpts[i] = canonical_rcpt(j, j->rcpts[i]);
	}
	j->fates = xcalloc(j->nrcpts, sizeof(*j->fates));
}

static void
read_message(struct job *j)
{
	struct sendmail_lines l;

	strbuf_init(&j->message, (size_t)j->tool.settings.message_size_limit);
	sendmail_lines_init(&l, &j->message, j->args.dot_is_data);
	if (sendmail_read(STDIN_FILENO, &l) == -1) {
		tool_die(&j->tool, errno == EFBIG ? EX_DATAERR : EX_IOERR,
		    errno == EFBIG ? "the message is larger than "
		    "message_size_limit (%llu octets)" :
		    "reading the message failed (limit %llu octets)",
		    (unsigned long long)j->tool.settings.message_size_limit);
	}
	if (l.nul) {
		tool_die(&j->tool, EX_DATAERR, "the message has a NUL octet, "
		    "which mail cannot carry; encode it first");
	}
}

/* -t: recipients out of the header, Bcc away. */
static void
recipients_from_header(struct job *j)
{
	struct sendmail_header h;
	struct strbuf out;

	sendmail_header_scan(strbuf_slice(&j->message), &h);
	strbuf_init(&out, 0);
	(void)sendmail_header_recipients(strbuf_slice(&j->message), &h, add_rcpt,
	    j, &out);
	j->header_from = j->message; /* the recipients borrow from it */
	j->message = out;
}

/* -F NAME: the From field that cleanup would make has no name. */
static void
add_from(struct job *j)
{
	struct sendmail_header h;
	struct strbuf out;
	struct slice rest;
	const char *p;

	sendmail_header_scan(strbuf_slice(&j->message), &h);
	if (h.has_from || j->args.full_name == NULL ||
	    j->args.full_name[0] == '\0' || j->reverse_path.n == 0) {
		return;
	}
	strbuf_init(&out, 0);
	(void)strbuf_add(&out, j->message.p, h.mailbox_line);
	(void)strbuf_add_str(&out, "From: \"");
	for (p = j->args.full_name; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\') {
			(void)strbuf_add_char(&out, '\\');
		}
		if (!ascii_iscntrl(*p)) {
			(void)strbuf_add_char(&out, *p);
		}
	}
	rest = slice_make(j->message.p + h.mailbox_line,
	    j->message.n - h.mailbox_line);
	(void)strbuf_printf(&out, "\" <%s>\r\n%s", j->reverse_path.p,
	    h.has_header || (rest.n > 1 && rest.p[0] == '\r') ? "" : "\r\n");
	(void)strbuf_add_slice(&out, rest);
	strbuf_clear(&j->message);
	j->message = out;
}

static void
find_sender(struct job *j)
{
	struct strbuf name;
	struct passwd *pw;
	struct slice text;
	struct addr a;

	strbuf_init(&j->reverse_path, 0);
	strbuf_init(&name, 0);
	if (j->args.sender_given) {
		text = slice_of(j->args.sender);
		if (text.n > 2 && text.p[0] == '<' && text.p[text.n - 1] == '>') {
			text = slice_make(text.p + 1, text.n - 2);
		}
		if (text.n == 0) {
			return; /* the null reverse-path */
		}
	} else {
		pw = getpwuid(getuid());
		if (pw != NULL) {
			(void)strbuf_add_str(&name, pw->pw_name);
		} else {
			(void)strbuf_printf(&name, "uid%u", (unsigned)getuid());
		}
		text = strbuf_slice(&name);
	}
	if (addr_parse_mailbox(text, ADDR_ALLOW_BARE, &a) != ADDR_OK) {
		tool_die(&j->tool, EX_USAGE, "bad sender <%.*s>", SLF(text));
	}
	(void)strbuf_add_slice(&j->reverse_path, text);
	if (a.domain.n == 0) {
		(void)strbuf_printf(&j->reverse_path, "@%s",
		    j->tool.settings.myorigin);
	}
	strbuf_clear(&name);
}

/* Keep the recipients with fate LATER in the drop directory; `why' is what was
   replied. */
static void
keep(struct job *j, const struct strbuf *why)
{
	struct strbuf rcpts, dir;
	struct drop_head head = { .reverse_path = strbuf_slice(&j->reverse_path) };
	uint32_t flags = sendmail_flags(strbuf_slice(&j->message));
	size_t i;

	strbuf_init(&rcpts, 0);
	strbuf_init(&dir, 0);
	for (i = 0; i < j->nrcpts; i++) {
		if (j->fates[i] == SUBMIT_LATER) {
			if (!drop_rcpt_add(&rcpts, j->rcpts[i])) {
				tool_die(&j->tool, EX_DATAERR, "bad recipient <%.*s>",
				    SLF(j->rcpts[i]));
			}
			head.nrcpts++;
		}
	}
	if (head.nrcpts == 0) {
		return;
	}
	head.rcpts = strbuf_slice(&rcpts);
	head.flags = (j->args.sender_given ? DROP_SENDER_GIVEN : 0u) |
	    (j->args.body_8bitmime ? DROP_8BITMIME : 0u) |
	    (flags & CONTENT_8BIT ? DROP_8BIT : 0u) |
	    (flags & CONTENT_DOT_LINES ? DROP_DOT_LINES : 0u) |
	    (flags & CONTENT_LONG_LINES ? DROP_LONG_LINES : 0u);
	(void)strbuf_printf(&dir, "%s/%s", j->tool.settings.queue_directory,
	    DROP_DIRECTORY);
	if (sendmail_drop(dir.p, &head, strbuf_slice(&j->message)) == -1) {
		tool_die(&j->tool, EX_TEMPFAIL, "%s, and the message could not "
		    "be kept in %s: %s", why->n > 0 ? why->p :
		    "nobody answers on the submit socket (is the system "
		    "started?)", dir.p, strerror(errno));
	}
	strbuf_clear(&rcpts);
	strbuf_clear(&dir);
}

static int
submit(struct job *j)
{
	struct submit s = { .reverse_path = strbuf_slice(&j->reverse_path),
		.rcpts = j->rcpts, .nrcpts = j->nrcpts, .fates = j->fates,
		.message = strbuf_slice(&j->message) };
	char *path = tool_socket_path(&j->tool, "public/submit");
	int fd = submit_connect(path);
	size_t i;
	int code = EX_OK;

	free(path);
	s.body_8bitmime = j->args.body_8bitmime ||
	    (sendmail_flags(s.message) & CONTENT_8BIT) != 0;
	strbuf_init(&s.replies, 0);
	strbuf_init(&s.later, 0);
	if (fd != -1) {
		submit_send(fd, &s);
	} else {
		for (i = 0; i < j->nrcpts; i++) {
			j->fates[i] = SUBMIT_LATER;
		}
	}
	keep(j, &s.later);
	for (i = 0; i < j->nrcpts; i++) {
		if (j->fates[i] == SUBMIT_REFUSED) {
			code = EX_NOUSER;
		}
	}
	if (s.replies.n > 0) {
		(void)fputs(s.replies.p, stderr);
	}
	strbuf_clear(&s.replies);
	strbuf_clear(&s.later);
	return code;
}

static int
send_message(struct job *j)
{
	find_sender(j);
	read_message(j);
	if (j->args.from_header) {
		recipients_from_header(j);
	}
	need_recipients(j);
	add_from(j);
	return submit(j);
}

/* -bp, -bi, -q: the program that does it, beside this one. */
static _Noreturn void
become(struct job *j, const char *name, const char *verb)
{
	char dir[4096], path[4200];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	static const char *const places[] = { "", "../bin/", "../sbin/" };
	char *argv[3];
	size_t i;

	argv[0] = xstrdup(name);
	argv[1] = verb != NULL ? xstrdup(verb) : NULL;
	argv[2] = NULL;
	dir[n > 0 ? n : 0] = '\0';
	*(strrchr(dir, '/') != NULL ? strrchr(dir, '/') + 1 : dir) = '\0';
	if (setenv("VEREDUS_CONF", j->tool.conf, 1) == -1) {
		tool_die(&j->tool, EX_OSERR, "%s", strerror(errno));
	}
	for (i = 0; i < NELEMS(places); i++) {
		if (snprintf(path, sizeof(path), "%s%s%s", dir, places[i],
		    name) < (int)sizeof(path)) {
			(void)execv(path, argv);
		}
	}
	tool_die(&j->tool, EX_UNAVAILABLE, "%s is not installed beside me", name);
}

int
main(int argc, char **argv)
{
	static struct job j;
	struct strbuf why;
	int fd, code;

	(void)signal(SIGPIPE, SIG_IGN);
	strbuf_init(&why, 0);
	if (!sendmail_args_parse(argc, argv, &j.args, &why)) {
		tool_init(&j.tool, "sendmail", NULL);
		tool_die(&j.tool, EX_USAGE, "%s", why.p);
	}
	tool_init(&j.tool, "sendmail", j.args.conf);
	switch (j.args.mode) {
	case SENDMAIL_MAILQ:
		become(&j, "mailq", NULL);
	case SENDMAIL_NEWALIASES:
		become(&j, "newaliases", NULL);
	case SENDMAIL_FLUSH:
		become(&j, "veredus", "flush");
	case SENDMAIL_SMTP:
	case SENDMAIL_SEND:
		break;
	}
	tool_need_settings(&j.tool);
	if (j.args.mode == SENDMAIL_SEND) {
		code = send_message(&j);
	} else {
		char *path = tool_socket_path(&j.tool, "public/submit");

		fd = submit_connect(path);
		if (fd == -1) {
			tool_die(&j.tool, EX_TEMPFAIL, "nobody answers on %s: "
			    "is the system started?", path);
		}
		free(path);
		code = sendmail_relay(fd, STDIN_FILENO, STDOUT_FILENO) == 0 ?
		    EX_OK : EX_IOERR;
	}
	strbuf_clear(&j.message);
	strbuf_clear(&j.header_from);
	strbuf_clear(&j.reverse_path);
	free(j.rcpts);
	free(j.fates);
	tool_clear(&j.tool);
	return code;
}
