/* process.h: a child process under test: what it prints is kept, it never outlives the test program.
 *
 * Used from one thread. A process stays valid until the test program ends: its output is searched at the very end for
 * what must never be printed. */
#ifndef TESTS_PROCESS_H
#define TESTS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

struct process;

/* argv[0] is the path; env is all that it gets, besides what sanitizers want. */
struct process *process_start(const char *const *argv, const char *const *env);
bool process_find(const char *name,
                  char path[static 64]); /* where programs of this machine are; false: it has not got it */
bool process_says(struct process *, const char *text,
                  int ms); /* false: not within that time, or it ended before */
unsigned process_count(struct process *,
                       const char *text); /* how often it has said that so far                */
char *process_output(struct process *);   /* stdout and stderr so far; free() it              */
void process_forget(struct process *);    /* says, count and output begin here                */
void process_signal(struct process *, int signal);
bool process_running(const struct process *);
/* Its exit status, or minus the signal that ended it. Killed if it does not end in time. Again later: the same. */
int process_end(struct process *, int ms);
void process_end_all(void); /* kills those that run */

long process_rss(const struct process *);       /* resident bytes */
unsigned process_files(const struct process *); /* that it has open */
long process_peak(const struct process *);      /* the most that it ever had */
long process_cpu_ms(const struct process *);    /* user and system */

/* The name of a process whose whole output holds these bytes, or NULL. */
const char *process_that_said(const void *bytes, size_t n);

/* In a build with sanitizers, sizes and speeds mean nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

long long now_in_ms(void); /* monotonic */
void sleep_ms(int ms);

#endif
