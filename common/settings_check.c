#include "config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/map.h"
#include "common/settings_impl.h"

/*
 * What is plausible: a check for each setting whose wrong value would bite
 * later. A check sees the text of a TEXT row, or one member of a LIST row, and
 * returns NULL or what would be right.
 */
typedef const char *check_fn(struct slice v);

static bool
has_prefix(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

static struct slice
skip(struct slice s, size_t n)
{
	return slice_make(s.p + n, s.n - n);
}

/* One label: letters, digits, hyphen, underscore; no hyphen at an end. */
static bool
is_label(struct slice s)
{
	size_t i;

	if (s.n == 0 || s.n > 63 || s.p[0] == '-' || s.p[s.n - 1] == '-') {
		return false;
	}
	for (i = 0; i < s.n; i++) {
		if (!ascii_isalnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_') {
			return false;
		}
	}
	return true;
}

bool
settings_is_domain(struct slice s)
{
	size_t dot;

	if (s.n == 0 || s.n > 255) {
		return false;
	}
	for (;;) {
		dot = slice_find(s, '.');
		if (!is_label(slice_make(s.p, dot))) {
			return false;
		}
		if (dot == s.n) {
			return true;
		}
		s = skip(s, dot + 1);
	}
}

static const char *
check_domain(struct slice v)
{
	if (v.n == 0 || settings_is_domain(v)) {
		return NULL;
	}
	return "is not a host or domain name (an international name is "
	    "written in its xn-- form)";
}

/* "type:name" with a type of letters and a name. */
static bool
is_map(struct slice v)
{
	size_t i, colon = slice_find(v, ':');

	if (colon == 0 || colon + 1 >= v.n) {
		return false;
	}
	for (i = 0; i < colon; i++) {
		if (v.p[i] < 'a' || v.p[i] > 'z') {
			return false;
		}
	}
	return true;
}

static const char *
check_map(struct slice v)
{
	if (!is_map(v)) {
		return "is not a map: write type:name, as in "
		    "cdb:/etc/veredus/aliases";
	}
	return map_type_is(slice_make(v.p, slice_find(v, ':'))) ? NULL :
	    "is of no known type: " MAP_TYPES;
}

/* The valid users of this host: the account database, or a map. */
static const char *
check_recipient_map(struct slice v)
{
	return slice_eq(v, SL("users:")) ? NULL : check_map(v);
}

/* What qmgr gives to an agent, or fails by itself; hold: waits anyway. */
static const char *
check_deferrable(struct slice v)
{
	static const char *const known[] = { "smtp", "lmtp", "local",
		"error" };
	size_t i;

	for (i = 0; i < NELEMS(known); i++) {
		if (slice_eq(v, slice_of(known[i]))) {
			return NULL;
		}
	}
	return "is not one of smtp, lmtp, local, error";
}

static const char *
check_class(struct slice v)
{
	static const char *const known[] = { "bounce", "2bounce", "delay",
		"resource", "software" };
	size_t i;

	for (i = 0; i < NELEMS(known); i++) {
		if (slice_eq(v, slice_of(known[i]))) {
			return NULL;
		}
	}
	return "is not one of bounce, 2bounce, delay, resource, software "
	    "(policy and protocol are not told of: see the log)";
}

/* Parse "[v6]" or "v4"; the brackets may be missing around v6 if `bare'. */
static bool
parse_address(struct slice v, bool bare, unsigned char addr[16], unsigned *bits)
{
	char text[64];
	bool bracket = v.n > 2 && v.p[0] == '[' && v.p[v.n - 1] == ']';

	if (bracket) {
		v = slice_make(v.p + 1, v.n - 2);
	}
	if (v.n == 0 || v.n >= sizeof(text) || slice_find(v, '\0') < v.n) {
		return false;
	}
	memcpy(text, v.p, v.n);
	text[v.n] = '\0';
	*bits = 32;
	if (inet_pton(AF_INET, text, addr) == 1) {
		return true;
	}
	*bits = 128;
	return (bracket || bare) && inet_pton(AF_INET6, text, addr) == 1;
}

static const char *
check_destination(struct slice v)
{
	unsigned char addr[16];
	unsigned bits;

	if (v.p[0] == '!') {
		v = skip(v, 1);
	}
	if (settings_is_domain(v) || is_map(v) || (v.n > 0 && v.p[0] == '[' &&
	    parse_address(v, false, addr, &bits))) {
		return NULL;
	}
	return "is not a domain, !domain, [address] or type:map";
}

static const char *
check_relay_domain(struct slice v)
{
	if (v.p[0] == '!') {
		v = skip(v, 1);
	}
	if (v.n > 1 && v.p[0] == '.') {
		v = skip(v, 1);
	}
	if (settings_is_domain(v) || is_map(v)) {
		return NULL;
	}
	return "is not a domain, .domain, !domain or type:map";
}

static const char *
check_network(struct slice v)
{
	unsigned char addr[16];
	unsigned bits, i;
	uint64_t prefix;
	size_t slash;

	if (v.p[0] == '!') {
		v = skip(v, 1);
	}
	slash = slice_find(v, '/');
	if (!parse_address(slice_make(v.p, slash), true, addr, &bits)) {
		return is_map(v) ? NULL : "is not a network: write "
		    "192.0.2.0/24, [2001:db8::]/32 or type:map, with ! in "
		    "front to exclude it";
	}
	prefix = bits;
	if (slash < v.n && !slice_number(skip(v, slash + 1), bits, &prefix)) {
		return bits == 32 ?
		    "has a bad length after the slash: 0 to 32" :
		    "has a bad length after the slash: 0 to 128";
	}
	for (i = (unsigned)prefix; i < bits; i++) {
		if ((addr[i / 8] & (0x80u >> (i % 8))) != 0) {
			return "has bits set behind its length: write the "
			    "network's first address";
		}
	}
	return NULL;
}

static bool
is_port(struct slice v)
{
	uint64_t port;

	return slice_number(v, 65535, &port) && port > 0;
}

/* Split "address:port" at its last colon. */
static bool
is_endpoint(struct slice v, bool star)
{
	unsigned char addr[16];
	unsigned bits;
	size_t colon = v.n;

	while (colon > 0 && v.p[colon - 1] != ':') {
		colon--;
	}
	if (colon == 0 || !is_port(skip(v, colon))) {
		return false;
	}
	v.n = colon - 1;
	return (star && slice_eq(v, SL("*"))) ||
	    parse_address(v, false, addr, &bits);
}

static const char *
check_listen(struct slice v)
{
	return is_endpoint(v, true) ? NULL : "is not address:port: write "
	    "192.0.2.1:25, [2001:db8::1]:25 or *:25";
}

static const char *
check_interface(struct slice v)
{
	unsigned char addr[16];
	unsigned bits;

	return parse_address(v, true, addr, &bits) ? NULL :
	    "is not an address: write 192.0.2.1 or 2001:db8::1";
}

static const char *
check_dns_server(struct slice v)
{
	return is_endpoint(v, false) ? NULL : "is not address:port: write "
	    "192.0.2.53:53 or [2001:db8::53]:53";
}

/* A port, or the name of one: which names there are is known to nexthop. */
static bool
is_service(struct slice v)
{
	size_t i;

	for (i = 0; i < v.n && v.p[i] >= 'a' && v.p[i] <= 'z'; i++) {
	}
	return is_port(v) || (v.n > 0 && i == v.n);
}

/* Only its form; nexthop_parse() has the last word. */
static const char *
check_relayhost(struct slice v)
{
	unsigned char addr[16];
	unsigned bits;
	size_t end = v.n;
	bool bracket = v.n > 0 && v.p[0] == '[';
	struct slice host;

	if (v.n == 0) {
		return NULL;
	}
	if (bracket) {
		end = slice_find(v, ']') + 1;
	} else {
		end = slice_find(v, ':');
	}
	if (end > v.n || (end < v.n && (v.p[end] != ':' ||
	    !is_service(skip(v, end + 1))))) {
		return "is not a next hop: write domain, [host], domain:port "
		    "or [host]:port";
	}
	host = bracket ? slice_make(v.p + 1, end - 2) : slice_make(v.p, end);
	if (bracket && host.n > 5 &&
	    slice_case_eq(slice_make(host.p, 5), SL("IPv6:"))) {
		host = skip(host, 5);
	}
	if (settings_is_domain(host) ||
	    (bracket && parse_address(host, true, addr, &bits))) {
		return NULL;
	}
	return "is not a next hop: write domain, [host], domain:port or "
	    "[host]:port";
}

/* "/a/b": absolute, without "." and ".." members. */
static bool
is_absolute(struct slice v)
{
	struct slice member;

	if (v.n == 0 || v.p[0] != '/') {
		return false;
	}
	while (slice_word(&v, "/", &member)) {
		if (slice_eq(member, SL(".")) || slice_eq(member, SL(".."))) {
			return false;
		}
	}
	return true;
}

static const char *
check_path(struct slice v)
{
	return is_absolute(v) ? NULL : "is not an absolute path "
	    "(/..., without . and .. in it)";
}

static const char *
check_log(struct slice v)
{
	if (slice_eq(v, SL("syslog")) || slice_eq(v, SL("stderr")) ||
	    (has_prefix(v, SL("file:")) && is_absolute(skip(v, 5)))) {
		return NULL;
	}
	return "is not syslog, stderr or file:/absolute/path";
}

static const char *
check_local_users(struct slice v)
{
	if (slice_eq(v, SL("nss")) ||
	    (has_prefix(v, SL("file:")) && is_absolute(skip(v, 5)))) {
		return NULL;
	}
	return "is not nss or file:/absolute/path";
}

static const char *
check_mailbox(struct slice v)
{
	struct slice rest = v, member;

	if (v.n == 0 || v.p[0] != '/') {
		while (slice_word(&rest, "/", &member)) {
			if (slice_eq(member, SL("..")) ||
			    slice_eq(member, SL("."))) {
				return "leaves the home or names itself: no . "
				    "and .. in it";
			}
		}
		return NULL;
	}
	return "is not below the user's home: write Maildir/ or mbox, "
	    "or leave it empty and set mail_spool_directory";
}

static const char *
check_delimiter(struct slice v)
{
	struct slice known = SL("+-=._#");

	return v.n == 0 || slice_find(known, v.p[0]) < known.n ? NULL :
	    "is not one of + - = . _ #";
}

static const char *
check_protocol(struct slice v)
{
	return slice_eq(v, SL("ipv4")) || slice_eq(v, SL("ipv6")) ? NULL :
	    "is not ipv4 or ipv6";
}

/* A name of an account or group, or a number. */
static const char *
check_account(struct slice v)
{
	uint64_t number;
	size_t i;

	if (slice_number(v, UINT32_MAX - 1, &number)) {
		return NULL;
	}
	for (i = 0; i < v.n; i++) {
		if (!ascii_isalnum(v.p[i]) && v.p[i] != '_' && v.p[i] != '.' &&
		    (v.p[i] != '-' || i == 0)) {
			break;
		}
	}
	return i == v.n && !ascii_isdigit(v.p[0]) ? NULL :
	    "is not the name or number of an account";
}

/* As above, and not root: the walls would not stand. */
static const char *
check_unprivileged(struct slice v)
{
	uint64_t number;

	if (slice_eq(v, SL("root")) ||
	    (slice_number(v, UINT32_MAX - 1, &number) && number == 0)) {
		return "is root: name an account without rights";
	}
	return check_account(v);
}

/* Of these Postfix takes a bare number as days or hours, of all others as
   seconds: taken as seconds here, "5" would give mail up after five of them. */
static const char *
check_days(struct slice v)
{
	uint64_t number;

	return slice_number(v, UINT64_MAX, &number) && number != 0 ?
	    "has no unit: write d for days, or w, h, m, s" : NULL;
}

static const char *
check_hours(struct slice v)
{
	return check_days(v) == NULL ? NULL :
	    "has no unit: write h for hours, or w, d, m, s";
}

static const char *
check_printable(struct slice v)
{
	size_t i;

	for (i = 0; i < v.n; i++) {
		if (v.p[i] < 32 || v.p[i] > 126) {
			return "is not printable ASCII";
		}
	}
	return NULL;
}

static const char *
check_segments(struct slice v)
{
	uint64_t n;

	return slice_number(v, UINT64_MAX, &n) && (n == 1 || n == 2) ?
	    "is too few: 3 at least, or 0 for no journal" : NULL;
}

static const struct {
	const char *name;
	check_fn *check;
} checks[] = {
	{ "journal_segments", check_segments },
	{ "maximal_queue_lifetime", check_days },
	{ "bounce_queue_lifetime", check_days },
	{ "delay_warning_time", check_hours },
	{ "myhostname", check_domain },
	{ "mydomain", check_domain },
	{ "myorigin", check_domain },
	{ "mydestination", check_destination },
	{ "mynetworks", check_network },
	{ "relay_domains", check_relay_domain },
	{ "relayhost", check_relayhost },
	{ "alias_maps", check_map },
	{ "alias_files", check_path },
	{ "canonical_maps", check_map },
	{ "virtual_alias_maps", check_map },
	{ "transport_maps", check_map },
	{ "relocated_maps", check_map },
	{ "local_users", check_local_users },
	{ "home_mailbox", check_mailbox },
	{ "mail_spool_directory", check_path },
	{ "recipient_delimiter", check_delimiter },
	{ "queue_directory", check_path },
	{ "runtime_directory", check_path },
	{ "daemon_directory", check_path },
	{ "empty_directory", check_path },
	{ "inet_protocols", check_protocol },
	{ "dns_servers", check_dns_server },
	{ "inet_interfaces", check_interface },
	{ "listen", check_listen },
	{ "log", check_log },
	{ "default_privs", check_unprivileged },
	{ "smtpd_banner", check_printable },
	{ "root_user", check_account },
	{ "admin_group", check_account },
	{ "log_user", check_unprivileged },
	{ "users_user", check_unprivileged },
	{ "queue_user", check_unprivileged },
	{ "qmgr_user", check_unprivileged },
	{ "local_user", check_unprivileged },
	{ "smtpd_user", check_unprivileged },
	{ "remote_user", check_unprivileged },
	{ "dns_user", check_unprivileged },
	{ "relay_recipient_maps", check_map },
	{ "local_recipient_maps", check_recipient_map },
	{ "notify_classes", check_class },
	{ "defer_transports", check_deferrable },
	{ "lmtp_sockets", check_path },
	{ "dns_resolv_conf", check_path },
	{ "dns_hosts_file", check_path },
	{ "smtp_helo_name", check_domain },
};

static bool
check_one(check_fn *check, struct slice v, struct strbuf *why)
{
	const char *wrong = check(v);

	if (wrong == NULL) {
		return true;
	}
	(void)strbuf_add_char(why, '"');
	strbuf_add_quoted(why, v, 80);
	(void)strbuf_printf(why, "\" %s", wrong);
	return false;
}

bool
settings_plausible(const struct set_row *row, struct slice value,
    struct strbuf *why)
{
	struct slice member;
	size_t i;

	for (i = 0; i < NELEMS(checks); i++) {
		if (strcmp(checks[i].name, row->name) != 0) {
			continue;
		}
		if (row->type != SET_LIST) {
			return check_one(checks[i].check, value, why);
		}
		while (settings_member(&value, &member)) {
			if (!check_one(checks[i].check, member, why)) {
				return false;
			}
		}
	}
	return true;
}
