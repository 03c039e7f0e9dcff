/* address_cache.c: keeps the edge's addresses for a start without DNS. */
#include "tunnel/address_cache.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tunnel/discover.h"

static void write_addr(FILE *f, unsigned region, const struct sockaddr_storage *a)
{
    char ip[INET6_ADDRSTRLEN];
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
    if (a->ss_family == AF_INET)
        fprintf(f, "%u %s:%u\n", region + 1, inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip)),
                ntohs(v4->sin_port));
    else
        fprintf(f, "%u [%s]:%u\n", region + 1, inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip)),
                ntohs(v6->sin6_port));
}

void address_cache_write(const char *file, const struct sup_region regions[EDGE_REGIONS])
{
    char temporary[4096];
    snprintf(temporary, sizeof(temporary), "%s.new", file);
    FILE *f = fopen(temporary, "we");
    bool ok = f != NULL;
    for (unsigned r = 0; f && r < EDGE_REGIONS; r++)
        for (size_t i = 0; i < regions[r].n && i < CACHE_ADDRS_MAX; i++)
            write_addr(f, r, &regions[r].addrs[i]);
    if (f)
        ok = fclose(f) == 0;
    if (!ok || rename(temporary, file) < 0)
        log_line(CV_WARN, NULL, "address_cache: unable to write %s: %m", file);
}

static bool read_addr(struct cv_str text, struct sockaddr_storage *a)
{
    struct cv_str host;
    uint16_t port;
    char ip[INET6_ADDRSTRLEN];
    struct sockaddr_in *v4 = (struct sockaddr_in *)a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;
    if (!discovery_split(text, &host, &port) || !cv_str_copy(ip, sizeof(ip), host))
        return false;
    memset(a, 0, sizeof(*a));
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return true;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1;
}

size_t address_cache_read(const char *file, struct sockaddr_storage addrs[EDGE_REGIONS][CACHE_ADDRS_MAX],
                          size_t n[EDGE_REGIONS])
{
    char line[128];
    size_t found = 0;
    FILE *f = fopen(file, "re");
    memset(n, 0, EDGE_REGIONS * sizeof(n[0]));
    while (f && fgets(line, sizeof(line), f)) {
        unsigned region = (unsigned)(line[0] - '1');
        struct cv_str text = { line + 2, strcspn(line, "\n") };
        if (region >= EDGE_REGIONS || text.n < 3 || line[1] != ' ' || n[region] == CACHE_ADDRS_MAX)
            continue;
        text.n -= 2;
        if (read_addr(text, &addrs[region][n[region]])) {
            n[region]++;
            found++;
        }
    }
    if (f)
        fclose(f);
    return found;
}
