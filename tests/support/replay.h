/* replay.h: runs a fuzz target over its corpus, as a test of the suite `fuzz`. */
#ifndef REPLAY_H
#define REPLAY_H
#include "suite.h"

#include <stdint.h>

typedef int replay_target(const uint8_t *bytes, size_t n);

/* Every file of tests/fuzz/corpus/NAME, and the empty input; a target that finds fault ends the process. */
void replay(const char *name, replay_target *target);

/* The target is LLVMFuzzerTestOneInput of tests/fuzz/fuzz_NAME.c, which make names fuzz_NAME. */
#define REPLAY(name)                                                                                         \
    replay_target fuzz_##name;                                                                               \
    static void replays_##name(void)                                                                         \
    {                                                                                                        \
        replay(#name, fuzz_##name);                                                                          \
    }

#endif
