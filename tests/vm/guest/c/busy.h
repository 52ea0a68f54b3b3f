/* What ../src/busy.rs does, for programs in C: one loop asks every generator in turn, through the snapshot and on.
 *
 * Nothing here decides whether a test passed: the harness compares what the clones recorded. */
#ifndef BUSY_H
#define BUSY_H

#include "generator.h"

/* One program's own part. */
typedef struct busy_program {
    /* What the harness calls it. */
    const char *body;

    /* Before the snapshot, right after the resume and at the end: what is said of the generators, first in words for
     * the harness ("key=value" lines), then, after an empty line, for people. It goes under the name of the stream. */
    const char *described;
    char *(*describe)(void);

    /* In every pass, too; or NULL. */
    void (*every_pass)(void);

    /* Once this worker knows of the resume; or NULL. Generators that are added here were first made then. */
    void (*resumed)(void);

    /* What a thread asks that begins after the resume, and the stream's name. */
    const char *new_thread;
    generator *ask_in_new_thread;

    /* Writes what else there is, as frames; or NULL. */
    void (*write)(const char *worker);
} busy_program;

/* Reads the orders, and makes ready all that needs no generator under test. */
void busy_start(const busy_program *program, int argc, char **argv);

/* A generator to ask, beside the controls. */
void busy_add(const char *stream, generator *ask, void *state);

/* The loop, and what was recorded to standard output. */
void busy_run(void);

#endif
