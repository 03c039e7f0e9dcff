/* listener.c: the address of the metrics server: what "host:port" means, and which port is taken when none is said. */
#include "prom.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 64 };

static int bind_one(const struct addrinfo *a)
{
    int on = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int bind_port(const char *host, const char *port, struct cv_err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list;
    int rc = getaddrinfo(*host ? host : NULL, port, &hints, &list);
    if (rc != 0 && strcmp(host, "localhost") == 0) /* a container may have no /etc/hosts; RFC 6761 §6.3 */
        rc = getaddrinfo("127.0.0.1", port, &hints, &list);
    if (rc != 0) {
        cv_fail(err, CV_E_CONF, "%s", gai_strerror(rc));
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = bind_one(a);
    if (fd < 0)
        cv_fail(err, CV_E_CONF, "%s", strerror(errno));
    freeaddrinfo(list);
    return fd;
}

/* getaddrinfo() takes a number beyond 65535 and cuts it. */
static bool is_port(const char *text)
{
    size_t n = strspn(text, "0123456789");
    return n > 0 && n <= 5 && text[n] == '\0' && strtol(text, NULL, 10) <= UINT16_MAX;
}

/* "host:port", "[v6]:port", ":port" */
bool listener_split(const char *listen, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(listen, ':');
    if (!colon)
        return false;
    const char *begin = listen, *end = colon;
    if (end > begin + 1 && *begin == '[' && end[-1] == ']')
        begin++, end--;
    if ((size_t)(end - begin) >= size)
        return false;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *port = colon + 1;
    return is_port(*port);
}

static int bind_known_port(const char *host, struct cv_err *err)
{
    for (int p = FIRST_PORT; p <= LAST_PORT; p++) {
        char port[8];
        snprintf(port, sizeof(port), "%d", p);
        int fd = bind_port(host, port, err);
        if (fd >= 0)
            return fd;
    }
    return bind_port(host, "0", err);
}

int listener_open(const char *listen, struct cv_err *err)
{
    char host[256];
    const char *port;
    struct cv_err why = { .text = "not host:port, with a port up to 65535" };
    int fd = -1;
    if (listener_split(listen, host, sizeof(host), &port))
        fd = strcmp(port, "0") == 0 ? bind_known_port(host, &why) : bind_port(host, port, &why);
    if (fd < 0)
        cv_fail(err, CV_E_CONF,
                "Error opening metrics server listener: failed to bind to address (%s): %s. Choose another "
                "address "
                "with --metrics, or stop what listens there.",
                listen, why.text);
    return fd;
}
