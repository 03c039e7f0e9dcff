/* boot_test.h: what the tests of the boot room share. */
#ifndef BOOT_TEST_H
#define BOOT_TEST_H
#include "boot/boot.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Problems as one text, a line each. Empties the list; the text is good until the next call. */
static inline const char *taken(struct problems *p)
{
    static char text[16384];
    text[0] = '\0';
    FILE *f = fmemopen(text, sizeof(text), "w");
    problems_print(p, f);
    fclose(f);
    problems_free(p);
    return text;
}

#define CHECK_TEXT(is, wanted)                                                                               \
    do {                                                                                                     \
        const char *is_ = (is), *wanted_ = (wanted);                                                         \
        CU_ASSERT_STRING_EQUAL(is_, wanted_);                                                                \
        if (strcmp(is_, wanted_) != 0)                                                                       \
            fprintf(stderr, "  line %d\n  is     %s\n  wanted %s\n", __LINE__, is_, wanted_);                \
    } while (0)
#define CHECK_HOLDS(text, part)                                                                              \
    do {                                                                                                     \
        const char *text_ = (text), *part_ = (part);                                                         \
        CU_ASSERT_PTR_NOT_NULL(strstr(text_, part_));                                                        \
        if (!strstr(text_, part_))                                                                           \
            fprintf(stderr, "  line %d\n  text    %s\n  without %s\n", __LINE__, text_, part_);              \
    } while (0)

/* A file with this content; unlink() it. */
static inline char *temporary(const char *content)
{
    static char name[64];
    snprintf(name, sizeof(name), "/tmp/culvert-test-XXXXXX");
    int fd = mkstemp(name);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    close(fd);
    return name;
}

#endif
