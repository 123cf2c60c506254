#include "config.h"

#include "cleanup/check.h"
#include "cleanup/resolve.h"
#include "cleanup/surroundings.h"

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
