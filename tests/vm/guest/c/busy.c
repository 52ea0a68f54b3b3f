#define _GNU_SOURCE
#include "busy.h"

#include <pthread.h>
#include <sched.h>

#include "check.h"
#include "clock.h"
#include "controls.h"
#include "record.h"
#include "truth.h"

enum {
    WIDTH = 32,
    LARGE = 64 * 1024,
    LARGE_REQUESTS = 1,
    /* Large requests take long, so they come after the outputs that matter most: the first ones. */
    LARGE_AFTER = 512,
    /* After the first outputs, one in this many is written down. */
    SAMPLE = 128,
    MOST = 16
};

/* How long the loop goes on after the resume. */
static const uint64_t RUN_NANOSECONDS = 1500000000;

typedef struct subject {
    generator *ask;
    void *state;
    recorder log;
    int is_control;
} subject;

static const busy_program *program;
static const char *worker;
static unsigned number;
static size_t keep;

static subject subjects[MOST];
static size_t count;
static recorder large[MOST];
static size_t large_count;
static recorder new_thread;

/* When this worker knew of the resume: its time stamps count from here. */
static struct { uint64_t monotonic, ticks; } zero;

/* Read the orders; a word that is not known is a mistake in the harness and ends the worker. */
static void read_orders(int argc, char **argv)
{
    int i;
    CHECK(argc > 2 && strcmp(argv[1], "worker") == 0);
    worker = argv[2];
    for (i = 3; i < argc; i++) {
        const char *word = argv[i];
        int known = sscanf(word, "number=%u", &number) == 1 || sscanf(word, "keep=%zu", &keep) == 1 ||
                    (strncmp(word, "body=", 5) == 0 && strcmp(word + 5, program->body) == 0);
        if (!known)
            fprintf(stderr, "the worker %s was told '%s', which it does not know\n", worker, word);
        CHECK(known);
    }
    CHECK(keep > 0);
}

static subject *add(const char *stream, generator *ask, void *state)
{
    subject *added = &subjects[count++];
    CHECK(count <= MOST);
    added->ask = ask;
    added->state = state;
    recorder_make(&added->log, stream, WIDTH, keep);
    return added;
}

void busy_add(const char *stream, generator *ask, void *state)
{
    add(stream, ask, state);
}

/* Ask every generator once; whether this worker knows of the resume. */
static int pass(int sampled)
{
    size_t i;
    for (i = 0; i < count; i++) {
        subject *asked = &subjects[i];
        if (recorder_ask(&asked->log, asked->ask, asked->state, sampled) && zero.monotonic == 0) {
            zero.monotonic = clock_monotonic();
            zero.ticks = clock_ticks();
        }
    }
    if (program->every_pass != NULL)
        program->every_pass();
    return zero.monotonic != 0;
}

/* A thread that first asks after the resume: it saw no change, and the kernel may not have either. */
static void *newcomer(void *nothing)
{
    size_t i;
    for (i = 0; i < keep; i++)
        recorder_ask(&new_thread, program->ask_in_new_thread, NULL, 0);
    return nothing;
}

static void ask_for_much(void)
{
    size_t i;
    int request;
    for (i = 0; i < count; i++) {
        char stream[64];
        recorder *log = &large[large_count];
        if (subjects[i].is_control)
            continue;
        snprintf(stream, sizeof stream, "%s@large", subjects[i].log.stream);
        recorder_make(log, stream, LARGE, LARGE_REQUESTS);
        for (request = 0; request < LARGE_REQUESTS; request++)
            recorder_ask(log, subjects[i].ask, subjects[i].state, 0);
        large_count++;
    }
}

static int is_over(size_t passes)
{
    size_t i;
    if (passes % SAMPLE != 0 || clock_monotonic() - zero.monotonic < RUN_NANOSECONDS)
        return 0;
    for (i = 0; i < count; i++)
        if (!recorder_is_full(&subjects[i].log))
            return 0;
    return 1;
}

/* When this worker knew of the resume, and how to read its time stamps. */
static void write_facts(void)
{
    char facts[256];
    double milliseconds = (double)(clock_monotonic() - zero.monotonic) / 1e6;
    snprintf(facts, sizeof facts, "resumed_ns=%llu\nresumed_ticks=%llu\nticks_per_ms=%.3f\n",
             (unsigned long long)zero.monotonic, (unsigned long long)zero.ticks,
             (double)(clock_ticks() - zero.ticks) / milliseconds);
    write_text(worker, "facts", facts);
}

static void write_description(const char *moment, const char *text)
{
    char stream[96];
    snprintf(stream, sizeof stream, "%s/protection-%s", program->described, moment);
    write_text(worker, stream, text);
}

void busy_start(const busy_program *asking, int argc, char **argv)
{
    program = asking;
    read_orders(argc, argv);
    truth_map();
    add("plain", plain, plain_seeded())->is_control = 1;
    add("kernel", kernel, NULL)->is_control = 1;
    recorder_make(&new_thread, program->new_thread, WIDTH, keep);
}

void busy_run(void)
{
    const char *before, *resumed, *end;
    pthread_t thread;
    size_t passes, i;

    for (passes = 0; passes < 64; passes++)
        pass(0);
    before = program->describe();
    truth_set_ready(number);
    while (!pass(0))
        ;

    resumed = program->describe();
    if (program->resumed != NULL)
        program->resumed();
    CHECK(pthread_create(&thread, NULL, newcomer, NULL) == 0);
    sched_yield();
    for (passes = 1; !is_over(passes);) {
        pass(passes % SAMPLE == 0);
        if (++passes == LARGE_AFTER)
            ask_for_much();
    }
    CHECK(pthread_join(thread, NULL) == 0);
    end = program->describe();

    write_facts();
    write_description("before", before);
    write_description("resumed", resumed);
    write_description("end", end);
    if (program->write != NULL)
        program->write(worker);
    for (i = 0; i < count; i++)
        recorder_write(&subjects[i].log, worker);
    for (i = 0; i < large_count; i++)
        recorder_write(&large[i], worker);
    recorder_write(&new_thread, worker);
    CHECK(fflush(stdout) == 0);
}
