/*
 * reply - what a client is to be told: code, enhanced status code, one line.
 * The texts are literals, so a reply can be kept and copied.
 */
#ifndef CLEANUP_REPLY_H
#define CLEANUP_REPLY_H

struct reply {
	unsigned code; /* 0: none */
	const char *esc, *text;
};

#define REPLY(code, esc, text) ((struct reply){ (code), (esc), (text) })

#define REPLY_NO_SPACE REPLY(452, "4.3.1", "Insufficient system storage")
#define REPLY_TROUBLE REPLY(451, "4.3.0", "Queue file write error")
#define REPLY_STOPPING REPLY(451, "4.3.2", "System is going down, try again later")
#define REPLY_BUSY REPLY(452, "4.3.1", "Too much mail at once, try again later")
#define REPLY_LOOKUP REPLY(451, "4.3.0", "Temporary lookup failure")
#define REPLY_TOO_BIG REPLY(552, "5.3.4", "Message size exceeds the limit of this system")

#endif
