#include "config.h"

#include "cleanup/check.h"
#include "cleanup/policy.h"
#include "cleanup/resolve.h"
#include "cleanup/surroundings.h"
#include "common/account.h"

void
cleanup_check_prepare(void *arg)
{
	surroundings_keep(arg);
}

bool
cleanup_check(void *arg, struct strbuf *why)
{
	const struct settings *s = arg;
	struct policy *p = policy_new(s, &s->inet_interfaces, why);

	policy_free(p);
	return p != NULL;
}

static bool
is_uid_0(const struct settings *s, struct slice name)
{
	struct account a;
	struct strbuf why;
	bool yes = false;

	strbuf_init(&why, 0);
	if (account_lookup(s->local_users, name, &a, &why) == ACCOUNT_FOUND) {
		yes = a.uid == 0;
		account_clear(&a);
	}
	strbuf_clear(&why);
	return yes;
}

/* Nobody reads what nobody owns. */
static void
warn_of_root(const struct settings *s, const struct policy *p,
    struct strbuf *why)
{
	struct strbuf value;

	strbuf_init(&value, 0);
	if (is_uid_0(s, SL("root")) && maplist_find(&p->alias, NULL,
	    SL("root"), &value) == MAP_NONE) {
		(void)strbuf_printf(why, "root has no alias: its mail goes to "
		    "%s/root, written as %s\n", s->mail_spool_directory,
		    s->default_privs);
	}
	strbuf_clear(&value);
}

bool
cleanup_check_and_warn(void *arg, struct strbuf *why)
{
	const struct settings *s = arg;
	struct policy *p = policy_new(s, &s->inet_interfaces, why);

	if (p == NULL) {
		return false;
	}
	warn_of_root(s, p, why);
	policy_free(p);
	return true;
}
