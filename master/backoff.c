#include "config.h"

#include "master/backoff.h"

uint64_t
backoff_next(unsigned *failures, uint64_t lived_ms)
{
	uint64_t wait = 0;

	if (lived_ms >= BACKOFF_FORGIVE_MS) {
		*failures = 0;
	}
	if (*failures > 0) {
		wait = *failures > 16 ? BACKOFF_MOST_MS :
		    (uint64_t)BACKOFF_FIRST_MS << (*failures - 1);
	}
	if (wait > BACKOFF_MOST_MS) {
		wait = BACKOFF_MOST_MS;
	}
	if (*failures < 1000) {
		(*failures)++;
	}
	return wait;
}
