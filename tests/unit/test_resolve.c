/*
 * The resolver by tables: a world (settings with maps, accounts), a recipient,
 * and what is decided. `users' answers between the rounds.
 */
#include "config.h"

#include <stdlib.h>
#include <stdio.h>

#include "cleanup/resolve.h"
#include "common/xmalloc.h"
#include "tests/unit/unit.h"

#define HEAD "myhostname = mx.example.org\nmyorigin = example.org\n" \
	"mydomain = example.org\n" \
	"mydestination = example.org, localhost, !no.local, " \
	"inline:{ mapped.example=x }\n" \
	"mynetworks = !10.0.0.7, 10.0.0.0/8, [2001:db8::]/32, 192.0.2.1\n" \
	"relay_domains = relay.example\nalias_maps =\n"

struct world {
	const char *name, *settings;
};

enum { PLAIN, ALIASES, EXT, EXT_DASH, VIRTUAL, CANON, MOVED, MOVED_FWD,
	TRANSPORT, ORIGIN, RELAY, DEFAULT_HOP, NO_EXIT, HELD, RELAY_RCPT, MAPPED,
	TAKE_ALL, LUSER, LUSER_EXT, LUSER_SELF, VALID, VALID_LUSER, LMTP,
	LMTP_ALL, WORLDS };

static const struct world worlds[] = {
	[PLAIN] = { "plain", HEAD },
	[ALIASES] = { "aliases", HEAD
	    "alias_maps = inline:{ sales=ann,"
	    " {team=ann, bob@example.org, Carl@localhost}, {all=team, sales, eve},"
	    " {ann2=\\ann}, {eve=eve, ann}, loop1=loop2, loop2=loop1,"
	    " {half=loop1, ann}, {mutual1=mutual2, ann}, {mutual2=mutual1, bob},"
	    " self=self, out=x@outside.example, {mixed=ann, x@outside.example},"
	    " cmd=|/bin/true, file=/tmp/x, incl=:include:/tmp/x, fail=:fail:,"
	    " gone=nobody, {list=ann, nobody}, {bad=a b}, d1=d2, d2=d3, d3=d4,"
	    " d4=ann, {quoted=\"john doe\"}, john doe=bob, weird=@example.org,"
	    " rooty=root, one=ann, ONE2=ann, {domain=ann@EXAMPLE.org, ann@example.org},"
	    " slow1=tempuser }\n"
	    "alias_recursion_limit = 4\nalias_expansion_limit = 5\n" },
	[EXT] = { "extensions", HEAD "recipient_delimiter = +\n"
	    "alias_maps = inline:{ ann+spam=bob, sales=ann, {eve=eve, bob} }\n"
	    "virtual_alias_maps = inline:{ v@example.org=ann,"
	    " v+x@example.org=bob, @all.example=ann, all.example=x,"
	    " @other.example=@example.org, other.example=x, bare=carl }\n" },
	[EXT_DASH] = { "extensions by dash", HEAD "recipient_delimiter = -\n" },
	[VIRTUAL] = { "virtual", HEAD
	    "alias_maps = inline:{ root=ann }\n"
	    "virtual_alias_maps = inline:{ virt.example=x, a@virt.example=ann,"
	    " {two@virt.example=ann, bob@example.org}, b@virt.example=a@virt.example,"
	    " l1@virt.example=l2@virt.example, l2@virt.example=l1@virt.example,"
	    " out@virt.example=x@outside.example, gone@virt.example=nobody,"
	    " {self@virt.example=self@virt.example, ann},"
	    " {keep@example.org=keep@example.org, ann}, carl=bob,"
	    " postmasterless.example=x, bad@virt.example=|x, Case@Virt.example=bob }\n" },
	[CANON] = { "canonical", HEAD
	    "canonical_maps = inline:{ ann.smith@example.org=ann, @old.example=@example.org,"
	    " joe=bob, {many=a@b, c@d}, away@example.org=x@outside.example }\n"
	    "relay_domains = old.example\n" },
	[MOVED] = { "relocated", HEAD
	    "alias_maps = inline:{ crew=moved, {list=moved, ann} }\n"
	    "relocated_maps = inline:{ moved=new@elsewhere.example,"
	    " {phone=+1 555 1234}, @closed.example=see@elsewhere.example,"
	    " near@example.org=ann@example.org }\n" },
	[MOVED_FWD] = { "relocated, forwarded", HEAD
	    "relocated_forward = yes\n"
	    "relocated_maps = inline:{ moved=new@elsewhere.example, {phone=+1 555},"
	    " near@example.org=ann@example.org, ghost=nobody@example.org }\n" },
	[TRANSPORT] = { "transport", HEAD
	    "transport_maps = inline:{ err.example={error:5.2.1 mailbox closed},"
	    " {bob@example.org=error:4.2.1 not now}, .sub.example=local:,"
	    " carl@example.org=smtp:[192.0.2.9], relay.example=:, ann@example.org={local} }\n"
	    "relay_domains = err.example, sub.example, relay.example\n" },
	[ORIGIN] = { "myorigin is elsewhere", HEAD "myorigin = big.example\n"
	    "alias_maps = inline:{ postmaster=ann@localhost, up=ann }\n" },
	[RELAY] = { "relayhost", HEAD "relayhost = Smart.Example:25\n"
	    "transport_maps = inline:{ direct.example=smtp:, port.example={:[mx.example]:2525},"
	    " .port.example={smtp:Mx.Example:26}, own@port.example={lmtp:inet:[::1]:24},"
	    " same.example=smtp:smart.example }\n" },
	[DEFAULT_HOP] = { "default_transport with a next hop", HEAD
	    "relayhost = [smart.example]\n"
	    "default_transport = lmtp:unix:/run/out.sock\n" },
	[NO_EXIT] = { "nothing leaves", HEAD
	    "default_transport = error:5.7.1 this host sends no mail out\n"
	    "alias_maps = inline:{ {both=ann, x@outside.example}, away=x@outside.example }\n" },
	[HELD] = { "what leaves is held", HEAD
	    "default_transport = hold:until the line is up\n"
	    "transport_maps = inline:{ ann@example.org=hold:, bob@example.org={hold: for Bob } }\n" },
	[RELAY_RCPT] = { "relay_recipient_maps", HEAD
	    "alias_maps = inline:{ up=away@relay.example }\n"
	    "transport_maps = inline:{ relay.example=smtp:[10.0.0.25] }\n"
	    "relay_recipient_maps = inline:{ known@relay.example=x, @all.relay.example=x }\n" },
	[MAPPED] = { "a local domain is sent on", HEAD
	    "mydestination = example.org, mapped.example\n"
	    "alias_maps = inline:{ sales=ann }\n"
	    "transport_maps = inline:{ mapped.example=smtp:[10.0.0.25] }\n" },
	[TAKE_ALL] = { "no list of valid recipients", HEAD
	    "local_recipient_maps =\n"
	    "alias_maps = inline:{ sales=ann, gone=nobody }\n" },
	[LUSER] = { "luser_relay", HEAD "recipient_delimiter = +\n"
	    "local_recipient_maps =\nluser_relay = $user@other.example\n"
	    "virtual_alias_maps = inline:{ v@example.org=nobody }\n" },
	[LUSER_EXT] = { "luser_relay with parts", HEAD
	    "recipient_delimiter = +\nalias_maps = inline:{ crew=bob }\n"
	    "local_recipient_maps =\nluser_relay = crew+${user}-${extension}\n" },
	[LUSER_SELF] = { "luser_relay that is unknown itself", HEAD
	    "local_recipient_maps =\nluser_relay = $user@$domain\n" },
	[VALID] = { "valid recipients by a map", HEAD
	    "alias_maps = inline:{ sales=ann, hidden=bob }\n"
	    "local_recipient_maps = inline:{ sales=x, ann=x, ghost@example.org=x, root=x }\n" },
	[VALID_LUSER] = { "valid recipients by a map, luser_relay", HEAD
	    "local_recipient_maps = users:, inline:{ ghost=x }\n"
	    "luser_relay = bob\n" },
	[LMTP] = { "mailbox_transport", HEAD
	    "mailbox_transport = lmtp:unix:/run/Lmtp.sock\n"
	    "alias_maps = inline:{ sales=ann, postmaster=ann, root=bob }\n"
	    "recipient_delimiter = +\n" },
	[LMTP_ALL] = { "mailbox_transport for all", HEAD
	    "mailbox_transport = lmtp:mx.example:24\nlocal_recipient_maps =\n" },
};
_Static_assert(NELEMS(worlds) == WORLDS, "a row per world");

/* name:uid, "?" a lookup that fails. */
static const struct {
	const char *name;
	int uid;
} accounts[] = {
	{ "ann", 1000 }, { "bob", 1001 }, { "carl", 1002 }, { "eve", 1003 },
	{ "root", 0 }, { "keep", 1004 }, { "ann-x", 1005 }, { "tempuser", -1 },
	{ "self", 1006 },
};

struct row {
	const char *name;
	int world;
	const char *rcpt, *client; /* client NULL: trusted */
	unsigned code;
	const char *esc, *text; /* text: what must be in it */
	const char *targets;    /* "address>user+ext, ..." */
};

#define OUT "198.51.100.1"
#define NET "10.1.2.3"

static const struct row rows[] = {
	{ "local", PLAIN, "ann@example.org", OUT, 250, "2.1.5", "Ok",
	    "ann@example.org>ann" },
	{ "local, mixed case", PLAIN, "Ann@EXAMPLE.org", OUT, 250, "2.1.5", "",
	    "Ann@EXAMPLE.org>ann" },
	{ "quoted", PLAIN, "\"ann\"@example.org", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann" },
	{ "bare", PLAIN, "ann", OUT, 250, "2.1.5", "", "ann@example.org>ann" },
	{ "a map of domains", PLAIN, "ann@Mapped.example", OUT, 250, "2.1.5",
	    "", "ann@Mapped.example>ann" },
	{ "a domain that is excluded", PLAIN, "ann@no.local", OUT, 550,
	    "5.7.1", "<ann@no.local>: Relay access denied", NULL },
	{ "subdomains are not ours", PLAIN, "ann@x.example.org", OUT, 550,
	    "5.7.1", "Relay access denied", NULL },
	{ "our address", PLAIN, "ann@[192.0.2.25]", OUT, 250, "2.1.5", "",
	    "ann@[192.0.2.25]>ann" },
	{ "our v6 address", PLAIN, "ann@[IPv6:2001:DB8::25]", OUT, 250, "2.1.5",
	    "", "ann@[IPv6:2001:DB8::25]>ann" },
	{ "loopback is ours", PLAIN, "ann@[127.0.0.1]", OUT, 250, "2.1.5", "",
	    "ann@[127.0.0.1]>ann" },
	{ "a foreign address", PLAIN, "ann@[192.0.2.26]", OUT, 550, "5.7.1",
	    "Relay access denied", NULL },
	{ "unknown", PLAIN, "nobody@example.org", OUT, 550, "5.1.1",
	    "<nobody@example.org>: Recipient address rejected: User unknown",
	    NULL },
	{ "unknown from inside", PLAIN, "nobody@example.org", NULL, 550,
	    "5.1.1", "User unknown", NULL },
	{ "no account name", PLAIN, "\"a b\"@example.org", OUT, 550, "5.1.1",
	    "User unknown", NULL },
	{ "path as a name", PLAIN, "../ann@example.org", OUT, 501, "5.1.3", "",
	    NULL },
	{ "option as a name", PLAIN, "-froot@example.org", OUT, 550, "5.1.1",
	    "", NULL },
	{ "users fails", PLAIN, "tempuser@example.org", OUT, 451, "4.3.0",
	    "Temporary lookup failure", NULL },
	{ "root without alias", PLAIN, "root@example.org", OUT, 250, "2.1.5",
	    "", "root@example.org>root" },
	{ "syntax", PLAIN, "a..b@example.org", OUT, 501, "5.1.3", "", NULL },
	{ "syntax with control", PLAIN, "a\rb", OUT, 501, "5.1.3", "\\x0d",
	    NULL },
	{ "empty", PLAIN, "", OUT, 501, "5.1.3", "", NULL },

	{ "postmaster without alias", PLAIN, "postmaster", OUT, 250, "2.1.5",
	    "", "postmaster@example.org>root" },
	{ "postmaster is root's alias", VIRTUAL, "PostMaster@example.org", OUT,
	    250, "2.1.5", "", "ann@example.org>ann" },
	{ "bare postmaster", VIRTUAL, "Postmaster", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann" },
	{ "postmaster of a virtual domain", VIRTUAL, "postmaster@virt.example",
	    OUT, 250, "2.1.5", "", "ann@example.org>ann" },
	{ "bare postmaster, myorigin elsewhere", ORIGIN, "postmaster", OUT, 250,
	    "2.1.5", "", "ann@localhost>ann" },
	{ "bare name, myorigin elsewhere", ORIGIN, "ann", NULL, 250, "2.1.5",
	    "", "ann@big.example>smtp:big.example" },
	{ "alias to a bare name, myorigin elsewhere", ORIGIN, "up@localhost",
	    OUT, 250, "2.1.5", "", "ann@big.example>smtp:big.example" },

	{ "outside, stranger", PLAIN, "x@outside.example", OUT, 550, "5.7.1",
	    "<x@outside.example>: Relay access denied", NULL },
	{ "outside, no client", PLAIN, "x@outside.example", "", 550, "5.7.1",
	    "Relay access denied", NULL },
	{ "outside, my network", PLAIN, "x@outside.example", NET, 250, "2.1.5",
	    "Ok", "x@outside.example>smtp:outside.example" },
	{ "outside, excluded", PLAIN, "x@outside.example", "10.0.0.7", 550,
	    "5.7.1", "Relay access denied", NULL },
	{ "outside, my v6 network", PLAIN, "x@outside.example", "2001:db8::9",
	    250, "2.1.5", "", "x@outside.example>smtp:outside.example" },
	{ "outside, mapped v4", PLAIN, "x@outside.example", "::ffff:10.1.1.1",
	    250, "2.1.5", "", "x@outside.example>smtp:outside.example" },
	{ "outside, trusted", PLAIN, "X@Outside.Example", NULL, 250, "2.1.5",
	    "", "X@Outside.Example>smtp:outside.example" },
	{ "outside, an address", PLAIN, "x@[198.51.100.7]", NULL, 250, "2.1.5",
	    "", "x@[198.51.100.7]>smtp:[198.51.100.7]" },
	{ "outside, a v6 address", PLAIN, "x@[IPv6:2001:DB9:0::1]", NULL, 250,
	    "2.1.5", "", "x@[IPv6:2001:DB9:0::1]>smtp:[2001:db9::1]" },
	{ "outside, no domain", PLAIN, "x@198.51.100.7", NULL, 550, "5.1.2",
	    "written in brackets", NULL },
	{ "relay domain, stranger", PLAIN, "x@relay.example", OUT, 250, "2.1.5",
	    "", "x@relay.example>smtp:relay.example" },
	{ "relay domain's subdomain", PLAIN, "x@a.relay.example", OUT, 250,
	    "2.1.5", "", "x@a.relay.example>smtp:a.relay.example" },
	{ "relay domain, old routing", PLAIN, "x%outside.example@relay.example",
	    OUT, 550, "5.7.1", "Relay access denied", NULL },
	{ "relay domain, old routing, trusted", PLAIN, "x%y@relay.example",
	    NET, 250, "2.1.5", "", "x%y@relay.example>smtp:relay.example" },

	{ "alias", ALIASES, "sales@example.org", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann" },
	{ "alias, mixed case", ALIASES, "SALES@localhost", OUT, 250, "2.1.5",
	    "", "ann@example.org>ann" },
	{ "keys of inline maps are folded", ALIASES, "one2@example.org", OUT,
	    250, "2.1.5", "", "ann@example.org>ann" },
	{ "several targets", ALIASES, "team@example.org", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann, bob@example.org>bob, Carl@localhost>carl" },
	{ "nested, one copy each", ALIASES, "all@example.org", OUT, 250,
	    "2.1.5", "", "ann@example.org>ann, bob@example.org>bob, "
	    "Carl@localhost>carl, eve@example.org>eve" },
	{ "backslash", ALIASES, "ann2@example.org", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann" },
	{ "an alias among its targets", ALIASES, "eve@example.org", OUT, 250,
	    "2.1.5", "", "eve@example.org>eve, ann@example.org>ann" },
	{ "only itself", ALIASES, "self@example.org", OUT, 250, "2.1.5", "",
	    "self@example.org>self" },
	{ "loop", ALIASES, "loop1@example.org", OUT, 451, "4.3.5",
	    "alias loop at \"loop", NULL },
	{ "loop beside a good target", ALIASES, "half@example.org", OUT, 451,
	    "4.3.5", "alias loop", NULL },
	{ "lists that name each other", ALIASES, "mutual1@example.org", OUT,
	    250, "2.1.5", "", "ann@example.org>ann, bob@example.org>bob" },
	{ "target outside", ALIASES, "out@example.org", OUT, 250, "2.1.5", "",
	    "x@outside.example>smtp:outside.example" },
	{ "a target outside among others", ALIASES, "mixed@example.org", OUT,
	    250, "2.1.5", "", "ann@example.org>ann, "
	    "x@outside.example>smtp:outside.example" },
	{ "command", ALIASES, "cmd@example.org", OUT, 451, "4.3.5",
	    "\"cmd\" in alias_maps is bad: commands are not available", NULL },
	{ "file", ALIASES, "file@example.org", OUT, 451, "4.3.5", "files", NULL },
	{ "include", ALIASES, "incl@example.org", OUT, 451, "4.3.5", ":include:",
	    NULL },
	{ "fail", ALIASES, "fail@example.org", OUT, 451, "4.3.5", "", NULL },
	{ "dangling", ALIASES, "gone@example.org", OUT, 451, "4.3.5",
	    "\"gone\" names <nobody@example.org>, an unknown user", NULL },
	{ "dangling beside a good one", ALIASES, "list@example.org", OUT, 451,
	    "4.3.5", "\"list\" names", NULL },
	{ "bad entry", ALIASES, "bad@example.org", OUT, 451, "4.3.5",
	    "\"bad\" in alias_maps is bad", NULL },
	{ "@domain is for virtual maps", ALIASES, "weird@example.org", OUT, 451,
	    "4.3.5", "not an address", NULL },
	{ "deep", ALIASES, "d1@example.org", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann" },
	{ "quoted name", ALIASES, "quoted@example.org", OUT, 250, "2.1.5", "",
	    "bob@example.org>bob" },
	{ "quoted key", ALIASES, "\"John doe\"@example.org", OUT, 250, "2.1.5",
	    "", "bob@example.org>bob" },
	{ "alias to root", ALIASES, "rooty@example.org", OUT, 250, "2.1.5", "",
	    "root@example.org>root" },
	{ "domains without regard to case", ALIASES, "domain@example.org", OUT,
	    250, "2.1.5", "", "ann@EXAMPLE.org>ann" },
	{ "users fails for a target", ALIASES, "slow1@example.org", OUT, 451,
	    "4.3.0", "", NULL },

	{ "extension", EXT, "Carl+Lists@example.org", OUT, 250, "2.1.5", "",
	    "Carl+Lists@example.org>carl+lists" },
	{ "no delimiter", PLAIN, "carl+lists@example.org", OUT, 550, "5.1.1",
	    "", NULL },
	{ "alias with extension", EXT, "ann+spam@example.org", OUT, 250,
	    "2.1.5", "", "bob@example.org>bob" },
	{ "alias without it", EXT, "sales+x@example.org", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann" },
	{ "alias that names itself, extension", EXT, "eve+x@example.org", OUT,
	    250, "2.1.5", "", "eve@example.org>eve, bob@example.org>bob" },
	{ "virtual hands it on", EXT, "v+lists@example.org", OUT, 250, "2.1.5",
	    "", "ann+lists@example.org>ann+lists" },
	{ "virtual with extension", EXT, "v+x@example.org", OUT, 250, "2.1.5",
	    "", "bob@example.org>bob" },
	{ "catch-all hands it on", EXT, "any+q@all.example", OUT, 250, "2.1.5",
	    "", "ann+q@example.org>ann+q" },
	{ "@domain keeps it", EXT, "carl+q@other.example", OUT, 250, "2.1.5", "",
	    "carl+q@example.org>carl+q" },
	{ "bare key", EXT, "bare+q@localhost", OUT, 250, "2.1.5", "",
	    "carl+q@example.org>carl+q" },
	{ "leading delimiter", EXT, "+x@example.org", OUT, 550, "5.1.1", "",
	    NULL },
	{ "account with the delimiter inside", EXT_DASH, "ann-x@example.org",
	    OUT, 250, "2.1.5", "", "ann-x@example.org>ann-x" },
	{ "account without", EXT_DASH, "ann-y@example.org", OUT, 250, "2.1.5",
	    "", "ann-y@example.org>ann+y" },
	{ "owner- is not split", EXT_DASH, "owner-ann@example.org", OUT, 550,
	    "5.1.1", "", NULL },

	{ "virtual", VIRTUAL, "a@virt.example", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann" },
	{ "virtual, mixed case", VIRTUAL, "CASE@VIRT.EXAMPLE", OUT, 250, "2.1.5",
	    "", "bob@example.org>bob" },
	{ "virtual, two", VIRTUAL, "two@virt.example", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann, bob@example.org>bob" },
	{ "virtual, recursive", VIRTUAL, "b@virt.example", OUT, 250, "2.1.5",
	    "", "ann@example.org>ann" },
	{ "virtual, unknown", VIRTUAL, "z@virt.example", OUT, 550, "5.1.1",
	    "User unknown in virtual alias table", NULL },
	{ "virtual, loop", VIRTUAL, "l1@virt.example", OUT, 451, "4.3.5",
	    "alias loop", NULL },
	{ "virtual to outside", VIRTUAL, "out@virt.example", OUT, 250, "2.1.5",
	    "", "x@outside.example>smtp:outside.example" },
	{ "virtual to nobody", VIRTUAL, "gone@virt.example", OUT, 451, "4.3.5",
	    "names <nobody@example.org>", NULL },
	{ "virtual of a local name", VIRTUAL, "carl@localhost", OUT, 250,
	    "2.1.5", "", "bob@example.org>bob" },
	{ "virtual that keeps itself", VIRTUAL, "keep@example.org", OUT, 250,
	    "2.1.5", "", "keep@example.org>keep, ann@example.org>ann" },
	{ "virtual that keeps itself, nobody there", VIRTUAL,
	    "self@virt.example", OUT, 550, "5.1.1", "User unknown", NULL },
	{ "virtual, bad entry", VIRTUAL, "bad@virt.example", OUT, 451, "4.3.5",
	    "virtual_alias_maps is bad", NULL },

	{ "canonical", CANON, "ann.smith@example.org", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann" },
	{ "canonical domain", CANON, "Bob@old.example", OUT, 250, "2.1.5", "",
	    "Bob@example.org>bob" },
	{ "canonical domain, unknown user", CANON, "zed@old.example", OUT, 550,
	    "5.1.1", "<zed@old.example>", NULL },
	{ "canonical bare key", CANON, "joe@localhost", OUT, 250, "2.1.5", "",
	    "bob@example.org>bob" },
	{ "canonical with two addresses", CANON, "many@example.org", OUT, 451,
	    "4.3.0", "", NULL },
	{ "canonical to outside", CANON, "away@example.org", OUT, 250, "2.1.5",
	    "", "x@outside.example>smtp:outside.example" },

	{ "relocated", MOVED, "Moved@example.org", OUT, 551, "5.1.6",
	    "User has moved to new@elsewhere.example; please try "
	    "<new@elsewhere.example>", NULL },
	{ "relocated, no address", MOVED, "phone@example.org", OUT, 550, "5.1.6",
	    "User has moved to +1 555 1234", NULL },
	{ "relocated by an alias", MOVED, "crew@example.org", OUT, 551, "5.1.6",
	    "User has moved to new@elsewhere.example", NULL },
	{ "relocated in a list", MOVED, "list@example.org", OUT, 451, "4.3.5",
	    "who has moved", NULL },
	{ "relocated, a domain not ours", MOVED, "x@closed.example", OUT, 550,
	    "5.7.1", "", NULL },
	{ "relocated domain, trusted", MOVED, "x@closed.example", NULL, 551,
	    "5.1.6", "see@elsewhere.example", NULL },
	{ "forwarded", MOVED_FWD, "near@example.org", OUT, 251, "2.1.5",
	    "User not local; will forward to <ann@example.org>",
	    "ann@example.org>ann" },
	{ "forwarded to outside", MOVED_FWD, "moved@example.org", OUT, 251,
	    "2.1.5", "will forward to <new@elsewhere.example>",
	    "new@elsewhere.example>smtp:elsewhere.example" },
	{ "forwarded, no address", MOVED_FWD, "phone@example.org", OUT, 550,
	    "5.1.6", "", NULL },
	{ "forwarded to nobody", MOVED_FWD, "ghost@example.org", OUT, 451,
	    "4.3.5", "", NULL },

	{ "transport error", TRANSPORT, "x@err.example", OUT, 550, "5.2.1",
	    "<x@err.example>: mailbox closed", NULL },
	{ "transport error, temporary", TRANSPORT, "bob@example.org", OUT, 450,
	    "4.2.1", "not now", NULL },
	{ "transport local", TRANSPORT, "eve@a.sub.example", OUT, 250, "2.1.5",
	    "", "eve@a.sub.example>eve" },
	{ "transport smtp", TRANSPORT, "carl@example.org", OUT, 250, "2.1.5",
	    "", "carl@example.org>smtp:[192.0.2.9]" },
	{ "transport local without colon", TRANSPORT, "ann@example.org", OUT,
	    250, "2.1.5", "", "ann@example.org>ann" },
	{ "transport says nothing", TRANSPORT, "x@relay.example", OUT, 250,
	    "2.1.5", "", "x@relay.example>smtp:relay.example" },

	{ "relayhost", RELAY, "x@outside.example", NULL, 250, "2.1.5", "",
	    "x@outside.example>smtp:smart.example" },
	{ "relayhost, an address", RELAY, "x@[198.51.100.7]", NULL, 250,
	    "2.1.5", "", "x@[198.51.100.7]>smtp:smart.example" },
	{ "relayhost is for relay_domains", RELAY, "x@relay.example", OUT,
	    250, "2.1.5", "", "x@relay.example>smtp:smart.example" },
	{ "relayhost is not for us", RELAY, "ann@example.org", OUT, 250,
	    "2.1.5", "", "ann@example.org>ann" },
	{ "transport without next hop", RELAY, "x@direct.example", NULL, 250,
	    "2.1.5", "", "x@direct.example>smtp:direct.example" },
	{ "next hop without transport", RELAY, "x@port.example", NULL, 250,
	    "2.1.5", "", "x@port.example>smtp:[mx.example]:2525" },
	{ "transport of a parent", RELAY, "x@a.port.example", NULL, 250,
	    "2.1.5", "", "x@a.port.example>smtp:mx.example:26" },
	{ "transport of an address", RELAY, "Own@port.example", NULL, 250,
	    "2.1.5", "", "Own@port.example>lmtp:[::1]" },
	{ "one destination, one text", RELAY, "x@same.example", NULL, 250,
	    "2.1.5", "", "x@same.example>smtp:smart.example" },
	{ "relayhost, stranger", RELAY, "x@outside.example", OUT, 550, "5.7.1",
	    "Relay access denied", NULL },
	{ "transport is no leave to relay", RELAY, "x@direct.example", OUT, 550,
	    "5.7.1", "Relay access denied", NULL },
	{ "default_transport beats relayhost", DEFAULT_HOP, "x@outside.example",
	    NULL, 250, "2.1.5", "", "x@outside.example>lmtp:unix:/run/out.sock" },
	{ "default_transport is not for relay_domains", DEFAULT_HOP,
	    "x@relay.example", OUT, 250, "2.1.5", "",
	    "x@relay.example>smtp:[smart.example]" },
	{ "default_transport, stranger", DEFAULT_HOP, "x@outside.example", OUT,
	    550, "5.7.1", "Relay access denied", NULL },
	{ "nothing leaves", NO_EXIT, "x@outside.example", NULL, 550, "5.7.1",
	    "<x@outside.example>: this host sends no mail out", NULL },
	{ "nothing leaves by an alias", NO_EXIT, "away@example.org", OUT, 550,
	    "5.7.1", "this host sends no mail out", NULL },
	{ "nothing leaves, one of several", NO_EXIT, "both@example.org", OUT,
	    250, "2.1.5", "", "ann@example.org>ann, "
	    "x@outside.example>error:5.7.1 this host sends no mail out" },
	{ "held", HELD, "x@outside.example", NULL, 250, "2.1.5", "",
	    "x@outside.example>hold:until the line is up" },
	{ "held by a map", HELD, "ann@example.org", OUT, 250, "2.1.5", "",
	    "ann@example.org>hold:by transport hold:" },
	{ "held, with a reason", HELD, "bob@example.org", OUT, 250,
	    "2.1.5", "", "bob@example.org>hold:for Bob" },
	{ "hold is no leave to relay", HELD, "x@outside.example", OUT, 550,
	    "5.7.1", "Relay access denied", NULL },

	{ "known to the relay", RELAY_RCPT, "Known@Relay.example", OUT, 250,
	    "2.1.5", "", "Known@Relay.example>smtp:[10.0.0.25]" },
	{ "unknown to the relay", RELAY_RCPT, "x@relay.example", OUT, 550,
	    "5.1.1", "<x@relay.example>: Recipient address rejected: User "
	    "unknown in relay recipient table", NULL },
	{ "unknown to the relay, trusted", RELAY_RCPT, "x@relay.example", NULL,
	    550, "5.1.1", "", NULL },
	{ "any of a relay domain", RELAY_RCPT, "x@all.relay.example", OUT, 250,
	    "2.1.5", "", "x@all.relay.example>smtp:all.relay.example" },
	{ "postmaster of a relay domain", RELAY_RCPT, "postmaster@relay.example",
	    OUT, 250, "2.1.5", "", "postmaster@relay.example>smtp:[10.0.0.25]" },
	{ "an alias knows better", RELAY_RCPT, "up@example.org", OUT, 250,
	    "2.1.5", "", "away@relay.example>smtp:[10.0.0.25]" },
	{ "old routing, relay domain with a list", RELAY_RCPT,
	    "x%outside.example@all.relay.example", OUT, 550, "5.7.1",
	    "Relay access denied", NULL },

	{ "a local domain is sent on", MAPPED, "ann@mapped.example", OUT, 250,
	    "2.1.5", "", "ann@mapped.example>smtp:[10.0.0.25]" },
	{ "an alias of a domain that is sent on", MAPPED, "sales@mapped.example",
	    OUT, 250, "2.1.5", "", "sales@mapped.example>smtp:[10.0.0.25]" },
	{ "unknown in a domain that is sent on", MAPPED, "nobody@mapped.example",
	    OUT, 550, "5.1.1", "User unknown", NULL },
	{ "old routing, a domain that is sent on", MAPPED,
	    "\"x@outside.example\"@mapped.example", OUT, 550, "5.7.1",
	    "Relay access denied", NULL },

	{ "all are taken, and bounce", TAKE_ALL, "nobody@example.org", OUT, 250,
	    "2.1.5", "", "nobody@example.org>error:5.1.1 unknown user: "
	    "\"nobody\"" },
	{ "all are taken, known", TAKE_ALL, "sales@example.org", OUT, 250,
	    "2.1.5", "", "ann@example.org>ann" },
	{ "all are taken, an alias to nobody", TAKE_ALL, "gone@example.org",
	    OUT, 451, "4.3.5", "\"gone\" names", NULL },
	{ "all are taken, old routing", TAKE_ALL, "x%y@example.org", OUT, 550,
	    "5.7.1", "Relay access denied", NULL },
	{ "all are taken, outside", TAKE_ALL, "x@outside.example", OUT, 550,
	    "5.7.1", "Relay access denied", NULL },

	{ "luser_relay", LUSER, "Nobody+x@example.org", OUT, 250, "2.1.5", "",
	    "nobody@other.example>smtp:other.example" },
	{ "luser_relay is for the unknown", LUSER, "ann@example.org", OUT, 250,
	    "2.1.5", "", "ann@example.org>ann" },
	{ "luser_relay, a name that needs quotes", LUSER,
	    "\"no body\"@example.org", OUT, 250, "2.1.5", "",
	    "\"no body\"@other.example>smtp:other.example" },
	{ "luser_relay, old routing", LUSER, "x%outside.example@example.org",
	    OUT, 550, "5.7.1", "Relay access denied", NULL },
	{ "luser_relay, old routing with quotes", LUSER,
	    "\"x@outside.example\"@example.org", OUT, 550, "5.7.1",
	    "Relay access denied", NULL },
	{ "luser_relay is not for what maps name", LUSER, "v@example.org", OUT,
	    451, "4.3.5", "\"v@example.org\" names", NULL },
	{ "luser_relay with parts", LUSER_EXT, "No.Body+box@example.org", OUT,
	    250, "2.1.5", "", "bob@example.org>bob" },
	{ "luser_relay, no extension", LUSER_EXT, "nobody@example.org", OUT,
	    250, "2.1.5", "", "bob@example.org>bob" },
	{ "luser_relay names its own", LUSER_SELF, "nobody@example.org", OUT,
	    451, "4.3.5", "", NULL },

	{ "valid by a map", VALID, "ann@example.org", OUT, 250, "2.1.5", "",
	    "ann@example.org>ann" },
	{ "an alias, valid by a map", VALID, "sales@example.org", OUT, 250,
	    "2.1.5", "", "ann@example.org>ann" },
	{ "an account, not in the map", VALID, "bob@example.org", OUT, 550,
	    "5.1.1", "User unknown", NULL },
	{ "an alias, not in the map", VALID, "hidden@example.org", OUT, 550,
	    "5.1.1", "User unknown", NULL },
	{ "valid, but nobody", VALID, "ghost@example.org", OUT, 250, "2.1.5",
	    "", "ghost@example.org>error:5.1.1 unknown user: \"ghost\"" },
	{ "valid, of another domain", VALID, "ghost@localhost", OUT, 550,
	    "5.1.1", "", NULL },
	{ "valid, and to luser_relay", VALID_LUSER, "ghost@example.org", OUT,
	    250, "2.1.5", "", "bob@example.org>bob" },
	{ "not valid, not to luser_relay", VALID_LUSER, "nobody@example.org",
	    OUT, 550, "5.1.1", "", NULL },

	{ "mailbox_transport", LMTP, "Ann@example.org", OUT, 250, "2.1.5", "",
	    "Ann@example.org>lmtp:unix:/run/Lmtp.sock" },
	{ "mailbox_transport, extension", LMTP, "ann+x@example.org", OUT, 250,
	    "2.1.5", "", "ann+x@example.org>lmtp:unix:/run/Lmtp.sock" },
	{ "mailbox_transport after aliases", LMTP, "sales@example.org", OUT,
	    250, "2.1.5", "", "ann@example.org>lmtp:unix:/run/Lmtp.sock" },
	{ "mailbox_transport, unknown", LMTP, "nobody@example.org", OUT, 550,
	    "5.1.1", "User unknown", NULL },
	{ "mailbox_transport, users fails", LMTP, "tempuser@example.org", OUT,
	    451, "4.3.0", "", NULL },
	{ "mailbox_transport, old routing", LMTP, "x%y@example.org", OUT, 550,
	    "5.7.1", "Relay access denied", NULL },
	{ "mailbox_transport for all", LMTP_ALL, "nobody@example.org", OUT, 250,
	    "2.1.5", "", "nobody@example.org>lmtp:[mx.example]" },
	{ "mailbox_transport for all, old routing", LMTP_ALL,
	    "a!x%b@example.org", OUT, 550, "5.7.1", "Relay access denied", NULL },
};

/* What RFC 821 and its children have made of relaying: nobody gets through. */
static const char *const relay_forms[] = {
	"x%outside.example@example.org", "x!y@example.org",
	"outside.example!x@example.org", "\"x@outside.example\"@example.org",
	"x%outside.example%a@example.org", "a!b!x@example.org",
	"x%outside.example@[192.0.2.25]", "outside.example!x@[192.0.2.25]",
	"\"x@outside.example\"@[192.0.2.25]", "outside.example!x",
	"x%outside.example", "\"x@outside.example\"", "\"x%y\"@example.org",
	"\"outside.example!x\"@example.org", "x@outside.example",
	"x@[198.51.100.7]", "x@[IPv6:2001:db9::1]", "x%y@outside.example",
	"outside.example!x@other.example", "\"x@a\"@outside.example",
	"x%outside.example@localhost", "outside.example!x@localhost",
	"a!x%b@example.org", "x%b!a@example.org", "x%@example.org",
	"!x@example.org", "x!@example.org", "%@example.org", "!@example.org",
	"\"@\"@example.org", "\"x@[198.51.100.7]\"@example.org",
	"\"<x@outside.example>\"@example.org",
	"postmaster%outside.example@example.org",
	"ann%outside.example@example.org", "outside.example!ann@example.org",
	"\"ann@outside.example\"@example.org", "ann!ann@example.org",
	"ann%example.org@example.org", "\"ann@example.org\"@example.org",
	"ann%example.org%outside.example@example.org",
	"x%outside.example@relay.example", "outside.example!x@relay.example",
	"\"x@outside.example\"@relay.example", "a!x%b@a.relay.example",
	"\"x@[198.51.100.7]\"@relay.example",
};

/* A line that sets again what HEAD sets takes the place of HEAD's. */
static char *
last_wins(const char *text)
{
	struct slice rest = slice_of(text), line;
	struct strbuf out, name;

	strbuf_init(&out, 0);
	strbuf_init(&name, 0);
	while (slice_word(&rest, "\n", &line)) {
		strbuf_reset(&name);
		(void)strbuf_printf(&name, "\n%.*s =",
		    (int)slice_find(line, ' '), line.p);
		if (strstr(line.p, name.p) == NULL) {
			(void)strbuf_add_slice(&out, line);
			(void)strbuf_add_char(&out, '\n');
		}
	}
	strbuf_clear(&name);
	return strbuf_take(&out);
}

static struct policy *
make_policy(const struct world *w, struct settings *s)
{
	static char own4[] = "192.0.2.25", own6[] = "2001:db8::25";
	char *own_list[] = { own4, own6 };
	struct strlist own = { own_list, NELEMS(own_list) };
	struct settings_source src = { 0 };
	char *text = last_wins(w->settings);
	struct strbuf why;
	struct policy *p;

	strbuf_init(&why, 0);
	settings_init(s);
	if (!settings_load("test.conf", slice_of(text), s, &src, &why)) {
		fail_msg("%s: %s", w->name, why.p);
	}
	p = policy_new(s, &own, &why);
	if (p == NULL) {
		fail_msg("%s: %s", w->name, why.p);
	}
	settings_source_clear(&src);
	strbuf_clear(&why);
	free(text);
	return p;
}

static void
answer(struct memo *m, struct slice user)
{
	size_t i;

	for (i = 0; i < NELEMS(accounts); i++) {
		if (!slice_eq(user, slice_of(accounts[i].name))) {
			continue;
		}
		if (accounts[i].uid < 0) {
			memo_answer_user(m, user, MAP_TEMP, 0, SL("asleep"));
		} else {
			memo_answer_user(m, user, MAP_FOUND,
			    (uint64_t)accounts[i].uid, SL(""));
		}
		return;
	}
	memo_answer_user(m, user, MAP_NONE, 0, SL(""));
}

/* Ask until it is decided; *rounds counts. */
static void
decide(const struct policy *p, const struct resolve_request *rq, struct memo *m,
    struct decision *d, unsigned *rounds)
{
	struct slice user;
	size_t place;

	*rounds = 1;
	while (resolve(p, rq, m, d) == RESOLVE_NEED) {
		bool any = false;

		assert_true(++*rounds < 10);
		place = 0;
		while (memo_need(m, &place, &user)) {
			any = true;
			answer(m, user);
		}
		assert_true(any);
	}
}

static void
print_targets(const struct decision *d, struct strbuf *out)
{
	size_t i;

	for (i = 0; i < d->ntargets; i++) {
		const struct resolve_target *t = &d->targets[i];

		bool local = strcmp(t->transport, "local") == 0;

		(void)strbuf_printf(out, "%s%s>%s%s%s%s%s", i > 0 ? ", " : "",
		    t->address, local ? "" : t->transport, local ? "" : ":",
		    t->next_hop, t->extension[0] ? "+" : "", t->extension);
	}
}

static void
print_trace(struct memo *m, struct strbuf *out)
{
	struct slice what, key, result;
	size_t place = 0;

	while (memo_step(m, &place, &what, &key, &result)) {
		(void)strbuf_printf(out, "%.*s [%.*s] %.*s\n", SLF(what),
		    SLF(key), SLF(result));
	}
}

static void
check_row(const struct policy *p, const struct row *r)
{
	struct resolve_request rq = { .reverse_path = SL("s@example.net"),
		.forward_path = slice_of(r->rcpt),
		.client_addr = slice_of(r->client != NULL ? r->client : ""),
		.trusted = r->client == NULL };
	struct memo *m = memo_new();
	struct strbuf targets, trace;
	struct decision d;
	unsigned rounds;

	decide(p, &rq, m, &d, &rounds);
	strbuf_init(&targets, 0);
	strbuf_init(&trace, 0);
	(void)strbuf_add_str(&targets, "");
	print_targets(&d, &targets);
	print_trace(m, &trace);
	if (d.code != r->code || strcmp(d.esc, r->esc) != 0 ||
	    strstr(d.text, r->text) == NULL ||
	    strcmp(targets.p, r->targets != NULL ? r->targets : "") != 0) {
		fail_msg("%s: %s: %u %s %s [%s], wanted %u %s %s [%s]\n%s",
		    r->name, r->rcpt, d.code, d.esc, d.text, targets.p,
		    r->code, r->esc, r->text,
		    r->targets != NULL ? r->targets : "", trace.p);
	}
	strbuf_clear(&targets);
	strbuf_clear(&trace);
	decision_clear(&d);
	memo_free(m);
}

static void
test_rows(void **state)
{
	struct settings s;
	struct policy *p;
	size_t i;
	int w;

	(void)state;
	for (w = 0; w < WORLDS; w++) {
		p = make_policy(&worlds[w], &s);
		for (i = 0; i < NELEMS(rows); i++) {
			if (rows[i].world == w) {
				check_row(p, &rows[i]);
			}
		}
		policy_free(p);
		settings_clear(&s);
	}
}

/* No combination of settings opens a relay: in every world, each form is
   refused, but what a world names itself. */
static void
test_relay_forms(void **state)
{
	struct row r = { "relay form", PLAIN, NULL, OUT, 550, "5.7.1",
		"Relay access denied", NULL };
	struct settings s;
	struct policy *p;
	size_t i;
	int w;

	(void)state;
	for (w = 0; w < WORLDS; w++) {
		p = make_policy(&worlds[w], &s);
		r.name = worlds[w].name;
		for (i = 0; i < NELEMS(relay_forms); i++) {
			r.rcpt = relay_forms[i];
			check_row(p, &r);
		}
		policy_free(p);
		settings_clear(&s);
	}
}

static void
test_route(void **state)
{
	static const struct {
		const char *address, *transport, *next_hop, *extension;
		unsigned code;
	} t[] = {
		{ "ann@example.org", "local", "ann", "", 250 },
		{ "Carl+X@example.org", "local", "carl", "x", 250 },
		{ "sales@example.org", "error", "5.1.1 User unknown", "", 250 },
		{ "root@example.org", "local", "root", "", 250 },
		{ "x@outside.example", "smtp", "outside.example", "", 250 },
		{ "x@Outside.Example", "smtp", "outside.example", "", 250 },
		{ "x@1.2.3.4", "error", "5.1.2 mail cannot be sent to the "
		    "domain \"1.2.3.4\": an address is written in brackets: "
		    "[192.0.2.1]", "", 250 },
		{ "a b", "error", "5.1.3 not an address", "", 250 },
		{ "tempuser@example.org", NULL, NULL, NULL, 451 },
	};
	struct settings s;
	struct policy *p = make_policy(&worlds[EXT], &s);
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		struct resolve_request rq = { .reverse_path = SL(""),
			.forward_path = slice_of(t[i].address),
			.client_addr = SL(""), .route_only = true };
		struct memo *m = memo_new();
		struct decision d;
		unsigned rounds;

		decide(p, &rq, m, &d, &rounds);
		assert_int_equal(d.code, t[i].code);
		assert_int_equal(d.ntargets, t[i].transport != NULL ? 1 : 0);
		if (d.ntargets == 1) {
			assert_string_equal(d.targets[0].address, t[i].address);
			assert_string_equal(d.targets[0].transport,
			    t[i].transport);
			assert_string_equal(d.targets[0].next_hop,
			    t[i].next_hop);
			assert_string_equal(d.targets[0].extension,
			    t[i].extension);
		}
		decision_clear(&d);
		memo_free(m);
	}
	policy_free(p);
	settings_clear(&s);
}

/* A list of `n' users as a world of its own. */
static char *
big_list(unsigned n, unsigned limit)
{
	struct strbuf b;
	unsigned i;

	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, HEAD "alias_expansion_limit = %u\n"
	    "alias_maps = inline:{ {big=", limit);
	for (i = 0; i < n; i++) {
		(void)strbuf_printf(&b, "u%u,", i);
	}
	(void)strbuf_add_str(&b, "} }\n");
	return strbuf_take(&b);
}

/* All users are asked for in one round, each once. */
static void
test_big_list(void **state)
{
	char *text = big_list(1000, 1000);
	struct world w = { "big", text };
	struct resolve_request rq = { .forward_path = SL("big@example.org"),
		.client_addr = SL(OUT) };
	struct memo *m = memo_new();
	struct settings s;
	struct decision d;
	struct slice user;
	size_t place = 0, asked = 0;
	struct policy *p;

	(void)state;
	p = make_policy(&w, &s);
	assert_int_equal(resolve(p, &rq, m, &d), RESOLVE_NEED);
	while (memo_need(m, &place, &user)) {
		asked++;
		memo_answer_user(m, user, MAP_FOUND, 1000 + asked, SL(""));
	}
	assert_int_equal(asked, 1000);
	assert_int_equal(resolve(p, &rq, m, &d), RESOLVE_DONE);
	assert_int_equal(d.code, 250);
	assert_int_equal(d.ntargets, 1000);
	assert_string_equal(d.targets[999].next_hop, "u999");
	decision_clear(&d);
	memo_free(m);
	policy_free(p);
	settings_clear(&s);
	free(text);
}

static void
test_too_big_list(void **state)
{
	char *text = big_list(11, 10);
	struct world w = { "too big", text };
	struct row r = { "too big", 0, "big@example.org", OUT, 451, "4.3.5",
		"expands to more than 10 addresses", NULL };
	struct resolve_request rq = { .forward_path = SL("big@example.org"),
		.client_addr = SL(OUT) };
	struct memo *m = memo_new();
	struct settings s;
	struct decision d;
	struct slice user;
	size_t place = 0;
	struct policy *p;

	(void)state;
	p = make_policy(&w, &s);
	assert_int_equal(resolve(p, &rq, m, &d), RESOLVE_NEED);
	while (memo_need(m, &place, &user)) {
		memo_answer_user(m, user, MAP_FOUND, 1000, SL(""));
	}
	assert_int_equal(resolve(p, &rq, m, &d), RESOLVE_DONE);
	assert_int_equal(d.code, r.code);
	assert_non_null(strstr(d.text, r.text));
	decision_clear(&d);
	memo_free(m);
	policy_free(p);
	settings_clear(&s);
	free(text);
}

/* Deeper than alias_recursion_limit (4 in this world): d1 > d2 > ... */
static void
test_depth(void **state)
{
	struct world w = { "depth", HEAD "alias_recursion_limit = 2\n"
	    "alias_maps = inline:{ d1=d2, d2=d3, d3=ann }\n" };
	struct row deep = { "deep", 0, "d1@example.org", OUT, 451, "4.3.5",
		"nested more than 2 deep", NULL };
	struct row good = { "not deep", 0, "d2@example.org", OUT, 250, "2.1.5",
		"", "ann@example.org>ann" };
	struct settings s;
	struct policy *p;

	(void)state;
	p = make_policy(&w, &s);
	check_row(p, &deep);
	check_row(p, &good);
	policy_free(p);
	settings_clear(&s);
}

/* The trace tells the steps in order, each once, with what decided. */
static void
test_trace(void **state)
{
	static const char want[] =
	    "mydestination [example.org] matches example.org\n"
	    "inline [sales] found: ann\n"
	    "inline [ann] not found\n"
	    "users [ann] found: uid 1000\n"
	    "target [ann@example.org] local ann\n"
	    "decision [sales@example.org] 250 2.1.5 Ok\n";
	struct world w = { "trace", HEAD
	    "mydestination = example.org\n"
	    "alias_maps = inline:{sales=ann}\n" };
	struct resolve_request rq = { .forward_path = SL("sales@example.org"),
		.client_addr = SL(OUT) };
	struct memo *m = memo_new();
	struct settings s;
	struct decision d;
	struct strbuf got;
	char *spec;
	unsigned rounds;
	struct policy *p;

	(void)state;
	p = make_policy(&w, &s);
	decide(p, &rq, m, &d, &rounds);
	assert_int_equal(rounds, 2);
	strbuf_init(&got, 0);
	print_trace(m, &got);
	while ((spec = strstr(got.p, "inline:{sales=ann}")) != NULL) {
		memmove(spec + 6, spec + 18, strlen(spec + 18) + 1);
	}
	assert_string_equal(got.p, want);
	strbuf_clear(&got);
	decision_clear(&d);
	memo_free(m);
	policy_free(p);
	settings_clear(&s);
}

/* One mailbox by several addresses. */
static void
test_target_key(void **state)
{
	static char local[] = "local", smtp[] = "smtp", ann[] = "ann",
	    none[] = "", x[] = "x", a1[] = "ann@localhost",
	    a2[] = "Ann@example.org", o1[] = "A@Out.example",
	    o2[] = "A@out.example", o3[] = "a@out.example", hop[] = "mx";
	const struct {
		struct resolve_target a, b;
		bool same;
	} t[] = {
		{ { a1, local, ann, none }, { a2, local, ann, none }, true },
		{ { a1, local, ann, none }, { a1, local, ann, x }, false },
		{ { o1, smtp, hop, none }, { o2, smtp, hop, none }, true },
		{ { o2, smtp, hop, none }, { o3, smtp, hop, none }, false },
	};
	struct strbuf a, b;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		strbuf_init(&a, 0);
		strbuf_init(&b, 0);
		resolve_target_key(&t[i].a, &a);
		resolve_target_key(&t[i].b, &b);
		assert_int_equal(slice_eq(strbuf_slice(&a), strbuf_slice(&b)),
		    t[i].same);
		strbuf_clear(&a);
		strbuf_clear(&b);
	}
}

static void
test_canonical_and_complete(void **state)
{
	static const struct {
		const char *in, *canonical, *complete;
	} t[] = {
		{ "ann.smith@example.org", "ann@example.org", NULL },
		{ "Ann.Smith@Example.ORG", "ann@example.org", NULL },
		{ "x@example.net", NULL, "x@example.net" },
		{ "\"a b\"@old.example", "\"a b\"@example.org", NULL },
		{ "ann", NULL, "ann@example.org" },
		{ "ann@host", NULL, "ann@host.example.org" },
		{ "ann@localhost", NULL, "ann@localhost" },
		{ "ann@[192.0.2.1]", NULL, "ann@[192.0.2.1]" },
		{ "not an address", NULL, "not an address" },
	};
	struct settings s;
	struct policy *p = make_policy(&worlds[CANON], &s);
	struct strbuf out;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		strbuf_init(&out, 0);
		if (t[i].complete != NULL) {
			policy_complete(p, slice_of(t[i].in), &out);
			assert_slice(strbuf_slice(&out), t[i].complete);
			strbuf_reset(&out);
		}
		assert_int_equal(policy_canonical(p, slice_of(t[i].in), &out),
		    t[i].canonical != NULL ? MAP_FOUND : MAP_NONE);
		if (t[i].canonical != NULL) {
			assert_slice(strbuf_slice(&out), t[i].canonical);
		}
		strbuf_clear(&out);
	}
	policy_free(p);
	settings_clear(&s);
}

static void
test_my_network(void **state)
{
	static const struct {
		const char *addr;
		bool mine;
	} t[] = {
		{ "10.255.255.255", true }, { "11.0.0.0", false },
		{ "10.0.0.7", false }, { "10.0.0.8", true },
		{ "::ffff:10.0.0.8", true }, { "::ffff:10.0.0.7", false },
		{ "2001:db8:ffff::1", true }, { "2001:db9::", false },
		{ "192.0.2.1", true }, { "192.0.2.2", false }, { "", false },
		{ "10.0.0", false }, { "10.0.0.8 ", false },
		{ "172.16.1.1", true }, { "172.17.1.1", false },
	};
	struct world w = { "networks", HEAD
	    "mynetworks = !10.0.0.7, 10.0.0.0/8, [2001:db8::]/32, 192.0.2.1, "
	    "cidr:{172.16.0.0/16=x}\n" };
	struct settings s;
	struct policy *p = make_policy(&w, &s);
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		assert_int_equal(policy_is_my_network(p, slice_of(t[i].addr)),
		    t[i].mine);
	}
	policy_free(p);
	settings_clear(&s);
}

static void
test_bad_policy(void **state)
{
	struct settings s;
	struct settings_source src = { 0 };
	struct strlist own = { NULL, 0 };
	struct strbuf why;

	(void)state;
	settings_init(&s);
	strbuf_init(&why, 0);
	assert_true(settings_load("t", SL("myhostname = a.example\n"
	    "alias_maps = cdb:/nonexistent/aliases\n"
	    "canonical_maps = file:/nonexistent/x\nvirtual_alias_maps = inline:{x}\n"),
	    &s, &src, &why));
	assert_null(policy_new(&s, &own, &why));
	assert_non_null(strstr(why.p, "alias_maps: /nonexistent/aliases.cdb: "
	    "No such file"));
	assert_non_null(strstr(why.p, "canonical_maps: /nonexistent/x: "
	    "No such file"));
	assert_non_null(strstr(why.p, "virtual_alias_maps: inline:1: not of"));
	strbuf_clear(&why);
	settings_source_clear(&src);
	settings_clear(&s);
}

/* Routes that cannot be: told with the setting, the value and what is wrong. */
static void
test_bad_routes(void **state)
{
	static const struct {
		const char *settings, *why;
	} t[] = {
		{ "default_transport = smtp:[a", "default_transport: \"smtp:[a\""
		    " no ] after [" },
		{ "default_transport = uucp:x", "default_transport: \"uucp:x\" is "
		    "not smtp:..., lmtp:..., local:" },
		{ "default_transport = local:", "default_transport: \"local:\" is "
		    "not smtp:..., lmtp:..., error:... or hold:" },
		{ "default_transport = :[a.example]", "is not smtp:" },
		{ "default_transport = smtp:unix:/x", "spoken to by lmtp only" },
		{ "mailbox_transport = lmtp:", "mailbox_transport: \"lmtp:\" has "
		    "no next hop" },
		{ "mailbox_transport = lmtp:unix:x", "begins with /" },
		{ "relayhost = 192.0.2.1", "relayhost" },
		{ "relayhost = mx.example.org:nosuch", "relayhost" },
		{ "luser_relay = $user@$extension", "luser_relay: \"${user}@"
		    "${extension}\" is not an address" },
		{ "luser_relay = a b@x.example", "luser_relay" },
		{ "luser_relay = @x.example", "luser_relay" },
		{ "luser_relay = ${user}.@x.example", "luser_relay" },
		{ "transport_maps = inline:{ a.example=smtp:[, b.example=x:y }",
		    "transport_maps: b.example: \"x:y\": is not smtp:" },
		{ "transport_maps = inline:{ a.example={local:x} }",
		    "transport_maps: a.example: \"local:x\": local: has no next "
		    "hop (mail for it would wait)" },
		{ "transport_maps = static:smtp:1.2.3.4", "any key" },
		{ "transport_maps = inline:{ a.example=lmtp:unix:/run/x }",
		    "names a socket that nobody connects to: add it to "
		    "lmtp_sockets" },
		{ "notice_recipient = the postmaster", "notice_recipient: \"the "
		    "postmaster\" is not an address" },
		{ "notice_recipient = <a@b.example>", "is not an address" },
		{ "relay_recipient_maps = cdb:/nonexistent/r",
		    "relay_recipient_maps: /nonexistent/r.cdb" },
		{ "local_recipient_maps = users: cdb:/nonexistent/l",
		    "local_recipient_maps: /nonexistent/l.cdb" },
	};
	static const char *const good[] = {
		"lmtp_sockets = /run/x\n"
		    "transport_maps = inline:{ a.example=lmtp:unix:/run/x }",
		"mailbox_transport = lmtp:unix:/run/x\n"
		    "transport_maps = inline:{ a.example=lmtp:unix:/run/x }",
		"default_transport = hold:",
		"notice_recipient = a.b@c.example",
		"luser_relay = ${user}+$extension@$domain",
	};
	struct strlist own = { NULL, 0 };
	struct strbuf why, text;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t) + NELEMS(good); i++) {
		struct settings_source src = { 0 };
		struct settings s;
		struct policy *p = NULL;

		strbuf_init(&why, 0);
		strbuf_init(&text, 0);
		(void)strbuf_printf(&text, "myhostname = a.example\n"
		    "alias_maps =\n%s\n",
		    i < NELEMS(t) ? t[i].settings : good[i - NELEMS(t)]);
		settings_init(&s);
		if (settings_load("t", strbuf_slice(&text), &s, &src, &why)) {
			p = policy_new(&s, &own, &why);
			settings_source_clear(&src);
			settings_clear(&s);
		}
		if (i < NELEMS(t) && (p != NULL ||
		    strstr(why.p, t[i].why) == NULL)) {
			fail_msg("%s: %s", t[i].settings,
			    why.p != NULL ? why.p : "taken");
		}
		if (i >= NELEMS(t) && p == NULL) {
			fail_msg("%s: %s", text.p, why.p);
		}
		policy_free(p);
		strbuf_clear(&text);
		strbuf_clear(&why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_relay_forms),
		cmocka_unit_test(test_route),
		cmocka_unit_test(test_big_list),
		cmocka_unit_test(test_too_big_list),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_target_key),
		cmocka_unit_test(test_canonical_and_complete),
		cmocka_unit_test(test_my_network),
		cmocka_unit_test(test_bad_policy),
		cmocka_unit_test(test_bad_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
