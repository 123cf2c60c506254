/*
 * sendmail_relay - -bs: octets between standard input and output and the
 * submit socket, until the server closes. Line ends are the caller's affair:
 * whoever speaks SMTP sends CRLF.
 */
#ifndef TOOLS_SENDMAIL_RELAY_H
#define TOOLS_SENDMAIL_RELAY_H

/* Blocks. Closes `sock'. 0, or -1 with errno. */
int sendmail_relay(int sock, int in, int out);

#endif
