/* told.c: the flags that a connector with rules of its own tells the edge about (docs/protocol.md §16.6), in the words in
 * which Go prints their values. */
#include "boot.h"

#include "tunnel/tunnel.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const told[] = {
    "autoupdate-freq", "edge-bind-address",   "edge-ip-version", "loglevel",   "max-active-flows",
    "metrics",         "metrics-update-freq", "no-autoupdate",   "origincert", "protocol",
    "retries",         "transport-loglevel"
};
enum { TOLD = sizeof(told) / sizeof(told[0]), TEXT = 48 };

/* 1h0m1.5s, 500ms, 0s */
static void print_duration(char out[TEXT], int64_t ms)
{
    const char *sign = ms < 0 ? "-" : "";
    uint64_t n = ms < 0 ? -(uint64_t)ms : (uint64_t)ms, s = n / 1000, rest = n % 1000;
    char fraction[8] = "";
    if (n > 0 && s == 0) {
        snprintf(out, TEXT, "%s%" PRIu64 "ms", sign, n);
        return;
    }
    if (rest > 0)
        snprintf(fraction, sizeof(fraction), ".%03u", (unsigned)rest);
    for (size_t end = strlen(fraction); end > 0 && fraction[end - 1] == '0'; end--)
        fraction[end - 1] = '\0';
    if (s >= 3600)
        snprintf(out, TEXT, "%s%" PRIu64 "h%" PRIu64 "m%" PRIu64 "%ss", sign, s / 3600, s / 60 % 60, s % 60,
                 fraction);
    else if (s >= 60)
        snprintf(out, TEXT, "%s%" PRIu64 "m%" PRIu64 "%ss", sign, s / 60, s % 60, fraction);
    else
        snprintf(out, TEXT, "%s%" PRIu64 "%ss", sign, s, fraction);
}

/* The value as Go prints it; text itself where that is how. */
static const char *print_value(const struct flag *f, const char *text, char out[TEXT])
{
    int64_t ms;
    switch (f->type) {
    case FLAG_BOOL: return strcmp(flag_bool(text), "yes") == 0 ? "true" : "false";
    case FLAG_INT: snprintf(out, TEXT, "%lld", strtoll(text, NULL, 0)); return out;
    case FLAG_MS: print_duration(out, duration_parse(text, &ms) ? ms : 0); return out;
    case FLAG_STR:
    case FLAG_LIST: break;
    }
    return text;
}

void command_tell(struct command *c)
{
    c->told = block_alloc(&c->blocks, TOLD * sizeof(*c->told));
    for (size_t i = 0; i < TOLD; i++) {
        const struct flag *f = flag_find(told[i], FLAG_TUNNEL | FLAG_RUN);
        char name[64], out[TEXT];
        const char *text = c->given[f - flag_table];
        if (!text)
            text = flag_environment(f, name, sizeof(name));
        if (!text || !*text || f->secret || !flag_takes(f, text))
            continue;
        const char *value = print_value(f, text, out);
        size_t n = strlen(value);
        char *copy = block_alloc(&c->blocks, n + 1);
        memcpy(copy, value, n + 1);
        c->told[c->n_told++] = (struct tunnel_setting){ told[i], copy, true };
    }
}
