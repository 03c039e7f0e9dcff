/* assets.c: the files of status/, as they are, in the module. */
#include "assets.h"

#include <stddef.h>

#define ASSET(id, file)                                                                                      \
    __asm__(".pushsection .rodata\n"                                                                         \
            ".global " #id "_begin\n.global " #id "_end\n" #id "_begin:\n"                                   \
            ".incbin \"modules/metrics_prom/status/" file "\"\n" #id "_end:\n"                               \
            ".popsection\n");                                                                                \
    __attribute__((visibility("hidden"))) extern const char id##_begin[], id##_end[];

ASSET(asset_html, "index.html")
ASSET(asset_css, "status.css")
ASSET(asset_js, "status.js")

const struct asset assets[] = {
    { "/", "text/html; charset=utf-8", asset_html_begin, asset_html_end },
    { "/status.css", "text/css; charset=utf-8", asset_css_begin, asset_css_end },
    { "/status.js", "text/javascript; charset=utf-8", asset_js_begin, asset_js_end },
    { .path = NULL },
};
