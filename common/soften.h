/*
 * soften - soft_bounce for the replies of an SMTP server: the refusal of mail
 * that becomes one for now. One table for the server and for `trace'.
 */
#ifndef COMMON_SOFTEN_H
#define COMMON_SOFTEN_H

#include "common/fate.h"

/*
 * The code to say instead of `code', which stays if it is below 550: what
 * refuses a command, 500 to 504, is no failure of mail. *esc becomes 4.y.z, kept
 * in `room'; it may be "".
 */
unsigned soften(unsigned code, const char **esc, char room[ESC_MAX]);

#endif
