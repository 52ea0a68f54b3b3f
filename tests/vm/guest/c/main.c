/* A worker in C, on the static library: what ../src/busy.rs does, through the C ABI.
 *
 * One loop asks every generator in turn, through the snapshot and on, and whether a generation that was taken before it
 * is current. Nothing here decides whether a test passed: the harness compares what the clones recorded. */
#define _GNU_SOURCE
#include <snaprng.h>

#include <pthread.h>
#include <sched.h>

#include "check.h"
#include "clock.h"
#include "fence.h"
#include "generators.h"
#include "record.h"
#include "truth.h"

enum {
    WIDTH = 32,
    LARGE = 64 * 1024,
    LARGE_REQUESTS = 2,
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
} subject;

static const char *worker;
static unsigned number;
static size_t keep;

static subject subjects[MOST];
static size_t count;
static recorder large[MOST];
static size_t large_count;

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
                    strcmp(word, "body=c-abi") == 0 || strcmp(word, "owned=plain") == 0;
        if (!known)
            fprintf(stderr, "the worker %s was told '%s', which it does not know\n", worker, word);
        CHECK(known);
    }
    CHECK(keep > 0);
}

static void add(const char *stream, generator *ask, void *state)
{
    subject *added = &subjects[count++];
    CHECK(count <= MOST);
    added->ask = ask;
    added->state = state;
    recorder_make(&added->log, stream, WIDTH, keep);
}

static void *new_owned(void)
{
    snaprng_t *made;
    CHECK_IS(snaprng_new(NULL, &made), SNAPRNG_OK);
    return made;
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
    fence_ask();
    return zero.monotonic != 0;
}

/* What snaprng says of the thread's generator: first in words for the harness, then as it tells an operator. */
static char *description(void)
{
    static const char *const levels[] = {"per-call", "accepted", "process-only", "synchronous"};
    static const char *const states[] = {"absent", "active", "stand-in", "unusable", "off"};
    snaprng_protection_t report = {.size = sizeof report};
    char operators[4096], *text;
    size_t length;
    uint32_t i;
    FILE *out = open_memstream(&text, &length);
    CHECK(out != NULL);
    CHECK_IS(snaprng_protection(&report), SNAPRNG_OK);
    CHECK(report.level < sizeof levels / sizeof *levels);
    fprintf(out, "level=%s\n", levels[report.level]);
    for (i = 0; i < report.witnesses; i++) {
        int state = snaprng_witness_state(i);
        CHECK(state >= 0 && (size_t)state < sizeof states / sizeof *states);
        fprintf(out, "%s=%s\n", snaprng_witness_name(i), states[state]);
    }
    CHECK(snaprng_protection_string(operators, sizeof operators) > 0);
    fprintf(out, "\n%s\n", operators);
    CHECK(fclose(out) == 0);
    return text;
}

/* A thread that first asks after the resume: it saw no change, and the kernel may not have either. */
static void *newcomer(void *log)
{
    size_t i;
    for (i = 0; i < keep; i++)
        recorder_ask(log, thread_fill, NULL, 0);
    return NULL;
}

static void ask_for_much(void)
{
    size_t i;
    int request;
    for (i = 0; i < count; i++) {
        char stream[64];
        recorder *log = &large[large_count];
        if (strncmp(subjects[i].log.stream, "snaprng", 7) != 0)
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

int main(int argc, char **argv)
{
    const char *before, *resumed, *end;
    recorder new_thread;
    pthread_t thread;
    size_t passes, i;

    read_orders(argc, argv);
    truth_map();
    CHECK_IS(snaprng_init(NULL), SNAPRNG_OK);
    add("plain", plain, plain_seeded());
    add("kernel", kernel, NULL);
    add("snaprng-thread", thread_fill, NULL);
    add("snaprng-RAND_bytes", thread_RAND_bytes, NULL);
    add("snaprng-u64", thread_u64, NULL);
    add("snaprng-owned-plain", owned, new_owned());
    recorder_make(&new_thread, "snaprng-new-thread", WIDTH, keep);
    fence_take();

    for (passes = 0; passes < 64; passes++)
        pass(0);
    before = description();
    truth_set_ready(number);
    while (!pass(0))
        ;

    resumed = description();
    fence_renew();
    add("snaprng-new-owned-plain", owned, new_owned());
    CHECK(pthread_create(&thread, NULL, newcomer, &new_thread) == 0);
    sched_yield();
    for (passes = 1; !is_over(passes);) {
        pass(passes % SAMPLE == 0);
        if (++passes == LARGE_AFTER)
            ask_for_much();
    }
    CHECK(pthread_join(thread, NULL) == 0);
    end = description();

    write_facts();
    write_text(worker, "snaprng-thread/protection-before", before);
    write_text(worker, "snaprng-thread/protection-resumed", resumed);
    write_text(worker, "snaprng-thread/protection-end", end);
    fence_write(worker);
    for (i = 0; i < count; i++)
        recorder_write(&subjects[i].log, worker);
    for (i = 0; i < large_count; i++)
        recorder_write(&large[i], worker);
    recorder_write(&new_thread, worker);
    CHECK(fflush(stdout) == 0);
    return 0;
}
