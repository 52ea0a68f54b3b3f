/* A threaded program that forks, and whose children fork: no two of all these threads and processes share a block. */
#define _GNU_SOURCE
#include <snaprng.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "check.h"

enum {
    THREADS = 4,
    FORKS = 24,
    /* Per process: the forking thread's, a new thread's, an owned generator's, a grandchild's. */
    SHARES = 4,
    PER_SHARE = 64,
    PER_PROCESS = SHARES * PER_SHARE,
    PER_THREAD = 4096
};

static atomic_int over;
static pthread_barrier_t all_have_begun;
static snaprng_t *owned;
static snaprng_generation_t of_the_parent;

static void draw(block *blocks, size_t count)
{
    size_t i;
    /* One by one, as small requests do. */
    for (i = 0; i < count; i++)
        CHECK_IS(snaprng_fill(&blocks[i], sizeof blocks[i]), SNAPRNG_OK);
}

static void *draw_in_a_thread(void *blocks)
{
    draw(blocks, PER_SHARE);
    return NULL;
}

/* Keeps the library busy while the others fork. */
static void *draw_until_over(void *to)
{
    block *blocks = to;
    size_t count = 0;
    draw(blocks, 1);
    pthread_barrier_wait(&all_have_begun);
    while (!atomic_load(&over) || count < PER_THREAD) {
        draw(&blocks[count % PER_THREAD], 1);
        count++;
    }
    return NULL;
}

static void in_the_child(int to, int depth)
{
    block blocks[PER_PROCESS];
    pthread_t thread;
    CHECK_IS(snaprng_generation_is_current(&of_the_parent), 0);
    draw(blocks, PER_SHARE);
    CHECK(pthread_create(&thread, NULL, draw_in_a_thread, blocks + PER_SHARE) == 0);
    CHECK_IS(snaprng_generate(owned, blocks + 2 * PER_SHARE, PER_SHARE * sizeof(block)), SNAPRNG_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    if (depth == 0) {
        block grandchild[PER_PROCESS];
        int ends[2];
        pid_t child;
        CHECK(pipe(ends) == 0);
        CHECK_IS(snaprng_generation(&of_the_parent), SNAPRNG_OK);
        child = fork();
        if (child == 0) {
            in_the_child(ends[1], 1);
            child_passed();
        }
        /* After the fork, as the grandchild does. */
        draw(blocks + 3 * PER_SHARE, PER_SHARE / 2);
        read_all(ends[0], grandchild, sizeof grandchild);
        CHECK_IS(wait_for(child), 0);
        memcpy(blocks + 3 * PER_SHARE + PER_SHARE / 2, grandchild, PER_SHARE / 2 * sizeof(block));
        check_all_differ(grandchild, PER_PROCESS);
    } else {
        draw(blocks + 3 * PER_SHARE, PER_SHARE);
    }
    write_all(to, blocks, sizeof blocks);
}

int main(void)
{
    static block blocks[THREADS * PER_THREAD + FORKS * PER_PROCESS + (FORKS + 1) * PER_SHARE];
    block *next = blocks + THREADS * PER_THREAD;
    pthread_t threads[THREADS];
    int i;
    CHECK_IS(snaprng_new(NULL, &owned), SNAPRNG_OK);
    CHECK(pthread_barrier_init(&all_have_begun, NULL, THREADS + 1) == 0);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, draw_until_over, blocks + i * PER_THREAD) == 0);
    draw(next, PER_SHARE);
    next += PER_SHARE;
    /* AddressSanitizer leaves a child its locks as they were: nobody may be starting a thread when we fork. */
    pthread_barrier_wait(&all_have_begun);
    CHECK_IS(snaprng_generation(&of_the_parent), SNAPRNG_OK);
    for (i = 0; i < FORKS; i++) {
        int ends[2];
        pid_t child;
        CHECK(pipe(ends) == 0);
        /* Every third one past the C library, which then calls no fork handlers: it draws, and does no more. */
        if (i % 3 == 2) {
            child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
            if (child == 0) {
                block of_a_raw_clone[PER_PROCESS];
                draw(of_a_raw_clone, PER_PROCESS / 2);
                CHECK_IS(snaprng_generate(owned, of_a_raw_clone + PER_PROCESS / 2, sizeof of_a_raw_clone / 2),
                         SNAPRNG_OK);
                write_all(ends[1], of_a_raw_clone, sizeof of_a_raw_clone);
                _exit(0);
            }
        } else {
            child = fork();
            if (child == 0) {
                in_the_child(ends[1], 0);
                child_passed();
            }
        }
        draw(next, PER_SHARE / 2);
        CHECK_IS(snaprng_generate(owned, next + PER_SHARE / 2, PER_SHARE / 2 * sizeof(block)), SNAPRNG_OK);
        next += PER_SHARE;
        read_all(ends[0], next, PER_PROCESS * sizeof(block));
        next += PER_PROCESS;
        CHECK_IS(wait_for(child), 0);
        CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
        CHECK_IS(snaprng_generation_is_current(&of_the_parent), 1);
    }
    atomic_store(&over, 1);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    snaprng_free(owned);
    check_all_differ(blocks, (size_t)(next - blocks));
    printf("  %d blocks of %d processes and %d threads all differ\n", (int)(next - blocks), FORKS * 2 + 1, THREADS);
    return 0;
}
