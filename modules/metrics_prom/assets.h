/* assets.h: the files that make the status page. */
#ifndef PROM_ASSETS_H
#define PROM_ASSETS_H

struct asset {
    const char *path, *type;
    const char *begin, *end;
};
extern const struct asset assets[]; /* ends in a row without a path */

#endif
