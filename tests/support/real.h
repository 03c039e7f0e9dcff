/* real.h: real servers and clients as processes of a test.
 *
 * Commands are of the shell, which finds on its PATH what tools/deps-peers has brought, too. Folders and processes are gone
 * when the test program ends. */
#ifndef TESTS_REAL_H
#define TESTS_REAL_H

#include "process.h"

/* Whether one of these programs (with spaces between) is not here; the test, which then returns, is marked as skipped. */
bool real_lacks(const char *programs);

struct process *real_start(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
unsigned real_told_port(struct process *); /* the N of its first line, `listening N`; 0: none came */
/* Runs it to its end. What it printed, and a line `status N` if it is not 0; free() it. */
char *real_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

unsigned real_port(void);                 /* a TCP port of 127.0.0.1 that nobody had a moment ago */
bool real_listens(unsigned port);         /* soon */
void real_folder(char dir[static 64]);    /* a new one in /tmp */
void real_folder_remove(const char *dir); /* with all that is in it */
void real_write(const char *dir, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
