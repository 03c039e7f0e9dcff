/* fuzz_member.c: a member of a JSON object is found the same in one piece and byte by byte. */
#include "culvert/mem.h"
#include "request/member.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct member_scan whole = { .name = "stream", .value = "true" }, bytes = whole;
    member_scan(&whole, data, size);
    for (size_t i = 0; i < size; i++)
        member_scan(&bytes, data + i, 1);
    CV_ASSERT(whole.found == bytes.found);
    return 0;
}
