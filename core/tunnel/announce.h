/* announce.h: what follows the first registration of the process (docs/protocol.md §4.2). */
#ifndef CV_TUNNEL_ANNOUNCE_H
#define CV_TUNNEL_ANNOUNCE_H

/* READY=1 to NOTIFY_SOCKET, if that is set; the process id to pidfile, if one is named. Failures are logged. */
void announce(const char *pidfile);

#endif
