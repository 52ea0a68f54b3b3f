/* What a worker writes down, in the format of ../src/record.rs. */
#ifndef RECORD_H
#define RECORD_H

#include <stdint.h>

#include "generator.h"

/* The outputs of one generator. */
typedef struct recorder {
    char stream[64];
    size_t width, keep;
    uint32_t index;
    unsigned char *output, *before, *kept;
    size_t asked_before, asked_after, kept_count, errors;
    int last_error;
} recorder;

/* A log for `keep` outputs of `width` bytes. All it needs is allocated here, not in the loop. */
void recorder_make(recorder *log, const char *stream, size_t width, size_t keep);

/* Makes one request and writes down what came of it; whether it ended after the resume. Once `keep` outputs are written
 * down, only the `sampled` ones follow. */
int recorder_ask(recorder *log, generator *ask, void *state, int sampled);

/* Whether as many outputs as wanted were written down. */
int recorder_is_full(const recorder *log);

/* Writes the log to standard output as frames. */
void recorder_write(const recorder *log, const char *worker);

/* Writes a frame of text. */
void write_text(const char *worker, const char *stream, const char *text);

#endif
