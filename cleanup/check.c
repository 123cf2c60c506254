#include "config.h"

#include "cleanup/check.h"
#include "cleanup/resolve.h"

bool
cleanup_check(void *arg, struct strbuf *why)
{
	const struct settings *s = arg;
	struct policy *p = policy_new(s, &s->inet_interfaces, why);

	policy_free(p);
	return p != NULL;
}
