/* Every IPC message decoder: the octets as a message between any two ends. */
#include "config.h"

#include <stdlib.h>

#include "common/envelope.h"
#include "common/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_lists(struct slice s)
{
	struct rcpt_item r;
	struct fate_item f;
	struct slice in = s;
	bool bad;

	while (rcpt_item_decode(&in, &r, &bad)) {
	}
	in = s;
	while (fate_item_decode(&in, &f, &bad)) {
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct ipc_msg m;
	const char *why = NULL;
	size_t used = 0;
	bool fd;
	unsigned from, to, i;

	for (from = IPC_MASTER; from < IPC_ANY_PROGRAM; from++) {
		for (to = IPC_MASTER; to < IPC_ANY_PROGRAM; to++) {
			switch (ipc_decode(in, (enum ipc_role)from,
			    (enum ipc_role)to, &m, &used, &fd, &why)) {
			case IPC_DEC_OK:
				if (used > size || used < IPC_HEADER_SIZE) {
					abort();
				}
				for (i = 0; i < m.nfields; i++) {
					if (m.field[i].kind != 'u' &&
					    m.field[i].s.n > size) {
						abort();
					}
					check_lists(m.field[i].s);
				}
				break;
			case IPC_DEC_MORE:
				break;
			case IPC_DEC_BAD:
				if (why == NULL) {
					abort();
				}
			}
		}
	}
	return 0;
}
