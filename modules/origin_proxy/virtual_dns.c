/* virtual_dns.c: the address of a private network that stands for the machine's own resolver (docs/protocol.md §18.8). */
#include "stream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { DNS_PORT = 53 };

bool origin_is_virtual_dns(const struct cv_target *target)
{
    static const uint8_t address[16] = { 0x26, 0x06, 0x47, 0x00, 0x0c, 0xf1, 0x20, 0x00, [15] = 1 };
    char text[INET6_ADDRSTRLEN];
    struct in6_addr in6;
    return target->port == DNS_PORT && cv_str_copy(text, sizeof(text), target->host) &&
           inet_pton(AF_INET6, text, &in6) == 1 && memcmp(&in6, address, sizeof(address)) == 0;
}

/* The first server that the C library would ask. */
void origin_find_resolver(char out[ORIGIN_RESOLVER_SIZE], const char *file)
{
    char line[256], server[ORIGIN_RESOLVER_SIZE];
    snprintf(out, ORIGIN_RESOLVER_SIZE, "127.0.0.1");
    FILE *f = fopen(file, "re");
    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "nameserver %63s", server) != 1)
            continue;
        snprintf(out, ORIGIN_RESOLVER_SIZE, "%s", server);
        break;
    }
    if (f)
        fclose(f);
}

void origin_use_resolver(struct origin_worker *w, struct cv_target *target)
{
    const struct origin_conf *conf = w->self.conf;
    cv_add(cv_series(&w->self, ORIGIN_DNS, &CV_STR("tcp")), 1);
    if (conf->dns_resolvers.n) { /* each in its turn; checked when the options were read */
        origin_target_parse(conf->dns_resolvers.v[w->dns_turn++ % conf->dns_resolvers.n], target);
        return;
    }
    struct cv_str host = cv_str_of(w->resolver);
    *target =
        (struct cv_target){ .scheme = CV_STR("tcp"), .host = host, .authority = host, .port = DNS_PORT };
}
