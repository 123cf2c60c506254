/* The settings: values, expansion, files, and the exact text of each error. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/settings_impl.h"
#include "tests/unit/unit.h"

static char dir[64], names_file[96], host_file[96];

static void
write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int
make_files(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/veredus-set-XXXXXX");
	if (mkdtemp(dir) == NULL) {
		return -1;
	}
	(void)snprintf(names_file, sizeof(names_file), "%s/names", dir);
	(void)snprintf(host_file, sizeof(host_file), "%s/host", dir);
	write_file(names_file, "# ours\na.example, b.example\n\n  c.example\n");
	write_file(host_file, "  mail.file.example \nsecond line\n");
	return 0;
}

static int
remove_files(void **state)
{
	(void)state;
	(void)unlink(names_file);
	(void)unlink(host_file);
	(void)rmdir(dir);
	return 0;
}

/* -- the table ------------------------------------------------------------- */

static void
table_is_sound(void **state)
{
	size_t i, j;
	struct slice name;

	(void)state;
	for (i = 0; i < settings_count; i++) {
		name = slice_of(settings_table[i].name);
		assert_ptr_equal(settings_find(name), &settings_table[i]);
		assert_string_equal(settings_nearest(name), name.p);
		assert_true(settings_table[i].min <= settings_table[i].max);
		assert_true(strlen(settings_table[i].meaning) > 3);
		for (j = 0; j < name.n; j++) {
			assert_true(ascii_isalnum(name.p[j]) ||
			    name.p[j] == '_');
		}
	}
	assert_null(settings_find(SL("")));
	assert_null(settings_find(SL("Myhostname")));
}

static void
finds_the_nearest(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "mydestinaton", "mydestination" },
		{ "my_hostname", "myhostname" },
		{ "mynetwork", "mynetworks" },
		{ "realyhost", "relayhost" },
		{ "MYORIGIN", "myorigin" }, { "MyDestinaton", "mydestination" },
		{ "quite_another_thing", NULL },
		{ "", NULL }, { "x", NULL },
		{ "message_size", NULL },
		{ "a_name_that_is_longer_than_any_setting_could_ever_be_in_this"
		  "_table", NULL },
	};
	const char *near;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		near = settings_nearest(slice_of(rows[i].in));
		if (rows[i].out == NULL) {
			assert_null(near);
		} else {
			assert_non_null(near);
			assert_string_equal(near, rows[i].out);
		}
	}
}

/* -- one value ------------------------------------------------------------- */

static void
parses_numbers(void **state)
{
	static const struct {
		const char *name, *in;
		uint64_t out;
		const char *why; /* NULL: good */
	} rows[] = {
		{ "message_size_limit", "50M", 52428800, NULL },
		{ "message_size_limit", "50m", 52428800, NULL },
		{ "message_size_limit", "64k", 65536, NULL },
		{ "message_size_limit", "1G", 1073741824, NULL },
		{ "message_size_limit", "1024", 1024, NULL },
		{ "queue_minfree", "1T", 1099511627776, NULL },
		{ "queue_minfree", "0", 0, NULL },
		{ "message_size_limit", "1023", 0,
		    "\"1023\" is too small: at least 1k" },
		{ "message_size_limit", "5G", 0,
		    "\"5G\" is too large: at most 4294967295" },
		{ "message_size_limit", "99999999999999999T", 0,
		    "\"99999999999999999T\" is too large: at most 4294967295" },
		{ "message_size_limit", "10Q", 0, "\"10Q\" is not a size: "
		    "write octets, or a number and k, M, G or T" },
		{ "message_size_limit", "M", 0, "\"M\" is not a size: "
		    "write octets, or a number and k, M, G or T" },
		{ "message_size_limit", "", 0, "\"\" is not a size: "
		    "write octets, or a number and k, M, G or T" },
		{ "message_size_limit", "-1", 0, "\"-1\" is not a size: "
		    "write octets, or a number and k, M, G or T" },
		{ "message_size_limit", "1 M", 0, "\"1 M\" is not a size: "
		    "write octets, or a number and k, M, G or T" },
		{ "smtpd_timeout", "90", 90, NULL },
		{ "smtpd_timeout", "90s", 90, NULL },
		{ "smtpd_timeout", "5m", 300, NULL },
		{ "smtpd_timeout", "1h", 3600, NULL },
		{ "maximal_queue_lifetime", "5d", 432000, NULL },
		{ "maximal_queue_lifetime", "2w", 1209600, NULL },
		{ "maximal_queue_lifetime", "432000s", 432000, NULL },
		{ "maximal_queue_lifetime", "0", 0, NULL },
		/* days or hours in Postfix, and no seconds */
		{ "maximal_queue_lifetime", "5", 0, "\"5\" has no unit: "
		    "write d for days, or w, h, m, s" },
		{ "bounce_queue_lifetime", "5", 0, "\"5\" has no unit: "
		    "write d for days, or w, h, m, s" },
		{ "delay_warning_time", "4", 0, "\"4\" has no unit: "
		    "write h for hours, or w, d, m, s" },
		{ "delay_warning_time", "4h", 14400, NULL },
		{ "smtpd_timeout", "2h", 0, "\"2h\" is too large: at most 1h" },
		{ "smtpd_timeout", "0", 0, "\"0\" is too small: at least 1s" },
		{ "smtpd_timeout", "5M", 0, "\"5M\" is not a time: "
		    "write seconds, or a number and s, m, h, d or w" },
		{ "hopcount_limit", "100", 100, NULL },
		{ "hopcount_limit", "1k", 0,
		    "\"1k\" is not a number: write digits only" },
		{ "hopcount_limit", "0", 0, "\"0\" is too small: at least 1" },
		{ "hopcount_limit", "1001", 0,
		    "\"1001\" is too large: at most 1000" },
	};
	const struct set_row *row;
	struct settings s;
	struct strbuf why;
	size_t i;
	bool ok;

	(void)state;
	strbuf_init(&why, 0);
	for (i = 0; i < NELEMS(rows); i++) {
		settings_init(&s);
		strbuf_reset(&why);
		row = settings_find(slice_of(rows[i].name));
		assert_non_null(row);
		ok = settings_set(&s, row, slice_of(rows[i].in), &why);
		assert_int_equal(ok, rows[i].why == NULL);
		if (!ok) {
			assert_string_equal(why.p, rows[i].why);
		}
		assert_int_equal(*(uint64_t *)(void *)((char *)&s +
		    row->offset), rows[i].out);
		settings_clear(&s);
	}
	strbuf_clear(&why);
}

static void
judges_texts_and_lists(void **state)
{
	static const struct {
		const char *name, *in;
		const char *why; /* NULL: good; its beginning */
	} rows[] = {
		{ "relocated_forward", "yes", NULL },
		{ "relocated_forward", "no", NULL },
		{ "relocated_forward", "true", "\"true\" is neither yes nor no" },
		{ "relocated_forward", "", "\"\" is neither yes nor no" },
		{ "myhostname", "mail.example.org", NULL },
		{ "myhostname", "localhost", NULL },
		{ "myhostname", "a_b.example", NULL },
		{ "myhostname", "mail..example", "\"mail..example\" is not a "
		    "host or domain name" },
		{ "myhostname", "-a.example", "\"-a.example\" is not a host" },
		{ "myhostname", "a b", "\"a b\" is not a host" },
		{ "myhostname", "m\xc3\xbcller.example",
		    "\"m\\xc3\\xbcller.example\" is not a host or domain name "
		    "(an international name is written in its xn-- form)" },
		{ "myorigin", "", "must not be empty" },
		{ "mydestination", "a.example, b.example c.example", NULL },
		{ "mydestination", "", NULL },
		{ "mydestination", "!a.example, [192.0.2.1]", NULL },
		{ "mydestination", "cdb:/etc/veredus/domains", NULL },
		{ "mydestination", "inline:{ a=b, c=d }, x.example", NULL },
		{ "mydestination", "a.example, b@c",
		    "\"b@c\" is not a domain, !domain, [address] or type:map" },
		{ "mydestination", "!", "\"!\" is not a domain" },
		{ "mynetworks", "127.0.0.0/8, [::1]/128, 192.0.2.7", NULL },
		{ "mynetworks", "!10.1.0.0/16 10.0.0.0/8 ::1/128", NULL },
		{ "mynetworks", "0.0.0.0/0", NULL },
		{ "mynetworks", "10.0.0.1/8", "\"10.0.0.1/8\" has bits set "
		    "behind its length: write the network's first address" },
		{ "mynetworks", "10.0.0.0/33",
		    "\"10.0.0.0/33\" has a bad length after the slash: 0 to 32" },
		{ "mynetworks", "[2001:db8::]/129", "\"[2001:db8::]/129\" has "
		    "a bad length after the slash: 0 to 128" },
		{ "mynetworks", "10.0.0.0/", "\"10.0.0.0/\" has a bad length" },
		{ "mynetworks", "localhost", "\"localhost\" is not a network: "
		    "write 192.0.2.0/24, [2001:db8::]/32 or type:map, with ! "
		    "in front to exclude it" },
		{ "mynetworks", "10.0.0.256", "\"10.0.0.256\" is not a" },
		{ "mynetworks", "[fe80::", "\"[fe80::\" is not a network" },
		{ "relay_domains", "example.org .example.net", NULL },
		{ "relay_domains", "*", "\"*\" is not a domain, .domain" },
		{ "relayhost", "", NULL },
		{ "relayhost", "example.org", NULL },
		{ "relayhost", "[mx.example.org]:587", NULL },
		{ "relayhost", "[192.0.2.1]", NULL },
		{ "relayhost", "[2001:db8::1]:25", NULL },
		{ "relayhost", "[IPv6:2001:db8::1]:25", NULL },
		{ "relayhost", "[mx.example.org]:submission", NULL },
		{ "relayhost", "example.org:smtp", NULL },
		{ "relayhost", "example.org:26", NULL },
		{ "relayhost", "192.0.2.1", NULL },
		{ "relayhost", "[mx.example.org", "\"[mx.example.org\" is not "
		    "a next hop: write domain, [host], domain:port or "
		    "[host]:port" },
		{ "relayhost", "[]", "\"[]\" is not a next hop" },
		{ "relayhost", "[IPv6:]", "\"[IPv6:]\" is not a next hop" },
		{ "relayhost", "mx:", "\"mx:\" is not a next hop" },
		{ "relayhost", "mx:0", "\"mx:0\" is not a next hop" },
		{ "relayhost", "mx:70000", "\"mx:70000\" is not a next hop" },
		{ "relayhost", "[mx]x", "\"[mx]x\" is not a next hop" },
		{ "alias_maps", "cdb:/etc/aliases", NULL },
		{ "alias_maps", "/etc/aliases", "\"/etc/aliases\" is not a "
		    "map: write type:name, as in cdb:/etc/veredus/aliases" },
		{ "alias_maps", "cdb:", "\"cdb:\" is not a map" },
		{ "alias_files", "aliases", "\"aliases\" is not an absolute "
		    "path (/..., without . and .. in it)" },
		{ "local_users", "nss", NULL },
		{ "local_users", "file:/etc/passwd", NULL },
		{ "local_users", "file:passwd", "\"file:passwd\" is not nss or "
		    "file:/absolute/path" },
		{ "home_mailbox", "Maildir/", NULL },
		{ "home_mailbox", ".mail/new box", NULL },
		{ "home_mailbox", "/var/mail/", "\"/var/mail/\" is not below "
		    "the user's home: write Maildir/ or mbox" },
		{ "home_mailbox", "", NULL },
		{ "home_mailbox", "mbox", NULL },
		{ "mail_spool_directory", "/var/mail", NULL },
		{ "mail_spool_directory", "mail", "\"mail\" is not an absolute "
		    "path" },
		{ "mail_spool_directory", "/var/../mail", "\"/var/../mail\" is "
		    "not an absolute path" },
		{ "home_mailbox", "../x/", "\"../x/\" leaves the home" },
		{ "home_mailbox", "x/../../y", "\"x/../../y\" leaves the" },
		{ "recipient_delimiter", "", NULL },
		{ "recipient_delimiter", "+", NULL },
		{ "recipient_delimiter", "-", NULL },
		{ "recipient_delimiter", "x", "\"x\" is not one of + - = . _ #" },
		{ "recipient_delimiter", "+-",
		    "\"+-\" is too long: at most 1 octets" },
		{ "defer_transports", "smtp, lmtp local error", NULL },
		{ "defer_transports", "smtp relay", "\"relay\" is not one of "
		    "smtp, lmtp, local, error" },
		{ "defer_transports", "*", "\"*\" is not one of smtp" },
		{ "queue_directory", "/var/spool/x", NULL },
		{ "queue_directory", "spool", "\"spool\" is not an absolute" },
		{ "queue_directory", "/var/../x", "\"/var/../x\" is not an" },
		{ "inet_protocols", "ipv6", NULL },
		{ "inet_protocols", "all", "\"all\" is not ipv4 or ipv6" },
		{ "inet_protocols", "", "has 0 members: at least 1" },
		{ "inet_protocols", "ipv4 ipv6 ipv4",
		    "has 3 members: at most 2" },
		{ "dns_servers", "192.0.2.53:53, [::1]:5353", NULL },
		{ "dns_servers", "*:53", "\"*:53\" is not address:port: write "
		    "192.0.2.53:53 or [2001:db8::53]:53" },
		{ "listen", "*:25, 127.0.0.1:2525 [::1]:25", NULL },
		{ "listen", "25", "\"25\" is not address:port: write "
		    "192.0.2.1:25, [2001:db8::1]:25 or *:25" },
		{ "listen", "127.0.0.1:0", "\"127.0.0.1:0\" is not" },
		{ "listen", "127.0.0.1:65536", "\"127.0.0.1:65536\" is not" },
		{ "listen", "::1:25", "\"::1:25\" is not address:port" },
		{ "listen", "localhost:25", "\"localhost:25\" is not" },
		{ "log", "syslog", NULL },
		{ "log", "stderr", NULL },
		{ "log", "file:/var/log/mail", NULL },
		{ "log", "file:mail.log", "\"file:mail.log\" is not syslog, "
		    "stderr or file:/absolute/path" },
		{ "default_privs", "nobody", NULL },
		{ "default_privs", "65534", NULL },
		{ "default_privs", "root", "\"root\" is root: name an account "
		    "without rights" },
		{ "default_privs", "0", "\"0\" is root" },
		{ "default_privs", "00", "\"00\" is root" },
		{ "default_privs", "a:b", "\"a:b\" is not the name or number "
		    "of an account" },
		{ "smtpd_user", "0", "\"0\" is root" },
		{ "root_user", "root", NULL },
		{ "smtpd_banner", "mx.example ESMTP", NULL },
		{ "smtpd_banner", "m\xc3\xbc", "\"m\\xc3\\xbc\" is not "
		    "printable ASCII" },
	};
	const struct set_row *row;
	struct settings s;
	struct strbuf why;
	size_t i;
	bool ok;

	(void)state;
	strbuf_init(&why, 0);
	settings_init(&s);
	for (i = 0; i < NELEMS(rows); i++) {
		strbuf_reset(&why);
		row = settings_find(slice_of(rows[i].name));
		assert_non_null(row);
		ok = settings_set(&s, row, slice_of(rows[i].in), &why);
		if (ok != (rows[i].why == NULL) || (!ok &&
		    strncmp(why.p, rows[i].why, strlen(rows[i].why)) != 0)) {
			print_error("%s = %s: %s\n", rows[i].name, rows[i].in,
			    ok ? "good" : why.p);
			fail();
		}
	}
	settings_clear(&s);
	strbuf_clear(&why);
}

static void
untouched_on_failure(void **state)
{
	struct settings s;
	struct strbuf why;

	(void)state;
	settings_init(&s);
	strbuf_init(&why, 0);
	assert_string_equal(s.myhostname, "");
	assert_true(settings_set(&s, settings_find(SL("listen")),
	    SL("*:25 *:26"), &why));
	assert_false(settings_set(&s, settings_find(SL("listen")),
	    SL("*:27 nowhere"), &why));
	assert_int_equal(s.listen.n, 2);
	assert_string_equal(s.listen.at[1], "*:26");
	assert_true(settings_set(&s, settings_find(SL("log")), SL("stderr"),
	    &why));
	assert_false(settings_set(&s, settings_find(SL("log")), SL("x"), &why));
	assert_string_equal(s.log, "stderr");
	settings_clear(&s);
	assert_int_equal(s.listen.n, 0);
	assert_string_equal(s.log, "");
	settings_clear(&s); /* twice is fine */
	strbuf_clear(&why);
}

static void
keeps_braces_together(void **state)
{
	struct slice rest = SL(" a, inline:{ k=v, l=m } b,,cidr:{x,{y} z}\t}q,{"
	    " open, end"), m;
	static const char *const wanted[] = { "a", "inline:{ k=v, l=m }", "b",
		"cidr:{x,{y} z}", "}q", "{ open, end" };
	size_t i = 0;

	(void)state;
	while (settings_member(&rest, &m)) {
		assert_true(i < NELEMS(wanted));
		assert_slice(m, wanted[i]);
		i++;
	}
	assert_int_equal(i, NELEMS(wanted));
}

/* -- the file -------------------------------------------------------------- */

static void
loads(const char *text, struct settings *s, struct settings_source *src)
{
	struct strbuf errors;
	bool ok;

	strbuf_init(&errors, 0);
	ok = settings_load("t.conf", slice_of(text), s, src, &errors);
	if (!ok) {
		print_error("%s", errors.p);
	}
	assert_true(ok);
	assert_int_equal(errors.n, 0);
	strbuf_clear(&errors);
}

static void
check_value(const char *text, const char *name, const char *wanted)
{
	const struct set_row *row = settings_find(slice_of(name));
	struct settings_source src;
	struct settings s;

	loads(text, &s, &src);
	assert_non_null(row);
	assert_string_equal(src.value[row - settings_table], wanted);
	settings_clear(&s);
	settings_source_clear(&src);
}

static void
loads_values(void **state)
{
	static const struct {
		const char *text, *name, *value;
	} rows[] = {
		{ "myhostname = mx.example.org\n", "mydomain", "example.org" },
		{ "myhostname=mx.example.org", "myorigin", "mx.example.org" },
		{ "myhostname = mx\n", "mydomain", "mx" },
		{ "myhostname = mx.example.org\n", "mydestination",
		    "mx.example.org, localhost.example.org, localhost" },
		{ "mydomain = example.net\nmyhostname = mx.$mydomain\n",
		    "myhostname", "mx.example.net" },
		{ "myhostname = mx.${mydomain}\nmydomain = example.net\n",
		    "myorigin", "mx.example.net" },
		{ "myhostname = mx.example\nsmtpd_banner = $myhostname "
		  "costs $$5\n", "smtpd_banner", "mx.example costs $5" },
		/* comments, empty lines, continuation */
		{ "# a\n\n  # b\nrelay_domains = a.example\n# c\n\n"
		  "\tb.example\n   # d\n  c.example\n", "relay_domains",
		    "a.example b.example c.example" },
		{ "relay_domains =\n  a.example,\n  b.example\n",
		    "relay_domains", "a.example, b.example" },
		{ "relay_domains = a.example\n", "relay_domains", "a.example" },
		{ "relay_domains =\n", "relay_domains", "" },
		/* the value may have "=" and "#" */
		{ "virtual_alias_maps = inline:{ a@b=c@d, #=x }\n",
		    "virtual_alias_maps", "inline:{ a@b=c@d, #=x }" },
		{ "empty_directory = $queue_directory/e\n"
		  "queue_directory = /q\n", "empty_directory", "/q/e" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		check_value(rows[i].text, rows[i].name, rows[i].value);
	}
}

static void
fills_the_struct(void **state)
{
	struct settings_source src;
	struct settings s;
	size_t i;

	(void)state;
	loads("myhostname = mx.example.org\n\nmessage_size_limit = 1M\n"
	    "relocated_forward = yes\nsmtpd_timeout=1m\n"
	    "mynetworks = 10.0.0.0/8,\n  !10.1.0.0/16\n", &s, &src);
	assert_string_equal(s.myhostname, "mx.example.org");
	assert_int_equal(s.message_size_limit, 1048576);
	assert_true(s.relocated_forward);
	assert_int_equal(s.smtpd_timeout, 60);
	assert_int_equal(s.mynetworks.n, 2);
	assert_string_equal(s.mynetworks.at[1], "!10.1.0.0/16");
	assert_int_equal(s.hopcount_limit, 100); /* a default */
	i = (size_t)(settings_find(SL("message_size_limit")) - settings_table);
	assert_int_equal(src.line[i], 3);
	i = (size_t)(settings_find(SL("mynetworks")) - settings_table);
	assert_int_equal(src.line[i], 6);
	assert_string_equal(src.raw[i], "10.0.0.0/8, !10.1.0.0/16");
	i = (size_t)(settings_find(SL("myorigin")) - settings_table);
	assert_int_equal(src.line[i], 0);
	assert_string_equal(src.raw[i], "$myhostname");
	settings_clear(&s);
	settings_source_clear(&src);
	settings_source_clear(&src);
}

/* What a program gets as rows gives it what master has. */
static void
values_parse_again(void **state)
{
	struct settings_source src;
	struct settings s, again;
	struct strbuf why;
	size_t i;

	(void)state;
	loads("", &s, &src);
	settings_init(&again);
	strbuf_init(&why, 0);
	for (i = 0; i < settings_count; i++) {
		assert_true(settings_set(&again, &settings_table[i],
		    slice_of(src.value[i]), &why));
	}
	assert_string_equal(again.myhostname, s.myhostname);
	assert_int_equal(again.mydestination.n, s.mydestination.n);
	assert_non_null(strchr(s.myhostname, '.'));
	assert_string_equal(s.mydomain, strchr(s.myhostname, '.') + 1);
	settings_clear(&s);
	settings_clear(&again);
	settings_source_clear(&src);
	strbuf_clear(&why);
}

static void
completes_the_hostname(void **state)
{
	char host[256] = "", wanted[300];

	(void)state;
	assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
	if (strchr(host, '.') != NULL) {
		check_value("", "myhostname", host);
		return;
	}
	(void)snprintf(wanted, sizeof(wanted), "%s.localdomain", host);
	check_value("", "myhostname", wanted);
	check_value("", "mydomain", "localdomain");
	(void)snprintf(wanted, sizeof(wanted), "%s.example.net", host);
	check_value("mydomain = example.net\n", "myhostname", wanted);
	check_value("mydomain = example.net\n", "mydomain", "example.net");
}

static void
reads_files_as_values(void **state)
{
	char text[512];

	(void)state;
	(void)snprintf(text, sizeof(text), "myorigin = %s\n", host_file);
	check_value(text, "myorigin", "mail.file.example");
	(void)snprintf(text, sizeof(text), "myhostname = %s\n", host_file);
	check_value(text, "mydomain", "file.example");
	(void)snprintf(text, sizeof(text),
	    "mydestination = x.example, %s y.example\n", names_file);
	check_value(text, "mydestination",
	    "x.example, a.example, b.example, c.example, y.example");
	/* a row without SET_FILE keeps its path */
	check_value("alias_files = /etc/aliases /x\n", "alias_files",
	    "/etc/aliases /x");
}

/* -- errors ---------------------------------------------------------------- */

static void
check_errors(struct slice text, const char *wanted)
{
	struct settings_source src;
	struct strbuf errors;
	struct settings s;

	strbuf_init(&errors, 0);
	if (settings_load("t.conf", text, &s, &src, &errors)) {
		print_error("no error, but wanted: %s", wanted);
		fail();
	}
	assert_string_equal(errors.p, wanted);
	assert_string_equal(s.myhostname, "");
	assert_null(src.value);
	settings_clear(&s);
	settings_source_clear(&src);
	strbuf_clear(&errors);
}

static void
says_what_is_wrong(void **state)
{
	static const struct {
		const char *text, *errors;
	} rows[] = {
		{ "mydestinaton = x\n", "t.conf:1: unknown setting "
		    "\"mydestinaton\" (did you mean mydestination?)\n" },
		{ "wholly_other = x\n  more\n",
		    "t.conf:1: unknown setting \"wholly_other\"\n" },
		{ "\nmyhostname\n", "t.conf:2: not a setting: \"myhostname\" "
		    "(write name = value)\n" },
		{ "my hostname = x\n", "t.conf:1: not a setting: \"my hostname "
		    "= x\" (write name = value)\n" },
		{ "= x\n", "t.conf:1: not a setting: \"= x\" "
		    "(write name = value)\n" },
		{ "  x\n", "t.conf:1: a line that begins with white space goes "
		    "on with the value before it, but there is none\n" },
		{ "debug = no\nlog = stderr\ndebug = yes\n",
		    "t.conf:3: debug is set twice: first in line 1\n" },
		{ "message_size_limit = 10Q\n", "t.conf:1: message_size_limit: "
		    "\"10Q\" is not a size: write octets, or a number and k, "
		    "M, G or T\n" },
		{ "debug = maybe\nlog = x\n",
		    "t.conf:1: debug: \"maybe\" is neither yes nor no\n"
		    "t.conf:2: log: \"x\" is not syslog, stderr or "
		    "file:/absolute/path\n" },
		/* one mistake, one error, whatever depends on it */
		{ "myhostname = a..b\n", "t.conf:1: myhostname: \"a..b\" is "
		    "not a host or domain name (an international name is "
		    "written in its xn-- form)\n" },
		{ "smtpd_banner = $myhostnam\n", "t.conf:1: smtpd_banner: "
		    "unknown setting \"myhostnam\" (did you mean "
		    "myhostname?)\n" },
		{ "smtpd_banner = 5$ each\n", "t.conf:1: smtpd_banner: a $ "
		    "that is not $name or ${name} (write $$ for a dollar)\n" },
		{ "smtpd_banner = ${myhostname\n", "t.conf:1: smtpd_banner: a "
		    "$ that is not $name or ${name} (write $$ for a "
		    "dollar)\n" },
		{ "smtpd_banner = $\n", "t.conf:1: smtpd_banner: a $ "
		    "that is not $name or ${name} (write $$ for a dollar)\n" },
		{ "myorigin = $myorigin\n", "t.conf:1: myorigin: $myorigin "
		    "leads back to myorigin itself\n" },
		{ "root_user = $admin_group\nadmin_group = $root_user\n",
		    "t.conf:2: admin_group: $root_user leads back to "
		    "root_user itself\n" },
		{ "myhostname = mx.$mydomain\n", "t.conf:1: myhostname: "
		    "$mydomain is not set, and would be taken from myhostname "
		    "itself\n" },
		{ "myorigin = /nonexistent/mailname\n", "t.conf:1: myorigin: "
		    "cannot use /nonexistent/mailname: No such file or "
		    "directory\n" },
		{ "mydestination = /nonexistent/names\n", "t.conf:1: "
		    "mydestination: cannot use /nonexistent/names: No such "
		    "file or directory\n" },
		{ "mydestination = /\n", "t.conf:1: mydestination: cannot use "
		    "/: not a regular file\n" },
		{ "minimal_backoff_time = 2h\n", "t.conf:1: "
		    "minimal_backoff_time (7200s) is longer than "
		    "maximal_backoff_time (3960s)\n" },
		{ "mailbox_size_limit = 40M\n", "t.conf:1: mailbox_size_limit "
		    "(41943040) is less than message_size_limit (52428800): a "
		    "message could be accepted that fits into no mailbox (0 is "
		    "no limit)\n" },
		{ "message_size_limit = 1M\n\nmailbox_size_limit = 1048575\n",
		    "t.conf:3: mailbox_size_limit (1048575) is less than "
		    "message_size_limit (1048576): a message could be accepted "
		    "that fits into no mailbox (0 is no limit)\n" },
		{ "debug = no\r\n", "t.conf:1: a carriage return: the file has "
		    "the line ends of another system\n" },
		{ "# \x1b[2J\ndebug = x\n", "t.conf:1: a control octet\n"
		    "t.conf:2: debug: \"x\" is neither yes nor no\n" },
		{ "d\x01""ebug = x\n  y\n", "t.conf:1: a control octet\n" },
		{ "log = file:/\x7f\n", "t.conf:1: a control octet\n" },
		{ "\xff\xfe = x\n", "t.conf:1: not a setting: \"\\xff\\xfe = "
		    "x\" (write name = value)\n" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		check_errors(slice_of(rows[i].text), rows[i].errors);
	}
	check_errors(slice_make("debug = yes\0\n", 13),
	    "t.conf:1: a NUL octet\n");
}

/* A mistake in a file that stands for a value is said with its own place. */
static void
says_where_in_a_file(void **state)
{
	char bad_file[96], text[512], wanted[768];

	(void)state;
	(void)snprintf(bad_file, sizeof(bad_file), "%s/bad", dir);
	write_file(bad_file, "# ours\n\na.example, b.example\nc.example # c\n");
	(void)snprintf(text, sizeof(text), "mydestination = x.example, %s\n",
	    bad_file);
	(void)snprintf(wanted, sizeof(wanted), "t.conf:1: mydestination: "
	    "%s:4: \"#\" is not a domain, !domain, [address] or type:map\n",
	    bad_file);
	check_errors(slice_of(text), wanted);
	write_file(bad_file, "a..b\n");
	(void)snprintf(text, sizeof(text), "myorigin = %s\n", bad_file);
	(void)snprintf(wanted, sizeof(wanted), "t.conf:1: myorigin: %s:1: "
	    "\"a..b\" is not a host or domain name (an international name "
	    "is written in its xn-- form)\n", bad_file);
	check_errors(slice_of(text), wanted);
	assert_int_equal(unlink(bad_file), 0);
}

static void
says_that_there_is_no_file(void **state)
{
	struct settings_source src;
	struct settings s;
	struct strbuf errors;

	(void)state;
	strbuf_init(&errors, 0);
	assert_false(settings_load("/nonexistent/v.conf",
	    slice_make(NULL, 0), &s, &src, &errors));
	assert_string_equal(errors.p, "/nonexistent/v.conf: cannot be read: "
	    "No such file or directory\n");
	strbuf_reset(&errors);
	assert_false(settings_load(dir, slice_make(NULL, 0), &s, &src,
	    &errors));
	assert_non_null(strstr(errors.p, ": cannot be read: not a regular "
	    "file\n"));
	strbuf_clear(&errors);
}

static void
is_bounded(void **state)
{
	struct settings_source src;
	struct settings s;
	struct strbuf text, errors;
	size_t i;

	(void)state;
	strbuf_init(&text, 0);
	(void)strbuf_add_str(&text, "relay_domains = ");
	for (i = 0; i < SETTINGS_LINE_MAX; i++) {
		(void)strbuf_add_char(&text, 'a');
	}
	check_errors(strbuf_slice(&text),
	    "t.conf:1: the line is longer than 16384 octets\n");
	/* many lines of one value */
	strbuf_reset(&text);
	(void)strbuf_add_str(&text, "relay_domains = a.example\n");
	while (text.n < SETTINGS_VALUE_MAX + 100) {
		(void)strbuf_add_char(&text, ' ');
		for (i = 0; i < 1000; i++) {
			(void)strbuf_add_str(&text, "b.example ");
		}
		(void)strbuf_add_char(&text, '\n');
	}
	check_errors(strbuf_slice(&text), "t.conf:8: the value is longer than "
	    "64000 octets: use a map or a file\n");
	/* a value that grows by being named */
	strbuf_reset(&text);
	(void)strbuf_add_str(&text, "queue_directory = /aaaaaaaaaaaaaaaa\n"
	    "log = file:");
	for (i = 0; i < 800; i++) {
		(void)strbuf_add_str(&text, "$queue_directory");
	}
	(void)strbuf_add_str(&text, "\nlocal_users = file:");
	for (i = 0; i < 800; i++) {
		(void)strbuf_add_str(&text, "$smtpd_banner");
	}
	(void)strbuf_add_str(&text, "\nsmtpd_banner = ");
	for (i = 0; i < 800; i++) {
		(void)strbuf_add_str(&text, "$queue_directory");
	}
	strbuf_init(&errors, 0);
	assert_false(settings_load("t.conf", strbuf_slice(&text), &s, &src,
	    &errors));
	assert_true(errors.n < 2000);
	assert_non_null(strstr(errors.p, "is too long: at most 4000"));
	strbuf_clear(&errors);
	strbuf_clear(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_sound),
		cmocka_unit_test(finds_the_nearest),
		cmocka_unit_test(parses_numbers),
		cmocka_unit_test(judges_texts_and_lists),
		cmocka_unit_test(untouched_on_failure),
		cmocka_unit_test(keeps_braces_together),
		cmocka_unit_test(loads_values),
		cmocka_unit_test(fills_the_struct),
		cmocka_unit_test(values_parse_again),
		cmocka_unit_test(completes_the_hostname),
		cmocka_unit_test(reads_files_as_values),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(says_where_in_a_file),
		cmocka_unit_test(says_that_there_is_no_file),
		cmocka_unit_test(is_bounded),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
