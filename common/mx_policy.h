/* mx_policy - who we are, for mx's rules. For common/mx*.c only. */
#ifndef COMMON_MX_POLICY_H
#define COMMON_MX_POLICY_H

#include "common/mx.h"

bool mx_policy_family(const struct mx_policy *p, bool v6);
/* Do we take mail at this name, or this address, and this port? */
bool mx_policy_own_name(const struct mx_policy *p, const char *host,
    uint16_t port);
bool mx_policy_own_addr(const struct mx_policy *p, const struct cidr *addr,
    uint16_t port);

#endif
