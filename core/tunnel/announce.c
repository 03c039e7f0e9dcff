/* announce.c: tells systemd and the pidfile that the tunnel is up. */
#include "tunnel/announce.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/loop.h"

static void notify_systemd(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n >= sizeof(to.sun_path))
        return;
    memcpy(to.sun_path, name, n);
    if (to.sun_path[0] == '@')
        to.sun_path[0] = '\0'; /* abstract */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (fd < 0 || sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&to, size) < 0)
        log_line(CV_WARN, NULL, "Unable to notify systemd: %m");
    if (fd >= 0)
        close(fd);
}

static void write_pidfile(const char *name)
{
    if (!name || !*name)
        return;
    FILE *f = fopen(name, "we");
    if (!f || fprintf(f, "%d", (int)getpid()) < 0)
        log_line(CV_ERROR, NULL, "Unable to write pid to %s: %m", name);
    if (f)
        fclose(f);
}

void announce(const char *pidfile)
{
    notify_systemd();
    write_pidfile(pidfile);
}
