/* How long a test may take. */
#ifndef TESTS_UNIT_DEADLINE_H
#define TESTS_UNIT_DEADLINE_H

#include <stdlib.h>
#include <unistd.h>

/* A test that hangs ends after `seconds', after more where VEREDUS_PATIENCE says
   that all is slow (30 is usual): under valgrind, sanitizers, or at length. */
static inline void
unit_deadline(unsigned seconds)
{
	const char *patience = getenv("VEREDUS_PATIENCE");
	unsigned long n = patience != NULL ? strtoul(patience, NULL, 10) : 0;

	n = n < 30 ? 30 : n > 3000 ? 3000 : n;
	(void)alarm((unsigned)(seconds * n / 30));
}

#endif
