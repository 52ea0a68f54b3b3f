/* Requests where nothing may be allocated: in signal handlers, at first use, and in a handler that interrupted a
 * request. The program brings its own malloc, which ends it when it is called at the wrong time. */
#define _GNU_SOURCE
#include <snaprng.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/time.h>

#include "check.h"

static volatile sig_atomic_t forbidden;

/* Gives memory and never takes it back. */
static void *give(size_t length, size_t alignment)
{
    static unsigned char memory[64 << 20];
    static size_t used;
    size_t at;
    if (forbidden) {
        static const char said[] = "an allocation where none may be\n";
        ssize_t ignored = write(2, said, sizeof said - 1);
        (void)ignored;
        abort();
    }
    for (;;) {
        size_t seen = __atomic_load_n(&used, __ATOMIC_RELAXED);
        at = (seen + 16 + alignment - 1) / alignment * alignment;
        if (length > sizeof memory || at > sizeof memory - length)
            return NULL;
        if (__atomic_compare_exchange_n(&used, &seen, at + length, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            break;
    }
    memcpy(memory + at - 16, &length, sizeof length);
    return memory + at;
}

void *malloc(size_t length) { return give(length, 16); }
void *calloc(size_t count, size_t size) { return give(count * size, 16); }
void free(void *memory) { CHECK(!forbidden || memory == NULL); }
void *memalign(size_t alignment, size_t length) { return give(length, alignment < 16 ? 16 : alignment); }
void *aligned_alloc(size_t alignment, size_t length) { return memalign(alignment, length); }

int posix_memalign(void **memory, size_t alignment, size_t length)
{
    *memory = memalign(alignment, length);
    return *memory == NULL ? ENOMEM : 0;
}

void *realloc(void *memory, size_t length)
{
    size_t before = 0;
    void *fresh = give(length, 16);
    if (memory != NULL && fresh != NULL) {
        memcpy(&before, (char *)memory - 16, sizeof before);
        memcpy(fresh, memory, before < length ? before : length);
    }
    return fresh;
}

enum { IN_HANDLERS = 2000, OUTSIDE = 200000 };
static block blocks[IN_HANDLERS + OUTSIDE];
static volatile sig_atomic_t handled;

static void draw_in_handler(int signal)
{
    sig_atomic_t was = forbidden;
    int error = errno;
    (void)signal;
    forbidden = 1;
    if (handled < IN_HANDLERS) {
        snaprng_generation_t generation;
        CHECK_IS(snaprng_fill(&blocks[handled], sizeof(block)), SNAPRNG_OK);
        if (snaprng_generation(&generation) == SNAPRNG_OK)
            CHECK_IS(snaprng_generation_is_current(&generation), 1);
        else /* This handler interrupted the first use of the process: bytes, but no token yet. */
            CHECK_IS(snaprng_generation(&generation), SNAPRNG_EINSTALLING);
        handled++;
    }
    forbidden = was;
    errno = error;
}

static void catch_signals(int signal)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = draw_in_handler;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(signal, &action, NULL) == 0);
}

static void first_use_of_a_process_may_be_in_a_handler(void)
{
    catch_signals(SIGUSR1);
    CHECK(raise(SIGUSR1) == 0);
    CHECK_IS(handled, 1);
    CHECK_IS(snaprng_fill(&blocks[1], sizeof(block)), SNAPRNG_OK);
    check_all_differ(blocks, 2);
}

static void *first_use_in_a_handler_of_this_thread(void *unused)
{
    CHECK(raise(SIGUSR1) == 0);
    return unused;
}

static void first_use_of_a_thread_may_be_in_a_handler(void)
{
    pthread_t thread;
    int i;
    catch_signals(SIGUSR1);
    CHECK_IS(snaprng_fill(&blocks[IN_HANDLERS], sizeof(block)), SNAPRNG_OK);
    /* More than fit into the first chunk of generators, each used for the first time. */
    for (i = 0; i < 100; i++) {
        CHECK(pthread_create(&thread, NULL, first_use_in_a_handler_of_this_thread, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK_IS(handled, 100);
    check_all_differ(blocks, 100);
}

static void handlers_may_interrupt_requests_anywhere(void)
{
    struct itimerval often = {{0, 50}, {0, 50}}, never = {{0, 0}, {0, 0}};
    int drawn = 0;
    catch_signals(SIGALRM);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    while (handled < IN_HANDLERS || drawn < OUTSIDE) {
        CHECK_IS(snaprng_fill(&blocks[IN_HANDLERS + drawn % OUTSIDE], sizeof(block)), SNAPRNG_OK);
        drawn++;
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    check_all_differ(blocks, IN_HANDLERS + OUTSIDE);
}

int main(void)
{
    in_child("first_use_of_a_process_may_be_in_a_handler", first_use_of_a_process_may_be_in_a_handler);
    in_child("first_use_of_a_thread_may_be_in_a_handler", first_use_of_a_thread_may_be_in_a_handler);
    in_child("handlers_may_interrupt_requests_anywhere", handlers_may_interrupt_requests_anywhere);
    return 0;
}
