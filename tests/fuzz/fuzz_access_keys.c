/* fuzz_access_keys.c: sets of keys, files of hashes, paths and networks of any bytes. */
#include "access_headers/access.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct cv_str s = { (const char *)bytes, n }, prefix = CV_STR("/v1");
    struct cv_err err;
    struct access_net net;
    access_keys_unref(access_keys_read(s, &err));
    access_hashes_unref(access_hashes_read("keys", s, &err));
    (void)cv_path_in((struct cv_list){ &prefix, 1 }, s);
    (void)cv_host_in((struct cv_list){ &prefix, 1 }, s);
    if (access_net_read(s, &net))
        CV_ASSERT(net.bits <= 128);
    (void)access_bearer(&(struct access_shown){ s, s, 1, 1 }, true, NULL);
    return 0;
}
