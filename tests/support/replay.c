/* replay.c: reads the files of a corpus and hands them to a fuzz target. */
#include "replay.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The copy has exactly the file's size, so that a read past the end is one past the allocation. */
static void replay_file(const char *path, replay_target *target)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (!file || fstat(fileno(file), &st) < 0) {
        CU_FAIL("a corpus file cannot be opened");
    } else if (S_ISREG(st.st_mode)) {
        size_t n = (size_t)st.st_size;
        uint8_t *bytes = malloc(n);
        CU_ASSERT_EQUAL(fread(bytes, 1, n, file), n);
        CU_ASSERT_EQUAL(target(bytes, n), 0);
        free(bytes);
    }
    if (file)
        fclose(file);
}

void replay(const char *name, replay_target *target)
{
    CU_ASSERT_EQUAL(target((const uint8_t *)"", 0), 0);
    char path[4096];
    snprintf(path, sizeof path, "tests/fuzz/corpus/%s", name);
    DIR *dir = opendir(path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        snprintf(path, sizeof path, "tests/fuzz/corpus/%s/%s", name, entry->d_name);
        replay_file(path, target);
    }
    closedir(dir);
}
