/* gzip.c: an answer packed (RFC 1952). */
#include "prom.h"

#include <limits.h>
#include <zlib.h>

enum { GZIP = 16 + MAX_WBITS, MEMORY = 8 };

void prom_gzip(const struct cv_buf *plain, struct cv_buf *out)
{
    z_stream z = { .next_in = plain->p, .avail_in = (uInt)plain->n };
    CV_ASSERT(plain->n <= UINT_MAX);
    CV_ASSERT(deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP, MEMORY, Z_DEFAULT_STRATEGY) == Z_OK);
    uLong most = deflateBound(&z, (uLong)plain->n);
    z.next_out = cv_buf_reserve(out, most);
    z.avail_out = (uInt)most;
    CV_ASSERT(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out->n += most - z.avail_out;
    deflateEnd(&z);
}
