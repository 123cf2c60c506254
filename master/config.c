#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup/surroundings.h"
#include "common/instance.h"
#include "common/listen.h"
#include "common/xmalloc.h"
#include "master/master.h"

static size_t
index_of(const char *name)
{
	return (size_t)(settings_find(slice_of(name)) - settings_table);
}

/* An empty inet_interfaces: where we are reached. */
static void
derive_interfaces(struct settings *s, struct settings_source *src,
    const struct listen_at *at, size_t n)
{
	size_t i = index_of("inet_interfaces");
	struct strbuf value, why;

	if (s->inet_interfaces.n > 0) {
		return;
	}
	strbuf_init(&value, 0);
	strbuf_init(&why, 0);
	listen_own_addresses(at, n, &value);
	if (value.n > 0 && settings_set(s, &settings_table[i],
	    strbuf_slice(&value), &why)) {
		free(src->value[i]);
		src->value[i] = strbuf_take(&value);
	}
	strbuf_clear(&value);
	strbuf_clear(&why);
}

/* Put "FILE: " in front of each line. */
static void
add_lines(const char *conf, struct slice lines, struct strbuf *errors)
{
	struct slice line;

	while (slice_word(&lines, "\n", &line)) {
		(void)strbuf_printf(errors, "%s: %.*s\n", conf, SLF(line));
	}
}

bool
config_load(const char *conf, bool as_root, struct settings *s,
    struct settings_source *src, struct strbuf *errors)
{
	struct listen_at at[LISTEN_MAX];
	struct strbuf why;
	size_t n = 0;
	bool ok;

	if (!settings_load(conf, slice_make(NULL, 0), s, src, errors)) {
		return false;
	}
	strbuf_init(&why, 0);
	ok = listen_plan(s, listen_host_has_ipv6(), at, &n, &why);
	if (as_root && !instance_accounts(s, &why)) {
		ok = false;
	}
	if (ok) {
		derive_interfaces(s, src, at, n);
	} else {
		add_lines(conf, strbuf_slice(&why), errors);
		settings_clear(s);
		settings_source_clear(src);
	}
	strbuf_clear(&why);
	return ok;
}

/* "FILE:LINE: "; what comes by a default stands in no line. */
static void
add_place(const char *conf, int line, struct strbuf *out)
{
	(void)strbuf_add_str(out, conf);
	if (line > 0) {
		(void)strbuf_printf(out, ":%d", line);
	}
	(void)strbuf_add_str(out, ": ");
}

bool
config_same_base(const char *conf, const struct settings_source *now,
    const struct settings_source *fresh, struct strbuf *errors)
{
	static const char *const base[] = { "queue_directory",
		"runtime_directory", "daemon_directory", "empty_directory",
		"local_users", "root_user", "admin_group", "log_user",
		"users_user", "queue_user", "qmgr_user", "local_user",
		"smtpd_user", "remote_user", "dns_user", "journal_segments",
		"journal_segment_size", "spool_memory_limit", "wall_probe" };
	bool same = true;
	size_t i, at;

	for (i = 0; i < NELEMS(base); i++) {
		at = index_of(base[i]);
		if (strcmp(now->value[at], fresh->value[at]) != 0) {
			add_place(conf, fresh->line[at], errors);
			(void)strbuf_printf(errors, "%s changes from \"%s\" to "
			    "\"%s\"%s: that needs veredus stop and veredus "
			    "start\n", base[i], now->value[at],
			    fresh->value[at], fresh->line[at] > 0 ? "" :
			    ", by its default");
			same = false;
		}
	}
	return same;
}

static bool
has_directory(const struct strlist *dirs, const char *dir)
{
	size_t i = 0;

	while (i < dirs->n && strcmp(dirs->at[i], dir) != 0) {
		i++;
	}
	return i < dirs->n;
}

bool
config_moves_maps(const struct settings *now, const struct settings *fresh)
{
	struct strlist have, want;
	struct sandbox_path *paths;
	bool moves = false;
	size_t n, i;

	surroundings_paths(now, &have, &paths, &n);
	free(paths);
	surroundings_paths(fresh, &want, &paths, &n);
	free(paths);
	for (i = 0; i < want.n; i++) {
		moves = moves || !has_directory(&have, want.at[i]);
	}
	surroundings_clear(&have);
	surroundings_clear(&want);
	return moves;
}

bool
config_moves_dns_files(const struct settings *now,
    const struct settings *fresh)
{
	return strcmp(now->dns_resolv_conf, fresh->dns_resolv_conf) != 0 ||
	    strcmp(now->dns_hosts_file, fresh->dns_hosts_file) != 0;
}
