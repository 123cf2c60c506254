#include "config.h"

#include "tests/unit/unit.h"

#include "common/siphash.h"
#include "common/slice.h"

/* The vectors of the authors' reference code: key 00 01 .. 0f, input the first
   `n' octets of 00 01 02 ... */
static const struct {
	size_t n;
	uint64_t hash;
} vectors[] = {
	{ 0, 0x726fdb47dd0e0e31 },
	{ 1, 0x74f839c593dc67fd },
	{ 2, 0x0d6c8009d9a94f5a },
	{ 3, 0x85676696d7fb7e2d },
	{ 4, 0xcf2794e0277187b7 },
	{ 5, 0x18765564cd99a68d },
	{ 6, 0xcbc9466e58fee3ce },
	{ 7, 0xab0200f58b01d137 },
	{ 8, 0x93f5f5799a932462 },
	{ 9, 0x9e0082df0ba9e4b0 },
	{ 15, 0xa129ca6149be45e5 }, /* the example of the paper, appendix A */
};

static void
test_vectors(void **state)
{
	unsigned char key[SIPHASH_KEY], in[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(in); i++) {
		in[i] = (unsigned char)i;
	}
	for (i = 0; i < sizeof(key); i++) {
		key[i] = (unsigned char)i;
	}
	for (i = 0; i < NELEMS(vectors); i++) {
		assert_true(siphash24(key, in, vectors[i].n) == vectors[i].hash);
	}
}

static void
test_cookie(void **state)
{
	unsigned char key[SIPHASH_KEY] = { 1 };
	const unsigned char octets[8] = { 8, 7, 6, 5, 4, 3, 2, 1 };

	(void)state;
	assert_true(siphash_cookie(key, 0x0102030405060708) ==
	    siphash24(key, octets, 8));
	assert_true(siphash_cookie(key, 1) != siphash_cookie(key, 2));
	key[15] = 1;
	assert_true(siphash_cookie(key, 0x0102030405060708) !=
	    siphash24((const unsigned char[16]){ 1 }, octets, 8));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_cookie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
