#include "config.h"

#include "tests/unit/resolve_kit.h"

const struct world worlds[] = {
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
