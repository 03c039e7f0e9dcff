/* duration.c: times as an operator writes them. */
#include "prom.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST_MS = 24 * 3600 * 1000 };

int64_t duration_ms(const char *text)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    int64_t sum = 0;
    do {
        size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 9)
            return -1;
        int64_t n = strtol(text, NULL, 10), ms = sum == 0 && text[digits] == '\0' ? 1000 : -1;
        text += digits;
        for (size_t i = 0; ms < 0 && i < sizeof(units) / sizeof(units[0]); i++)
            if (strncmp(text, units[i].unit, strlen(units[i].unit)) == 0) {
                ms = units[i].ms;
                text += strlen(units[i].unit);
            }
        if (ms < 0)
            return -1;
        sum += n * ms;
    } while (*text && sum <= LONGEST_MS);
    return sum <= LONGEST_MS ? sum : -1;
}
