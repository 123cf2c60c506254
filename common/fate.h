/*
 * fate - what became of a recipient, and the reply that says so.
 * A fate travels with its enhanced status code (RFC 3463) and one printable
 * line. When in doubt, defer.
 */
#ifndef COMMON_FATE_H
#define COMMON_FATE_H

#define REPLY_TEXT_MAX 512 /* octets of a stored reply; longer ones are cut */
#define ESC_MAX        12  /* "5.123.123" and a NUL */
#define RELAY_TEXT_MAX 320 /* octets: "mx.example.org[2001:db8::1]:25" */

enum fate {
	FATE_NONE,      /* nothing is known yet: still to be delivered */
	FATE_DELIVERED, /* responsibility has passed on, or the mail is home */
	FATE_DEFERRED,  /* try again: any 4yz, any doubt, any trouble of ours */
	FATE_FAILED,    /* permanent: a 5yz, or a rule of ours */
	FATE_EXPANDED,  /* done: replaced by recipients of child messages */
	FATE_WARNED,    /* in a record only: the sender was told of the delay;
	                   nothing else changes, the recipient stays open */
};
#define FATE_LAST        FATE_EXPANDED /* of a recipient */
#define FATE_RECORD_LAST FATE_WARNED   /* of a record */

#endif
