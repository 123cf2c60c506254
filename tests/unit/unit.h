/* What every cmocka test includes, in the order that cmocka demands. */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/slice.h"

#define assert_slice(s, text)                                                  \
	do {                                                                   \
		struct slice s_ = (s);                                         \
		assert_int_equal(s_.n, strlen(text));                          \
		assert_memory_equal(s_.p, text, s_.n);                         \
	} while (0)

#endif
