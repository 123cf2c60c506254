#include "config.h"

#include <string.h>

#include "services/dns_packet.h"

#define HEADER_SIZE    12
#define CNAMES_MAX     32  /* of one answer, on our way or not */
#define CLASS_IN       1

enum { TYPE_NS = 2, TYPE_CNAME = 5, TYPE_SOA = 6, TYPE_OPT = 41 };
enum { FLAG_QR = 0x8000, FLAG_TC = 0x0200, FLAG_AD = 0x0020 };
enum { RCODE_OK = 0, RCODE_NXDOMAIN = 3 };

static const char malformed[] = "the answer is malformed";

static const char *const rcode_words[16] = {
	[1] = "the resolver does not understand the question (FORMERR)",
	[2] = "the resolver failed (SERVFAIL)",
	[4] = "the resolver knows no such question (NOTIMP)",
	[5] = "the resolver refused (REFUSED)",
	[9] = "the server is not responsible (NOTAUTH)",
};

/* A place in the packet. After the first thing wrong all reads give 0. */
struct cursor {
	const unsigned char *p;
	size_t n, at;
	bool bad;
};

struct name {
	char text[DNS_NAME_MAX + 1]; /* lower case; "" is the root */
	bool odd;                    /* not a host name: equals no other */
};

struct record {
	struct name owner;
	uint16_t type, class;
	uint32_t ttl;
	size_t data, ndata; /* place and length of the RDATA */
};

struct cname {
	struct name owner, target;
	uint32_t ttl;
};

/* What one pass over the packet found. */
struct scan {
	struct cname cnames[CNAMES_MAX];
	size_t ncnames;
	bool soa, ns;
	struct name soa_owner;
	uint32_t soa_ttl;
};

static unsigned
get_u8(struct cursor *c)
{
	if (c->bad || c->at >= c->n) {
		c->bad = true;
		return 0;
	}
	return c->p[c->at++];
}

static uint16_t
get_u16(struct cursor *c)
{
	unsigned high = get_u8(c);

	return (uint16_t)(high << 8 | get_u8(c));
}

static uint32_t
get_u32(struct cursor *c)
{
	uint32_t high = get_u16(c);

	return high << 16 | get_u16(c);
}

/* RFC 2181, 8: one with the top bit set is 0. */
static uint32_t
get_ttl(struct cursor *c)
{
	uint32_t ttl = get_u32(c);

	return ttl > INT32_MAX ? 0 : ttl;
}

/* Append one label of `n' octets. */
static void
get_label(struct cursor *c, unsigned n, struct name *out, size_t *len)
{
	char ch;

	if (*len + n + 1 > DNS_NAME_MAX) {
		c->bad = true;
		return;
	}
	if (*len > 0) {
		out->text[(*len)++] = '.';
	}
	while (n-- > 0) {
		ch = ascii_lower((char)get_u8(c));
		if (!ascii_isalnum(ch) && ch != '-' && ch != '_') {
			out->odd = true;
			ch = '?';
		}
		out->text[(*len)++] = ch;
	}
}

/*
 * A name (RFC 1035, 4.1.4). Each pointer leads to before where the piece that
 * holds it began, so the way ends.
 */
static void
get_name(struct cursor *c, struct name *out)
{
	struct cursor walk = *c;
	size_t len = 0, began = c->at, after = 0, to;
	unsigned n;

	out->odd = false;
	for (;;) {
		n = get_u8(&walk);
		if (walk.bad || n == 0) {
			break;
		}
		if (n > DNS_LABEL_MAX) {
			to = (size_t)(n & 0x3f) << 8 | get_u8(&walk);
			if (after == 0) {
				after = walk.at;
			}
			walk.bad |= (n & 0xc0) != 0xc0 || to >= began;
			walk.at = began = to;
		} else {
			get_label(&walk, n, out, &len);
		}
		if (walk.bad) {
			break;
		}
	}
	out->text[walk.bad ? 0 : len] = '\0';
	c->bad = walk.bad;
	c->at = after != 0 ? after : walk.at;
}

static bool
is_name(const struct name *n, const char *text)
{
	return !n->odd && strcmp(n->text, text) == 0;
}

static void
get_record(struct cursor *c, struct record *r)
{
	get_name(c, &r->owner);
	r->type = get_u16(c);
	r->class = get_u16(c);
	r->ttl = get_u32(c);
	if (r->type != TYPE_OPT && r->ttl > INT32_MAX) {
		r->ttl = 0;
	}
	r->ndata = get_u16(c);
	r->data = c->at;
	if (c->bad || r->ndata > c->n - c->at) {
		c->bad = true;
		return;
	}
	c->at += r->ndata;
}

/* The RDATA, with the packet before it for pointers, and nothing after it. */
static struct cursor
data_of(const struct cursor *c, const struct record *r)
{
	return (struct cursor){ c->p, r->data + r->ndata, r->data, false };
}

/* All of the RDATA was used, and rightly. */
static bool
data_done(const struct cursor *d)
{
	return !d->bad && d->at == d->n;
}

/* -- the first pass: CNAMEs, and what stands beside the answer ------------- */

static const char *
take_cname(struct scan *s, const struct cursor *c, const struct record *r)
{
	struct cursor d = data_of(c, r);
	struct cname *at;

	if (s->ncnames == CNAMES_MAX) {
		return "the answer has too many aliases (CNAME)";
	}
	at = &s->cnames[s->ncnames++];
	at->owner = r->owner;
	at->ttl = r->ttl;
	get_name(&d, &at->target);
	return data_done(&d) ? NULL : malformed;
}

static const char *
take_soa(struct scan *s, const struct cursor *c, const struct record *r)
{
	struct cursor d = data_of(c, r);
	struct name skipped;
	uint32_t minimum;

	get_name(&d, &skipped); /* MNAME */
	get_name(&d, &skipped); /* RNAME */
	d.at += d.bad ? 0 : 16;  /* SERIAL, REFRESH, RETRY, EXPIRE */
	minimum = get_ttl(&d);
	if (!data_done(&d)) {
		return malformed;
	}
	s->soa = true;
	s->soa_owner = r->owner;
	s->soa_ttl = minimum < r->ttl ? minimum : r->ttl;
	return NULL;
}

enum section { ANSWER, AUTHORITY, ADDITIONAL, NSECTIONS };

static const char *
take_record(struct scan *s, const struct cursor *c, const struct record *r,
    enum section section)
{
	if (section == ADDITIONAL) {
		/* the upper bits of the rcode (RFC 6891, 6.1.3) */
		return r->type == TYPE_OPT && r->ttl >> 24 != 0 ?
		    "the resolver failed (an extended error)" : NULL;
	}
	if (r->class != CLASS_IN) {
		return NULL;
	}
	if (section == ANSWER) {
		return r->type == TYPE_CNAME ? take_cname(s, c, r) : NULL;
	}
	s->ns |= r->type == TYPE_NS;
	return r->type == TYPE_SOA && !s->soa ? take_soa(s, c, r) : NULL;
}

static const char *
scan_records(struct cursor c, const uint16_t count[NSECTIONS], struct scan *s)
{
	const char *why = NULL;
	struct record r;
	unsigned section, i;

	for (section = ANSWER; section < NSECTIONS; section++) {
		for (i = 0; i < count[section] && why == NULL; i++) {
			get_record(&c, &r);
			why = c.bad ? malformed : take_record(s, &c, &r,
			    (enum section)section);
		}
	}
	if (why == NULL && c.at != c.n) {
		why = malformed; /* more than it says */
	}
	return why;
}

/* -- along the CNAMEs ------------------------------------------------------ */

static const struct cname *
alias_of(const struct scan *s, const char *name)
{
	size_t i;

	for (i = 0; i < s->ncnames; i++) {
		if (is_name(&s->cnames[i].owner, name)) {
			return &s->cnames[i];
		}
	}
	return NULL;
}

static const char *
follow(const struct scan *s, struct dns_packet *out)
{
	const struct cname *at;

	while ((at = alias_of(s, out->name)) != NULL) {
		if (at->target.odd || at->target.text[0] == '\0') {
			return "an alias (CNAME) leads to what is no host name";
		}
		if (++out->aliases > DNS_ALIASES_MAX) {
			return "aliases (CNAME) go round in circles, or are "
			    "too many";
		}
		if (at->ttl < out->ttl) {
			out->ttl = at->ttl;
		}
		memcpy(out->name, at->target.text, sizeof(out->name));
	}
	return NULL;
}

/* -- the second pass: the records asked for -------------------------------- */

/* False: it is no host (an MX target that no one can be called). */
static bool
take_mx(const struct cursor *c, const struct record *r, struct dns_packet *out,
    const char **why)
{
	struct cursor d = data_of(c, r);
	struct dns_record rec;
	struct name target;

	rec.preference = get_u16(&d);
	get_name(&d, &target);
	if (!data_done(&d)) {
		*why = malformed;
		return false;
	}
	if (target.odd) {
		return false;
	}
	rec.data = slice_of(target.text);
	dns_record_encode(&rec, &out->records);
	return true;
}

static bool
take_wanted(const struct cursor *c, const struct record *r, enum dns_type type,
    struct dns_packet *out, const char **why)
{
	const struct dns_record rec = { 0, slice_make((const char *)c->p +
	    r->data, r->ndata) };

	if (type == DNS_MX) {
		return take_mx(c, r, out, why);
	}
	if (r->ndata != (type == DNS_A ? 4 : 16)) {
		*why = malformed;
		return false;
	}
	dns_record_encode(&rec, &out->records);
	return true;
}

static const char *
collect(struct cursor c, unsigned count, enum dns_type type,
    struct dns_packet *out, unsigned *taken)
{
	unsigned i, seen = 0;
	const char *why = NULL;
	struct record r;

	*taken = 0;
	for (i = 0; i < count && why == NULL; i++) {
		get_record(&c, &r);
		if (r.type != (uint16_t)type || r.class != CLASS_IN ||
		    !is_name(&r.owner, out->name)) {
			continue;
		}
		seen++;
		if (r.ttl < out->ttl) {
			out->ttl = r.ttl;
		}
		if (*taken < DNS_RECORDS_MAX &&
		    take_wanted(&c, &r, type, out, &why)) {
			(*taken)++;
		}
	}
	if (why == NULL && seen > 0 && *taken == 0) {
		why = "no MX record names a host";
	}
	return why;
}

/* -- all of it ------------------------------------------------------------- */

/* Is `name' the SOA's, or below it? */
static bool
soa_speaks_for(const struct scan *s, const char *name)
{
	size_t n = strlen(name), m = strlen(s->soa_owner.text);

	if (!s->soa || s->soa_owner.odd || m > n) {
		return false;
	}
	return strcmp(name + n - m, s->soa_owner.text) == 0 &&
	    (m == 0 || m == n || name[n - m - 1] == '.');
}

/* No records of the type: why not? NULL, or it is no answer. */
static const char *
none(const struct scan *s, unsigned rcode, struct dns_packet *out)
{
	bool sure = soa_speaks_for(s, out->name);

	if (rcode == RCODE_OK && out->aliases > 0 && !sure) {
		out->kind = DNS_PACKET_ALIAS;
		return NULL;
	}
	if (rcode == RCODE_OK && !sure && (s->ns || s->soa)) {
		return "the server sends us elsewhere: it is no resolver";
	}
	out->status = rcode == RCODE_OK ? DNS_NODATA : DNS_NXDOMAIN;
	if (!sure) {
		out->ttl = 0; /* RFC 2308, 5: not to be kept */
	} else if (s->soa_ttl < out->ttl) {
		out->ttl = s->soa_ttl;
	}
	if (out->ttl > DNS_NO_TTL_MAX) {
		out->ttl = DNS_NO_TTL_MAX;
	}
	return NULL;
}

/* The question is ours, and only ours. */
static bool
same_question(struct cursor *c, unsigned count, const char *name,
    enum dns_type type)
{
	struct name asked;
	unsigned t, class;

	if (count != 1) {
		return false;
	}
	get_name(c, &asked);
	t = get_u16(c);
	class = get_u16(c);
	return !c->bad && is_name(&asked, name) && t == (unsigned)type &&
	    class == CLASS_IN;
}

static const char *
parse(struct cursor c, enum dns_type type, struct dns_packet *out)
{
	static const struct scan nothing;
	struct scan s = nothing;
	uint16_t flags, questions, count[NSECTIONS];
	unsigned i, rcode, taken;
	const char *why;

	(void)get_u16(&c); /* the id: the sender of the question knows it */
	flags = get_u16(&c);
	questions = get_u16(&c);
	for (i = 0; i < NSECTIONS; i++) {
		count[i] = get_u16(&c);
	}
	if (c.bad || (flags & (FLAG_QR | 0x7800)) != FLAG_QR) {
		return malformed;
	}
	rcode = flags & 15;
	if (rcode != RCODE_OK && rcode != RCODE_NXDOMAIN) {
		return rcode_words[rcode] != NULL ? rcode_words[rcode] :
		    "the resolver failed (an unknown rcode)";
	}
	if ((flags & FLAG_TC) != 0) {
		return "the answer is cut short";
	}
	if (!same_question(&c, questions, out->name, type)) {
		return "the answer is to another question";
	}
	out->secure = (flags & FLAG_AD) != 0;
	why = scan_records(c, count, &s);
	if (why == NULL) {
		why = follow(&s, out);
	}
	if (why == NULL) {
		why = collect(c, count[ANSWER], type, out, &taken);
	}
	if (why != NULL) {
		return why;
	}
	if (taken == 0) {
		return none(&s, rcode, out);
	}
	out->status = DNS_FOUND;
	return rcode == RCODE_OK ? NULL : "the answer contradicts itself";
}

void
dns_packet_parse(struct slice packet, const char *name, enum dns_type type,
    struct dns_packet *out)
{
	const struct cursor c = { (const unsigned char *)packet.p, packet.n, 0,
		false };

	*out = (struct dns_packet){ .kind = DNS_PACKET_ANSWER,
		.status = DNS_TEMP, .ttl = DNS_TTL_MAX };
	strbuf_init(&out->records, 0);
	memcpy(out->name, name, strlen(name) + 1);
	out->reason = parse(c, type, out);
	if (out->reason != NULL) {
		out->kind = DNS_PACKET_FAILED;
		out->status = DNS_TEMP;
		strbuf_clear(&out->records);
	}
}

void
dns_packet_clear(struct dns_packet *p)
{
	strbuf_clear(&p->records);
}
