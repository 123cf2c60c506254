#include "config.h"

#include <string.h>

#include "common/slice.h"
#include "common/soften.h"

unsigned
soften(unsigned code, const char **esc, char room[ESC_MAX])
{
	static const unsigned soft[] = { 450, 451, 452, 450, 451, 455 };
	size_t n = strlen(*esc);

	if (code < 550) {
		return code;
	}
	if (n > 0 && n < ESC_MAX) {
		memcpy(room, *esc, n + 1);
		room[0] = '4';
		*esc = room;
	}
	return code - 550 < NELEMS(soft) ? soft[code - 550] : 451;
}
