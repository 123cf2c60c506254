/*
 * settings - every setting of the system, in one table.
 *
 * A row: type, name, default as text (read by the same parser), least and
 * greatest value, the programs that receive it, meaning. The table makes the
 * struct, the parser, `veredus config' and the test that each row stands in
 * the manual. The file is read by master and the tools only; a program gets
 * the rows that name it as its first IPC messages.
 *
 * The file: "name = value" lines; a line that begins with white space goes on
 * with the value before; "#" at the start of a line is a comment. In a value
 * "$name" and "${name}" stand for another setting's value ("$$" is a dollar).
 * In a row marked SET_PARTS $user, $extension and $domain are kept as they are:
 * they stand for parts of the address that the value is used for.
 * A value of a TEXT row marked SET_FILE that is an absolute path is replaced by
 * the first line of that file (myorigin = /etc/mailname). Lists are separated
 * by commas or white space; a member "/path" of a SET_FILE list is replaced by
 * the lines of that file.
 */
#ifndef COMMON_SETTINGS_H
#define COMMON_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/strbuf.h"

/* Owned list of owned strings. */
struct strlist {
	char **at;
	size_t n;
};
/* Frees the members and the list, which is empty then. */
void strlist_clear(struct strlist *l);

enum set_type {
	SET_TEXT,    /* char *; min/max: octets */
	SET_LIST,    /* struct strlist; min/max: members */
	SET_BOOL,    /* bool: yes or no */
	SET_NUMBER,  /* uint64_t */
	SET_SIZE,    /* uint64_t octets: 10M, 64k, 1G */
	SET_SECONDS, /* uint64_t seconds: 5s, 5m, 1h, 5d, 1w; bare: seconds */
};

/* C types of the struct's fields. */
#define SET_C_TEXT    char *
#define SET_C_LIST    struct strlist
#define SET_C_BOOL    bool
#define SET_C_NUMBER  uint64_t
#define SET_C_SIZE    uint64_t
#define SET_C_SECONDS uint64_t

/* Receivers: master and the tools read the file themselves. */
#define P_LOG     (1u << 0)
#define P_USERS   (1u << 1)
#define P_CLEANUP (1u << 2)
#define P_QMGR    (1u << 3)
#define P_FORKER  (1u << 4)
#define P_LOCAL   (1u << 5)
#define P_SMTPD   (1u << 6)
#define P_REMOTE  (1u << 7)
#define P_DNS     (1u << 8)
#define P_NONE    0u /* master only */
#define P_ALL     0x1ffu
#define SET_FILE  (1u << 16) /* a path stands for the file's content */
#define SET_PARTS (1u << 17) /* $user, $extension and $domain stay: parts of an
                                address that comes later */

#define SETTINGS(S)                                                            \
	S(TEXT, myhostname, "", 0, 255, P_CLEANUP | P_SMTPD | P_QMGR | P_LOCAL | P_FORKER | P_REMOTE | SET_FILE, \
	    "this host's name as mail knows it; empty: the system's name, made fully qualified with mydomain") \
	S(TEXT, mydomain, "", 0, 255, P_CLEANUP | SET_FILE,                    \
	    "the domain of this host; empty: myhostname without its first label") \
	S(TEXT, myorigin, "$myhostname", 1, 255, P_CLEANUP | SET_FILE,         \
	    "the domain that completes an address without one")                \
	S(LIST, mydestination, "$myhostname, localhost.$mydomain, localhost", 0, 10000, P_CLEANUP | SET_FILE, \
	    "domains delivered to local users; !name excludes, type:name asks a map") \
	S(LIST, mynetworks, "127.0.0.0/8, [::1]/128", 0, 10000, P_CLEANUP | SET_FILE, \
	    "networks whose clients may relay; !net excludes")                 \
	S(LIST, relay_domains, "", 0, 10000, P_CLEANUP | SET_FILE,             \
	    "further domains that mail is accepted for, from anyone")          \
	S(TEXT, relayhost, "", 0, 255, P_CLEANUP, "next hop for mail that leaves the host, relay_domains too: domain, [host] or either with :port") \
	S(TEXT, default_transport, "smtp", 1, 255, P_CLEANUP, "the transport of mail that leaves the host: smtp, lmtp:..., error:..., hold:") \
	S(LIST, relay_recipient_maps, "", 0, 16, P_CLEANUP, "the valid recipients of relay_domains; empty: all") \
	S(LIST, alias_maps, "cdb:" SYSCONFDIR "/aliases", 0, 16, P_CLEANUP,    \
	    "maps of local names to their targets")                            \
	S(LIST, alias_files, SYSCONFDIR "/aliases", 0, 16, P_NONE,             \
	    "text files that newaliases compiles, each to the file with .cdb added") \
	S(LIST, canonical_maps, "", 0, 16, P_CLEANUP, "rewrite addresses in envelope and header") \
	S(LIST, virtual_alias_maps, "", 0, 16, P_CLEANUP, "redirect whole addresses or domains") \
	S(LIST, transport_maps, "", 0, 16, P_CLEANUP, "transport and next hop by address or domain") \
	S(LIST, relocated_maps, "", 0, 16, P_CLEANUP, "users that have moved, with their new address") \
	S(LIST, local_recipient_maps, "users: $alias_maps", 0, 16, P_CLEANUP,  \
	    "the valid recipients of mydestination; users: is the account database; empty: all are taken, and unknown ones bounce") \
	S(TEXT, luser_relay, "", 0, 255, P_CLEANUP | SET_PARTS, "where mail for unknown local users goes: an address; $user, $extension and $domain stand for parts of theirs; local_recipient_maps must let them in") \
	S(TEXT, mailbox_transport, "", 0, 255, P_CLEANUP, "who delivers to the mailboxes of local users instead of local, after aliases: lmtp:unix:/path") \
	S(BOOL, relocated_forward, "no", 0, 0, P_CLEANUP,                      \
	    "forward mail of relocated users (251) instead of refusing it (551)") \
	S(TEXT, local_users, "nss", 1, 1024, P_USERS | P_FORKER | P_CLEANUP | P_LOCAL, \
	    "the account database: nss, or file:PATH in passwd's format")      \
	S(TEXT, home_mailbox, "", 0, 255, P_FORKER,                            \
	    "the mailbox below the user's home, with a trailing slash a Maildir, without one an mbox; empty: an mbox in mail_spool_directory") \
	S(TEXT, mail_spool_directory, "/var/mail", 1, 4000, P_FORKER,          \
	    "where the mbox files of users are, each by the user's name")      \
	S(SIZE, mailbox_size_limit, "500M", 0, UINT64_MAX, P_FORKER,           \
	    "octets of an mbox file, not less than message_size_limit; 0: no limit") \
	S(TEXT, recipient_delimiter, "", 0, 1, P_CLEANUP, "separates user and extension: + or -") \
	S(SIZE, message_size_limit, "50M", 1024, UINT32_MAX, P_CLEANUP | P_SMTPD | P_FORKER, \
	    "octets of a message, header included")                            \
	S(SIZE, header_size_limit, "1M", 4096, 16777216, P_CLEANUP, "octets of a message's header") \
	S(NUMBER, hopcount_limit, "100", 1, 1000, P_CLEANUP, "Received fields before a loop is assumed (RFC 5321, 6.3)") \
	S(TEXT, queue_directory, LOCALSTATEDIR "/spool/veredus", 1, 4000, P_CLEANUP, "the spool") \
	S(SIZE, queue_minfree, "64M", 0, UINT64_MAX, P_CLEANUP, "free octets of the spool's file system below which MAIL is answered 452") \
	S(SIZE, spool_memory_limit, "64M", 1048576, UINT32_MAX, P_CLEANUP, "octets of fresh messages kept in memory for their first delivery") \
	S(NUMBER, journal_segments, "4", 0, 64, P_CLEANUP, "files of the journal in front of the spool's files, 3 at least; 0: no journal") \
	S(SIZE, journal_segment_size, "32M", 524288, 1073741824, P_CLEANUP, "octets of each of them") \
	S(TEXT, runtime_directory, RUNSTATEDIR "/veredus", 1, 90, P_NONE, "sockets") \
	S(TEXT, daemon_directory, DAEMONDIR, 1, 4000, P_NONE, "where the programs are") \
	S(LIST, inet_protocols, "ipv4, ipv6", 1, 2, P_CLEANUP | P_REMOTE, "address families: ipv4, ipv6") \
	S(LIST, dns_servers, "", 0, 8, P_DNS, "address:port of resolvers; empty: /etc/resolv.conf") \
	S(LIST, listen, "127.0.0.1:25, [::1]:25", 0, 64, P_CLEANUP | P_REMOTE, "address:port to accept mail on; the address may be *") \
	S(LIST, inet_interfaces, "", 0, 10000, P_CLEANUP | P_REMOTE,           \
	    "addresses of this host, for user@[address] and to notice an MX that points back here; empty: those of listen, for * those of all interfaces") \
	S(TEXT, log, "syslog", 1, 4000, P_NONE, "syslog, stderr or file:PATH") \
	S(BOOL, debug, "no", 0, 0, P_ALL, "log debug lines")                   \
	S(SECONDS, minimal_backoff_time, "5m", 1, 864000, P_QMGR, "the first retry of a deferred recipient") \
	S(SECONDS, maximal_backoff_time, "66m", 1, 864000, P_QMGR, "the longest time between two attempts") \
	S(SECONDS, maximal_queue_lifetime, "5d", 0, 8640000, P_CLEANUP | P_QMGR, "a message is given up after this long; 0: after one attempt") \
	S(SECONDS, bounce_queue_lifetime, "5d", 0, 8640000, P_QMGR, "the same for one with the null reverse-path") \
	S(SECONDS, delay_warning_time, "0", 0, 8640000, P_QMGR, "the sender is told of mail that waits this long; 0: never") \
	S(BOOL, soft_bounce, "no", 0, 0, P_CLEANUP | P_QMGR | P_SMTPD, "for tests of a new configuration: no permanent failure, each 5yz becomes 4yz") \
	S(LIST, defer_transports, "", 0, 100, P_QMGR, "transports whose mail waits until it is flushed") \
	S(LIST, notify_classes, "resource, software", 0, 8, P_CLEANUP | P_QMGR, \
	    "what postmaster is told of: bounce, 2bounce, delay, resource, software") \
	S(TEXT, notice_recipient, "postmaster", 1, 255, P_CLEANUP, "who gets the notices of notify_classes, and double bounces") \
	S(SIZE, bounce_size_limit, "50000", 0, 16777216, P_CLEANUP, "octets of the original header that a notice brings back") \
	S(NUMBER, qmgr_message_active_limit, "20000", 1, 1000000, P_QMGR, "messages scheduled at a time") \
	S(NUMBER, default_destination_concurrency_limit, "20", 1, 1000, P_QMGR, "deliveries to one next hop at a time") \
	S(NUMBER, smtp_destination_concurrency_limit, "$default_destination_concurrency_limit", 1, 1000, P_QMGR, "the same by smtp") \
	S(NUMBER, lmtp_destination_concurrency_limit, "$default_destination_concurrency_limit", 1, 1000, P_QMGR, "the same by lmtp") \
	S(NUMBER, local_destination_concurrency_limit, "64", 1, 1000, P_QMGR, "deliveries to one user at a time") \
	S(NUMBER, initial_destination_concurrency, "5", 1, 1000, P_QMGR, "deliveries to a next hop that nothing is known of yet") \
	S(NUMBER, smtp_initial_destination_concurrency, "$initial_destination_concurrency", 1, 1000, P_QMGR, "the same by smtp") \
	S(NUMBER, lmtp_initial_destination_concurrency, "$initial_destination_concurrency", 1, 1000, P_QMGR, "the same by lmtp") \
	S(NUMBER, default_destination_recipient_limit, "100", 1, 256, P_QMGR, "recipients of one mail transaction to a next hop") \
	S(NUMBER, smtp_destination_recipient_limit, "$default_destination_recipient_limit", 1, 256, P_QMGR, "the same by smtp") \
	S(NUMBER, lmtp_destination_recipient_limit, "$default_destination_recipient_limit", 1, 256, P_QMGR, "the same by lmtp") \
	S(NUMBER, local_destination_recipient_limit, "50", 1, 256, P_QMGR, "recipients of one delivery to a user") \
	S(SECONDS, default_destination_rate_delay, "0", 0, 86400, P_QMGR, "a pause between two deliveries to one next hop, which then go one at a time; 0: none") \
	S(SECONDS, smtp_destination_rate_delay, "$default_destination_rate_delay", 0, 86400, P_QMGR, "the same by smtp") \
	S(SECONDS, lmtp_destination_rate_delay, "$default_destination_rate_delay", 0, 86400, P_QMGR, "the same by lmtp") \
	S(SECONDS, local_destination_rate_delay, "$default_destination_rate_delay", 0, 86400, P_QMGR, "the same to one user") \
	S(NUMBER, remote_connection_limit, "5000", 1, 100000, P_REMOTE, "connections of remote at a time") \
	S(TEXT, smtp_helo_name, "$myhostname", 1, 255, P_REMOTE | SET_FILE, "the name that remote gives itself in EHLO") \
	S(LIST, lmtp_sockets, "", 0, 64, P_CLEANUP, "UNIX sockets that mail may be delivered to, beside those that mailbox_transport and default_transport name") \
	S(SECONDS, smtp_connect_timeout, "30s", 1, 3600, P_REMOTE, "a connection to one address") \
	S(SECONDS, smtp_helo_timeout, "5m", 1, 3600, P_REMOTE, "the greeting, and the answer to EHLO (RFC 5321, 4.5.3.2.1)") \
	S(SECONDS, smtp_mail_timeout, "5m", 1, 3600, P_REMOTE, "the answer to MAIL (4.5.3.2.2)") \
	S(SECONDS, smtp_rcpt_timeout, "5m", 1, 3600, P_REMOTE, "the answer to RCPT (4.5.3.2.3)") \
	S(SECONDS, smtp_data_init_timeout, "2m", 1, 3600, P_REMOTE, "the answer to DATA (4.5.3.2.4)") \
	S(SECONDS, smtp_data_xfer_timeout, "3m", 1, 3600, P_REMOTE, "a piece of content is taken by the peer (4.5.3.2.5)") \
	S(SECONDS, smtp_data_done_timeout, "10m", 1, 7200, P_REMOTE, "the answer to the end of data (4.5.3.2.6)") \
	S(SECONDS, smtp_quit_timeout, "10s", 1, 3600, P_REMOTE, "the answer to QUIT and RSET") \
	S(SECONDS, smtp_connection_cache_time_limit, "2s", 0, 3600, P_REMOTE, "an idle connection is kept this long for the next message") \
	S(NUMBER, smtp_connection_reuse_count_limit, "100", 1, 100000, P_REMOTE, "messages over one connection") \
	S(NUMBER, smtp_mx_address_limit, "5", 1, 100, P_CLEANUP | P_REMOTE, "addresses of a next hop that one delivery tries") \
	S(SECONDS, dns_timeout, "20s", 1, 300, P_DNS, "a lookup ends after this long") \
	S(NUMBER, dns_cache_limit, "50000", 0, 10000000, P_DNS, "answers that dns keeps") \
	S(TEXT, dns_resolv_conf, "/etc/resolv.conf", 1, 4000, P_DNS, "where the resolvers stand, unless dns_servers is set; watched") \
	S(TEXT, dns_hosts_file, "/etc/hosts", 1, 4000, P_DNS, "addresses of [host] next hops before DNS is asked; watched") \
	S(NUMBER, local_process_limit, "50", 1, 1000, P_LOCAL | P_FORKER, "workers, one a user, at a time") \
	S(SECONDS, local_worker_idle, "10s", 1, 3600, P_LOCAL, "an idle worker ends after this long") \
	S(SECONDS, local_delivery_timeout, "5m", 1, 86400, P_LOCAL | P_FORKER, "a worker that takes longer is given up and its mail deferred") \
	S(TEXT, default_privs, "nobody", 1, 255, P_FORKER | P_CLEANUP, "who runs what root's maps name; never root") \
	S(NUMBER, smtpd_processes, "1", 1, 64, P_NONE, "smtpd workers")        \
	S(NUMBER, smtpd_max_sessions, "5000", 1, 100000, P_SMTPD, "sessions of one worker; more are answered 421") \
	S(SECONDS, smtpd_timeout, "5m", 1, 3600, P_SMTPD, "close a session idle this long (RFC 5321, 4.5.3.2.7)") \
	S(SECONDS, smtpd_slow_timeout, "30m", 1, 86400, P_SMTPD, "close a session that has sent less than 100 octets a second for this long, counted from its last message") \
	S(NUMBER, smtpd_recipient_limit, "1000", 100, 50000, P_SMTPD, "recipients of one mail transaction; more are answered 452") \
	S(NUMBER, smtpd_hard_error_limit, "20", 1, 1000, P_SMTPD, "bad commands of a session before it is closed with 421") \
	S(NUMBER, smtpd_command_limit, "10000", 100, 1000000, P_SMTPD, "commands of a session before it is closed with 421") \
	S(BOOL, smtpd_forbid_bare_newline, "yes", 0, 0, P_SMTPD, "refuse a bare CR or LF in the content with 550; no: each counts as a line end, but never ends the message") \
	S(TEXT, smtpd_banner, "$myhostname ESMTP Veredus", 1, 400, P_SMTPD, "the greeting after 220; begins with the host's name") \
	S(TEXT, root_user, "root", 1, 255, P_NONE, "owner of what only an administrator may do") \
	S(TEXT, admin_group, "root", 1, 255, P_NONE, "group that may use the admin socket") \
	S(TEXT, log_user, "_vlog", 1, 255, P_LOG, "uid of log")                \
	S(TEXT, users_user, "_vusers", 1, 255, P_USERS, "uid of users")        \
	S(TEXT, queue_user, "_vqueue", 1, 255, P_CLEANUP, "uid of cleanup, owner of the spool") \
	S(TEXT, qmgr_user, "_vqmgr", 1, 255, P_QMGR, "uid of qmgr")            \
	S(TEXT, local_user, "_vlocal", 1, 255, P_LOCAL, "uid of local's dispatcher") \
	S(TEXT, smtpd_user, "_vsmtpd", 1, 255, P_SMTPD, "uid of smtpd")        \
	S(TEXT, remote_user, "_vremote", 1, 255, P_REMOTE, "uid of remote")    \
	S(TEXT, dns_user, "_vdns", 1, 255, P_DNS, "uid of dns")                \
	S(TEXT, empty_directory, "$queue_directory/empty", 1, 4000, P_ALL, "the empty root directory of programs that open no file") \
	S(SECONDS, stop_timeout, "20s", 1, 600, P_NONE, "a program that has not stopped by then is killed") \
	S(SECONDS, watchdog_timeout, "5s", 1, 600, P_NONE, "a program silent this long is killed and started again") \
	S(SECONDS, ipc_timeout, "60s", 1, 3600, P_ALL, "an answer from another program is awaited this long") \
	S(NUMBER, alias_expansion_limit, "1000", 1, 50000, P_CLEANUP, "addresses that one recipient may become") \
	S(NUMBER, alias_recursion_limit, "50", 1, 1000, P_CLEANUP, "aliases inside aliases") \
	S(BOOL, wall_probe, "no", 0, 0, P_ALL, "for tests: each program tries what its walls forbid, and logs the results")

struct settings {
#define SET_FIELD(type, name, def, min, max, flags, meaning) SET_C_##type name;
	SETTINGS(SET_FIELD)
#undef SET_FIELD
};

struct set_row {
	const char *name, *def, *meaning;
	enum set_type type;
	size_t offset; /* in struct settings */
	uint64_t min, max;
	unsigned flags; /* P_*, SET_FILE */
};
extern const struct set_row settings_table[];
extern const size_t settings_count;

/* Is `member' in the list, to the octet? */
bool settings_list_has(const struct strlist *l, const char *member);
/* Row by name, or NULL. */
const struct set_row *settings_find(struct slice name);
/* The known name nearest to `name' (edit distance), or NULL if none is near. */
const char *settings_nearest(struct slice name);

/* "90", "90s", "1h", "2d": as in the file; saturates. False: none of these. */
bool settings_read_seconds(struct slice value, uint64_t *seconds);

void settings_init(struct settings *s); /* all empty or 0, not the defaults */
void settings_clear(struct settings *s);
/*
 * Parse one expanded value into its row of *s. On false `why' says what is
 * wrong and what would be right, and *s is untouched.
 */
bool settings_set(struct settings *s, const struct set_row *row,
    struct slice value, struct strbuf *why);

/* Where each value came from, as text: for config, errors and the rows sent. */
struct settings_source {
	char **value; /* by index of settings_table: expanded text */
	char **raw;   /* as written, or the default */
	int *line;    /* in the file; 0: the default */
};
void settings_source_clear(struct settings_source *src);
/*
 * Read the file at `path' (or, when text.p is not NULL, that text under that
 * name), expand, parse and check all. Fills *s and *src, whatever they were;
 * clear both after true. On false both are empty and `errors' holds one line for
 * each thing that is wrong: "FILE:LINE: what (did you mean NAME?)".
 */
bool settings_load(const char *path, struct slice text, struct settings *s,
    struct settings_source *src, struct strbuf *errors);

#endif
