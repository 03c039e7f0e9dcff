/* fuzz_config.c: any bytes as a configuration; one that is accepted is shown, read again and compared. */
#include "request/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct route_table *read(struct cv_str document)
{
    static const struct config_local nothing = { .rewrites = NULL };
    struct route_table *table;
    struct reason why;
    bool started;
    config_read(document, &nothing, &table, &started, &why);
    return table;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct route_table *table = read((struct cv_str){ (const char *)p, n });
    if (!table)
        return 0;
    struct cv_buf shown = { 0 }, again = { 0 };
    config_write(&shown, table, 1);
    config_write_local(&again, table, NULL, 0);
    struct route_table *second = read((struct cv_str){ (const char *)again.p, again.n });
    if (second)
        config_write_diff(&shown, table, second, 1000);
    route_table_unref(second);
    route_table_unref(table);
    cv_buf_free(&shown);
    cv_buf_free(&again);
    return 0;
}
