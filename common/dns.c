#include "config.h"

#include <string.h>

#include "common/codec.h"
#include "common/dns.h"
#include "common/ipc.h"

static bool
is_name_octet(char c)
{
	return ascii_isalnum(c) || c == '-' || c == '_';
}

bool
dns_name_normal(struct slice name, char *out)
{
	size_t i, label = 0;

	if (name.n > 0 && name.p[name.n - 1] == '.') {
		name.n--;
	}
	if (name.n == 0 || name.n > DNS_NAME_MAX) {
		return false;
	}
	for (i = 0; i < name.n; i++) {
		if (name.p[i] == '.' ? label == 0 :
		    label == DNS_LABEL_MAX || !is_name_octet(name.p[i])) {
			return false;
		}
		label = name.p[i] == '.' ? 0 : label + 1;
	}
	if (label == 0) {
		return false;
	}
	for (i = 0; i < name.n; i++) {
		out[i] = ascii_lower(name.p[i]);
	}
	out[i] = '\0';
	return true;
}

void
dns_record_encode(const struct dns_record *r, struct strbuf *out)
{
	enc_u16(out, r->preference);
	enc_slice(out, r->data);
}

/* Exactly as dns_name_normal() would have it. */
static bool
is_normal(struct slice name)
{
	char normal[DNS_NAME_MAX + 1];

	return dns_name_normal(name, normal) &&
	    slice_eq(slice_of(normal), name);
}

static bool
is_right(enum dns_type type, const struct dns_record *r)
{
	switch (type) {
	case DNS_A:
		return r->data.n == 4;
	case DNS_AAAA:
		return r->data.n == 16;
	case DNS_MX:
		return r->data.n == 0 || is_normal(r->data);
	}
	return false;
}

bool
dns_record_decode(struct slice *in, enum dns_type type, struct dns_record *r,
    bool *bad)
{
	struct dec d = dec_make(*in);
	struct dns_record got;

	*bad = false;
	if (in->n == 0) {
		return false;
	}
	got.preference = dec_u16(&d);
	got.data = dec_slice(&d, DNS_NAME_MAX);
	if (d.bad || !is_right(type, &got)) {
		*bad = true;
		return false;
	}
	*in = d.in;
	*r = got;
	return true;
}

const char *
dns_type_name(enum dns_type type)
{
	switch (type) {
	case DNS_A:
		return "A";
	case DNS_MX:
		return "MX";
	case DNS_AAAA:
		return "AAAA";
	}
	return "?";
}

bool
dns_type_known(uint64_t type)
{
	return type == DNS_A || type == DNS_MX || type == DNS_AAAA;
}

bool
dns_answer_of(const struct ipc_msg *m, struct dns_answer *out)
{
	uint64_t status = ipc_u(m, 0), secure = ipc_u(m, 1), ttl = ipc_u(m, 2);

	if (status > DNS_STATUS_LAST || secure > 1 || ttl > UINT32_MAX) {
		return false;
	}
	*out = (struct dns_answer){ .status = (enum dns_status)status,
		.secure = secure == 1, .ttl = (uint32_t)ttl,
		.records = ipc_s(m, 3), .reason = ipc_s(m, 4) };
	return true;
}
