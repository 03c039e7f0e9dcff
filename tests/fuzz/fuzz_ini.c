/* fuzz_ini.c: any bytes as an ini file: keys and lines stay within bounds. */
#include "boot/boot.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || n > 65536)
        return 0;
    FILE *f = fmemopen((void *)(uintptr_t)data, n, "r");
    CV_ASSERT(f);
    struct problems p = { .n = 0 };
    struct ini ini;
    ini_read_stream(&ini, "fuzz.ini", f, &p);
    for (size_t i = 0; i < ini.n; i++) {
        CV_ASSERT(*ini.v[i].name && strlen(ini.v[i].name) <= INI_SECTION);
        for (size_t j = 0; j < ini.v[i].n; j++)
            CV_ASSERT(*ini.v[i].v[j].key && strlen(ini.v[i].v[j].value) < INI_LINE && ini.v[i].v[j].line > 0);
    }
    ini_free(&ini);
    problems_free(&p);
    fclose(f);
    return 0;
}
