/* The envelope decoder: what it takes it writes again to the same octets. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope e;
	struct strbuf b;

	envelope_init(&e);
	if (envelope_decode(slice_make((const char *)data, size), &e)) {
		strbuf_init(&b, 0);
		envelope_encode(&e, &b);
		if (b.n != size || memcmp(b.p, data, size) != 0) {
			abort();
		}
		strbuf_clear(&b);
	}
	envelope_clear(&e);
	return 0;
}
