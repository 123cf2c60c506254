/*
 * dns - asks the resolvers, and keeps what they answered.
 *
 * Given: the settings dns_*, channels to remote and cleanup. Talks to: master,
 * those two, and the DNS servers of dns_servers or resolv.conf; it listens on
 * nothing. Gives up: all files but what lies in the directories of resolv.conf
 * and hosts, to read; writing, executing, its uid.
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "common/child.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "services/dns_ask.h"
#include "services/dns_conf.h"
#include "services/dns_watch.h"

#define RESOLV_CONF_MAX (256 * 1024)       /* octets */
#define HOSTS_MAX       (32 * 1024 * 1024) /* octets */
#define QUEUED_MAX      (4 * 1024 * 1024)  /* octets that a peer lets wait */

/*
 * Where /etc/resolv.conf may lead one day, though not yet: a network daemon
 * makes the link when it comes up. What is not there needs no rule.
 */
static const char *const likely[] = {
	"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
	"/run/connman", "/etc/resolvconf/run",
};

/* Who may ask, in the order of `clients'. */
static const enum ipc_role askers[] = { IPC_REMOTE, IPC_CLEANUP };

struct dns {
	struct child child;
	struct dns_ask *ask;
	struct dns_watch *resolv_conf, *hosts;
	struct strlist found;  /* the servers of resolv.conf */
	struct ipc_chan *clients[NELEMS(askers)];
	struct strbuf servers; /* in force, for the log */
};

/* -- answers ----------------------------------------------------------------- */

static void
reply(void *asker, uint32_t tid, const struct dns_answer *a)
{
	struct ipc_chan *ch = asker;

	ipc_begin(ch, IPC_DNS_ANSWER, tid);
	ipc_put_u(ch, (uint64_t)a->status);
	ipc_put_u(ch, a->secure ? 1 : 0);
	ipc_put_u(ch, a->ttl);
	ipc_put_s(ch, a->records);
	ipc_put_s(ch, a->reason);
	ipc_end(ch);
	if (ipc_chan_queued(ch) > QUEUED_MAX) {
		ipc_chan_pause(ch, true); /* who does not read may not ask */
	}
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	char name[DNS_NAME_MAX + 1];
	struct dns *d = owner;

	if (m->type != IPC_DNS_QUERY || !dns_type_known(ipc_u(m, 1)) ||
	    (ipc_u(m, 2) & ~(uint64_t)DNS_ASK_HOSTS) != 0 ||
	    !dns_name_normal(ipc_s(m, 0), name)) {
		return false;
	}
	dns_ask(d->ask, ch, m->tid, slice_of(name),
	    (enum dns_type)ipc_u(m, 1), (unsigned)ipc_u(m, 2));
	return true;
}

static void
on_drained(void *owner, struct ipc_chan *ch)
{
	(void)owner;
	ipc_chan_pause(ch, false);
}

static void
drop_channel(struct dns *d, size_t i)
{
	if (d->clients[i] != NULL) {
		dns_ask_forget(d->ask, d->clients[i]);
		ipc_chan_free(d->clients[i]);
		d->clients[i] = NULL;
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct dns *d = owner;
	size_t i;

	for (i = 0; i < NELEMS(askers); i++) {
		if (d->clients[i] == ch) {
			log_debug("%s is gone: %s", ipc_role_name(askers[i]),
			    why);
			drop_channel(d, i); /* master makes a fresh one */
		}
	}
}

static const struct ipc_chan_ops client_ops[NELEMS(askers)] = {
	{ .me = IPC_DNS, .peer = IPC_REMOTE, .message = on_message,
	    .closed = on_closed, .drained = on_drained },
	{ .me = IPC_DNS, .peer = IPC_CLEANUP, .message = on_message,
	    .closed = on_closed, .drained = on_drained },
};

static void
on_channel(struct child *c, enum ipc_role peer, unsigned index, int fd)
{
	struct dns *d = c->arg;
	size_t i;

	(void)index;
	for (i = 0; i < NELEMS(askers); i++) {
		if (askers[i] == peer) {
			drop_channel(d, i);
			d->clients[i] = ipc_chan_new(c->base, fd,
			    &client_ops[i], d);
			return;
		}
	}
	log_warn("a channel to %s is not for us", ipc_role_name(peer));
	(void)close(fd);
}

/* -- the settings and files --------------------------------------------------- */

static void
use_servers(struct dns *d)
{
	const struct strlist *l = d->child.settings.dns_servers.n > 0 ?
	    &d->child.settings.dns_servers : &d->found;
	struct strbuf text;
	const char *why;
	size_t i;

	strbuf_init(&text, 0);
	for (i = 0; i < l->n; i++) {
		(void)strbuf_printf(&text, "%s%s", i > 0 ? ", " : "", l->at[i]);
	}
	if (l->n == 0 || slice_eq(strbuf_slice(&text),
	    strbuf_slice(&d->servers))) {
		strbuf_clear(&text);
		return;
	}
	why = dns_ask_servers(d->ask, l);
	if (why != NULL) {
		log_error("the DNS servers %s cannot be used: %s", text.p, why);
		strbuf_clear(&text);
		return;
	}
	log_info("asking the DNS servers %s", text.p);
	strbuf_clear(&d->servers);
	d->servers = text;
}

static void
on_resolv_conf(void *arg, bool there, struct slice text)
{
	struct dns *d = arg;

	if (!there && d->child.settings.dns_servers.n == 0) {
		log_info("there is no %s", d->child.settings.dns_resolv_conf);
	}
	strlist_clear(&d->found);
	dns_conf_servers(text, &d->found);
	use_servers(d);
}

static void
on_hosts(void *arg, bool there, struct slice text)
{
	struct dns *d = arg;

	dns_ask_hosts(d->ask, there ? dns_hosts_new(text) : NULL);
}

static void
on_reloaded(struct child *c)
{
	struct dns *d = c->arg;

	dns_ask_limits(d->ask, c->settings.dns_timeout * 1000,
	    c->settings.dns_cache_limit);
	use_servers(d);
}

static const struct child_ops ops = {
	.channel = on_channel,
	.reloaded = on_reloaded,
};

static void
lock(struct dns *d)
{
	const struct settings *s = &d->child.settings;
	struct sandbox_path paths[2 * DNS_WATCH_LINKS + NELEMS(likely)];
	struct strlist dirs = { NULL, 0 };
	struct sandbox_request rq = { .program = IPC_DNS, .user = s->dns_user,
		.paths = paths, .probe = s->wall_probe };
	char walls[256];
	size_t i;

	dns_watch_directories(s->dns_resolv_conf, &dirs);
	dns_watch_directories(s->dns_hosts_file, &dirs);
	for (i = 0; i < dirs.n; i++) {
		paths[rq.npaths++] = (struct sandbox_path){ dirs.at[i], false };
	}
	for (i = 0; i < NELEMS(likely); i++) {
		paths[rq.npaths++] = (struct sandbox_path){ likely[i], false };
	}
	sandbox_enter(&rq, walls, sizeof(walls));
	child_set_walls(&d->child, walls);
	strlist_clear(&dirs);
}

int
main(int argc, char **argv)
{
	static struct dns d;
	const struct settings *s = &d.child.settings;

	child_begin(&d.child, IPC_DNS, argc, argv);
	d.child.arg = &d;
	strbuf_init(&d.servers, 0);
	lock(&d);
	/* behind the walls: who parses files, parses them without rights */
	d.ask = dns_ask_new(d.child.base, reply, s->dns_timeout * 1000,
	    s->dns_cache_limit);
	d.resolv_conf = dns_watch_new(d.child.base, s->dns_resolv_conf,
	    RESOLV_CONF_MAX, on_resolv_conf, &d);
	d.hosts = dns_watch_new(d.child.base, s->dns_hosts_file, HOSTS_MAX,
	    on_hosts, &d);
	child_run(&d.child, &ops);
}
