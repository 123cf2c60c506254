#include "config.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "cleanup/accepting.h"
#include "cleanup/alarm.h"
#include "cleanup/content_service.h"
#include "cleanup/hosts.h"
#include "cleanup/pickup.h"
#include "cleanup/queue_service.h"
#include "cleanup/resolving.h"
#include "cleanup/smtpd_service.h"
#include "common/qid.h"
#include "common/xmalloc.h"
#include "tests/unit/cleanup_world.h"

#define HEAD "myhostname = mx.example.org\nmydomain = example.org\n"           \
	"myorigin = example.org\nmydestination = example.org, localhost\n"     \
	"queue_minfree = 0\n"

/* -- fakes ------------------------------------------------------------------ */

static void
got_clear(struct got *g)
{
	unsigned i;

	for (i = 0; i < IPC_FIELDS_MAX; i++) {
		strbuf_clear(&g->s[i]);
	}
	if (g->fd > 0) {
		(void)close(g->fd);
	}
	*g = (struct got){ 0 };
}

static void
peer_forget(struct peer *p)
{
	while (p->n > 0) {
		got_clear(&p->got[--p->n]);
	}
	p->at = 0;
}

static bool
on_peer_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct peer *p = owner;
	struct got *g = &p->got[p->n];
	unsigned i;

	(void)ch;
	if (m->type == IPC_SCANNED) { /* comes when it comes */
		p->scanned = m->field[0].u;
		return true;
	}
	assert_true(p->n < GOT_MAX);
	p->n++;
	g->type = m->type;
	g->tid = m->tid;
	for (i = 0; i < m->nfields; i++) {
		if (m->field[i].kind == 'u') {
			g->u[i] = m->field[i].u;
		} else if (m->field[i].kind == 'f') {
			g->fd = ipc_take_fd(m);
		} else {
			(void)strbuf_add_slice(&g->s[i], m->field[i].s);
		}
	}
	return true;
}

static void
on_peer_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct peer *p = owner;

	(void)why;
	p->closed = true;
	ipc_chan_free(ch);
	p->ch = NULL;
}

/* Returns cleanup's end. */
static int
connect_peer(struct world *w, struct peer *p, enum ipc_role me)
{
	int sv[2];

	ipc_chan_free(p->ch);
	peer_forget(p);
	p->closed = false;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	p->ops = (struct ipc_chan_ops){ .me = me, .peer = IPC_CLEANUP,
		.message = on_peer_message, .closed = on_peer_closed };
	p->ch = ipc_chan_new(w->base, sv[0], &p->ops, p);
	return sv[1];
}

void
world_connect_smtpd(struct world *w, unsigned index)
{
	smtpd_service_channel(w->pg.smtpd, index,
	    connect_peer(w, &w->smtpd, IPC_SMTPD));
	assert_int_equal(peer_next(w, &w->smtpd, IPC_ACCEPTING)->u[0], 250);
}

void
world_connect_users(struct world *w)
{
	resolving_channel(w->pg.resolving,
	    connect_peer(w, &w->users, IPC_USERS));
}

void
world_connect_qmgr(struct world *w)
{
	queue_service_channel(w->pg.queue,
	    connect_peer(w, &w->qmgr, IPC_QMGR));
}

void
world_connect_local(struct world *w)
{
	content_service_channel(w->pg.content,
	    connect_peer(w, &w->local, IPC_LOCAL));
}

void
world_connect_dns(struct world *w)
{
	if (w->dns.got == NULL) {
		w->dns.got = xcalloc(GOT_MAX, sizeof(*w->dns.got));
	}
	hosts_channel(w->pg.hosts, connect_peer(w, &w->dns, IPC_DNS));
}

/* -- the world --------------------------------------------------------------- */

static void
on_accepting(struct program *pg, const struct reply *r)
{
	if (pg->smtpd != NULL) {
		smtpd_service_accepting(pg->smtpd, r);
	}
}

static void
make_parts(struct world *w)
{
	const struct spool_config cfg = { .queue_fd = w->dirfd,
		.memory_limit = w->settings.spool_memory_limit };
	const struct strlist own = { NULL, 0 };
	struct program *pg = &w->pg;
	struct strbuf why;

	*pg = (struct program){ .base = w->base, .settings = &w->settings };
	strbuf_init(&why, 0);
	pg->policy = policy_new(&w->settings, &own, &why);
	if (pg->policy == NULL) {
		fail_msg("policy: %s", why.p);
	}
	memset(pg->cookie_key, 7, sizeof(pg->cookie_key));
	assert_int_equal(spool_open(w->base, &cfg, &pg->spool), 0);
	pg->resolving = resolving_new(w->base, pg->policy,
	    w->settings.ipc_timeout * 1000);
	pg->hosts = hosts_new(pg->base, pg->settings);
	pg->alarm = alarm_new(pg);
	pg->accepting = accepting_new(pg, on_accepting);
	pg->smtpd = smtpd_service_new(pg);
	pg->queue = queue_service_new(pg);
	pg->content = content_service_new(pg, IPC_LOCAL);
	world_connect_users(w);
	world_connect_smtpd(w, 0);
	world_connect_qmgr(w);
	world_connect_local(w);
}

static void
free_parts(struct world *w)
{
	struct program *pg = &w->pg;

	world_settle(w);
	pickup_free(pg->pickup);
	content_service_free(pg->content);
	queue_service_free(pg->queue);
	smtpd_service_free(pg->smtpd);
	accepting_free(pg->accepting);
	alarm_free(pg->alarm);
	hosts_free(pg->hosts);
	resolving_free(pg->resolving);
	assert_int_equal(pg->pending_octets, 0);
	assert_int_equal(pg->committing, 0);
	strbuf_clear(&pg->scratch);
	spool_close(pg->spool);
	policy_free(pg->policy);
}

void
world_restart(struct world *w)
{
	free_parts(w);
	make_parts(w);
}

void
world_begin(struct world *w, const char *settings)
{
	char dir[64] = "/tmp/cleanup-test-XXXXXX";

	assert_non_null(mkdtemp(dir));
	world_begin_in(w, dir, settings);
}

void
world_begin_in(struct world *w, const char *dir, const char *settings)
{
	struct strbuf text, errors;

	memset(w, 0, sizeof(*w));
	(void)snprintf(w->dir, sizeof(w->dir), "%s", dir);
	w->dirfd = open(w->dir, O_RDONLY | O_DIRECTORY);
	assert_true(w->dirfd != -1);
	strbuf_init(&text, 0);
	strbuf_init(&errors, 0);
	(void)strbuf_printf(&text, HEAD "queue_directory = %s\n%s%s", w->dir,
	    strstr(settings, "alias_maps") == NULL ? "alias_maps =\n" : "",
	    settings);
	if (!settings_load("test", strbuf_slice(&text), &w->settings,
	    &w->source, &errors)) {
		fail_msg("settings: %s", errors.p);
	}
	strbuf_clear(&text);
	w->base = event_base_new();
	w->smtpd.got = xcalloc(GOT_MAX, sizeof(struct got));
	w->users.got = xcalloc(GOT_MAX, sizeof(struct got));
	w->qmgr.got = xcalloc(GOT_MAX, sizeof(struct got));
	w->local.got = xcalloc(GOT_MAX, sizeof(struct got));
	w->answer_users = true;
	make_parts(w);
}

void
world_end(struct world *w)
{
	char command[128];

	world_leave(w);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
	assert_int_equal(system(command), 0);
}

void
world_leave(struct world *w)
{
	free_parts(w);
	ipc_chan_free(w->smtpd.ch);
	ipc_chan_free(w->users.ch);
	ipc_chan_free(w->qmgr.ch);
	ipc_chan_free(w->local.ch);
	ipc_chan_free(w->dns.ch);
	peer_forget(&w->dns);
	free(w->dns.got);
	peer_forget(&w->smtpd);
	peer_forget(&w->users);
	peer_forget(&w->qmgr);
	peer_forget(&w->local);
	free(w->smtpd.got);
	free(w->users.got);
	free(w->qmgr.got);
	free(w->local.got);
	event_base_free(w->base);
	settings_clear(&w->settings);
	settings_source_clear(&w->source);
	(void)close(w->dirfd);
}

static void
answer_users(struct world *w)
{
	struct peer *p = &w->users;

	while (w->answer_users && p->at < p->n && p->ch != NULL) {
		struct got *g = &p->got[p->at++];
		const char *name = g->s[0].p;
		bool found = strcmp(name, "ann") == 0 ||
		    strcmp(name, "bob") == 0 || strcmp(name, "carl") == 0 ||
		    strncmp(name, "user", 4) == 0;

		if (strcmp(name, "slow") == 0) {
			continue;
		}
		peer_send(p, IPC_USER_IS, g->tid, "uuuss",
		    strcmp(name, "broken") == 0 ? (uint64_t)2 :
		    (uint64_t)found, (uint64_t)1000, (uint64_t)1000,
		    "/home/x", "");
	}
}

void
world_turn(struct world *w)
{
	const struct timeval soon = { 0, 1000 };

	(void)event_base_loopexit(w->base, &soon);
	(void)event_base_loop(w->base, EVLOOP_ONCE);
	answer_users(w);
}

static void
set(struct world *w, const char *name, const char *value)
{
	struct strbuf why;

	strbuf_init(&why, 0);
	if (!settings_set(&w->settings, settings_find(slice_of(name)),
	    slice_of(value), &why)) {
		fail_msg("%s: %s", name, why.p);
	}
	strbuf_clear(&why);
}

void
world_set_aliases(struct world *w, const char *aliases)
{
	const struct strlist own = { NULL, 0 };
	struct policy *old = w->pg.policy;
	struct strbuf text;

	strbuf_init(&text, 0);
	(void)strbuf_printf(&text, "users: %s", aliases);
	set(w, "alias_maps", aliases);
	set(w, "local_recipient_maps", text.p);
	strbuf_reset(&text);
	w->pg.policy = policy_new(&w->settings, &own, &text);
	assert_non_null(w->pg.policy);
	resolving_set_policy(w->pg.resolving, w->pg.policy);
	policy_free(old);
	strbuf_clear(&text);
}

/* What can happen without waiting for anything. */
static void
run_dry(struct world *w)
{
	unsigned i;

	for (i = 0; i < 5; i++) {
		(void)event_base_loop(w->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		answer_users(w);
	}
}

void
world_settle(struct world *w)
{
	run_dry(w);
	world_wait(w, spool_busy(w->pg.spool) == 0 && w->pg.committing == 0);
	run_dry(w);
}

/* -- talking ----------------------------------------------------------------- */

struct got *
peer_next(struct world *w, struct peer *p, enum ipc_type type)
{
	do { /* what MAIL is to be answered may change at any time */
		world_wait(w, p->at < p->n || p->closed);
		assert_true(p->at < p->n);
	} while (type != IPC_ACCEPTING &&
	    p->got[p->at].type == IPC_ACCEPTING && ++p->at > 0);
	assert_string_equal(ipc_type_name(p->got[p->at].type),
	    ipc_type_name(type));
	return &p->got[p->at++];
}

bool
peer_is_quiet(const struct peer *p)
{
	return p->at == p->n;
}

void
peer_send(struct peer *p, enum ipc_type type, uint32_t tid,
    const char *fields, ...)
{
	va_list ap;

	assert_non_null(p->ch);
	va_start(ap, fields);
	ipc_begin(p->ch, type, tid);
	for (; *fields != '\0'; fields++) {
		if (*fields == 'u') {
			ipc_put_u(p->ch, va_arg(ap, uint64_t));
		} else {
			ipc_put_str(p->ch, va_arg(ap, const char *));
		}
	}
	ipc_end(p->ch);
	va_end(ap);
}

void
peer_send_piece(struct peer *p, uint32_t tid, struct slice piece, bool last)
{
	ipc_begin(p->ch, IPC_CONTENT, tid);
	ipc_put_s(p->ch, piece);
	ipc_put_u(p->ch, last ? 1 : 0);
	ipc_end(p->ch);
}

void
smtpd_mail(struct world *w, uint32_t tid, const char *reverse_path)
{
	peer_send(&w->smtpd, IPC_MAIL, tid, "suussssuu", reverse_path,
	    (uint64_t)0, (uint64_t)0, "192.0.2.9", "unknown",
	    "client.example", "ESMTP", (uint64_t)UINT32_MAX, (uint64_t)0);
}

unsigned
smtpd_rcpt(struct world *w, uint32_t tid, const char *forward_path)
{
	struct got *g;

	peer_send(&w->smtpd, IPC_RCPT, tid, "s", forward_path);
	g = peer_next(w, &w->smtpd, IPC_VERDICT);
	assert_int_equal(g->tid, tid);
	return (unsigned)g->u[0];
}

unsigned
smtpd_content(struct world *w, uint32_t tid, const char *text)
{
	struct got *g;

	peer_send_piece(&w->smtpd, tid, slice_of(text), false);
	g = peer_next(w, &w->smtpd, IPC_CONTENT_ACK);
	assert_int_equal(g->tid, tid);
	return (unsigned)g->u[0];
}

unsigned
smtpd_commit(struct world *w, uint32_t tid, uint64_t size, uint64_t *qid)
{
	struct got *g;
	const char *id;

	peer_send(&w->smtpd, IPC_COMMIT, tid, "uu", (uint64_t)0, size);
	g = peer_next(w, &w->smtpd, IPC_COMMITTED);
	assert_int_equal(g->tid, tid);
	if (g->u[0] == 250) {
		assert_string_equal(g->s[1].p, "2.0.0");
		id = strstr(g->s[2].p, "queued as ");
		assert_non_null(id);
		assert_true(qid_parse(slice_of(id + 10), qid));
	}
	return (unsigned)g->u[0];
}

uint64_t
smtpd_message(struct world *w, uint32_t tid, const char *rcpt,
    const char *text)
{
	uint64_t qid = 0;

	smtpd_mail(w, tid, "sender@client.example");
	assert_int_equal(smtpd_rcpt(w, tid, rcpt), 250);
	assert_int_equal(smtpd_content(w, tid, text), 0);
	assert_int_equal(smtpd_commit(w, tid, strlen(text), &qid), 250);
	return qid;
}
