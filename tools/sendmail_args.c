#include "config.h"

#include <string.h>

#include "common/slice.h"
#include "tools/sendmail_args.h"

/* What an option is followed by. */
enum takes {
	T_NOTHING,
	T_ARG,   /* an argument, glued or the next word */
	T_GLUED, /* only what is glued to it, if anything */
};

static bool
on_mode(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	static const struct {
		char letter;
		enum sendmail_mode mode;
	} modes[] = {
		{ 'm', SENDMAIL_SEND },
		{ 's', SENDMAIL_SMTP },
		{ 'p', SENDMAIL_MAILQ },
		{ 'i', SENDMAIL_NEWALIASES },
	};
	size_t i;

	for (i = 0; i < NELEMS(modes); i++) {
		if (arg[0] == modes[i].letter) {
			a->mode = modes[i].mode;
			return true;
		}
	}
	(void)strbuf_printf(why, "-b%s is not supported: use -bm, -bs, -bp or "
	    "-bi (the daemon is started with: veredus start)", arg);
	return false;
}

static bool
on_sender(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)why;
	a->sender_given = true;
	a->sender = strcmp(arg, "<>") == 0 ? "" : arg;
	return true;
}

static bool
on_name(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)why;
	a->full_name = arg;
	return true;
}

static bool
on_conf(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)why;
	a->conf = arg;
	return true;
}

static bool
on_body(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)why;
	a->body_8bitmime = slice_case_eq(slice_of(arg), SL("8BITMIME"));
	return true;
}

/* -oi and -o i; any other -o belongs to other MTAs. */
static bool
on_o(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)why;
	if (strcmp(arg, "i") == 0) {
		a->dot_is_data = true;
	}
	return true;
}

static bool
on_i(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)arg;
	(void)why;
	a->dot_is_data = true;
	return true;
}

static bool
on_t(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)arg;
	(void)why;
	a->from_header = true;
	return true;
}

static bool
on_q(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)arg;
	(void)why;
	a->mode = SENDMAIL_FLUSH;
	return true;
}

static bool
on_I(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)arg;
	(void)why;
	a->mode = SENDMAIL_NEWALIASES;
	return true;
}

static bool
ignore(struct sendmail_args *a, const char *arg, struct strbuf *why)
{
	(void)a;
	(void)arg;
	(void)why;
	return true;
}

static const struct {
	char letter;
	enum takes takes;
	bool (*take)(struct sendmail_args *, const char *, struct strbuf *);
} options[] = {
	{ 'A', T_GLUED, ignore },  /* -Ac -Am */
	{ 'B', T_ARG, on_body },
	{ 'b', T_ARG, on_mode },
	{ 'C', T_ARG, on_conf },
	{ 'd', T_GLUED, ignore },
	{ 'E', T_NOTHING, ignore },
	{ 'e', T_GLUED, ignore },  /* -em */
	{ 'F', T_ARG, on_name },
	{ 'f', T_ARG, on_sender },
	{ 'G', T_NOTHING, ignore },
	{ 'h', T_ARG, ignore },    /* hop count */
	{ 'I', T_NOTHING, on_I },
	{ 'i', T_NOTHING, on_i },
	{ 'L', T_ARG, ignore },    /* syslog label */
	{ 'm', T_NOTHING, ignore },
	{ 'N', T_ARG, ignore },    /* DSN: with the extension, later */
	{ 'n', T_NOTHING, ignore },
	{ 'O', T_ARG, ignore },
	{ 'o', T_ARG, on_o },
	{ 'p', T_ARG, ignore },
	{ 'q', T_GLUED, on_q },
	{ 'R', T_ARG, ignore },
	{ 'r', T_ARG, on_sender },
	{ 's', T_NOTHING, ignore },
	{ 't', T_NOTHING, on_t },
	{ 'U', T_NOTHING, ignore },
	{ 'V', T_ARG, ignore },
	{ 'v', T_NOTHING, ignore },
	{ 'X', T_ARG, ignore },
};

/*
 * One word of options, "-tif addr" or "-fann@x". *i is the index of the word
 * and moves on when its option takes the next one.
 */
static bool
take_word(int argc, char **argv, int *i, struct sendmail_args *a,
    struct strbuf *why)
{
	const char *p = argv[*i] + 1;
	size_t k;

	while (*p != '\0') {
		for (k = 0; k < NELEMS(options) && options[k].letter != *p; k++) {
		}
		if (k == NELEMS(options)) {
			(void)strbuf_printf(why, "unknown option -%c", *p);
			return false;
		}
		p++;
		if (options[k].takes == T_NOTHING) {
			(void)options[k].take(a, "", why);
			continue;
		}
		if (*p == '\0' && options[k].takes == T_ARG) {
			if (*i + 1 == argc) {
				(void)strbuf_printf(why,
				    "option -%c needs an argument", p[-1]);
				return false;
			}
			p = argv[++*i];
		}
		return options[k].take(a, p, why);
	}
	return true;
}

bool
sendmail_args_parse(int argc, char **argv, struct sendmail_args *a,
    struct strbuf *why)
{
	int i;

	*a = (struct sendmail_args){ .mode = SENDMAIL_SEND, .sender = "" };
	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		if (argv[i][0] != '-' || argv[i][1] == '\0') {
			break;
		}
		if (!take_word(argc, argv, &i, a, why)) {
			return false;
		}
	}
	a->rcpts = argv + i;
	a->nrcpts = argc - i;
	return true;
}
