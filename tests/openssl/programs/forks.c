/* A program that forks: what do its children share?
 *
 *   forks MODULE [LINE...]      with the provider
 *   forks                       with OpenSSL's own generator
 *
 * Three kinds of children draw, and their children: of fork(); of a bare system call that makes a process in a pid
 * namespace of its own, where it has its parent's pid, which is all that OpenSSL's own generator looks at; and, with the
 * provider alone, of fork() while sixteen threads draw: there a child of OpenSSL's own may wait for ever, for a lock that
 * a thread held which it does not have. Prints how many blocks came twice. With the provider it must be none. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "provider.h"

enum { THREADS = 16, FORKS = 48, PER_PROCESS = 64 };

/* With the provider: one that every thread uses. */
static EVP_RAND_CTX *shared;
/* This thread's, for RAND_bytes. */
static EVP_RAND_CTX *own;
static atomic_int over;
static pthread_barrier_t all_have_begun;

static void draw_from(EVP_RAND_CTX *context, block *blocks, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        CHECK_IS(EVP_RAND_generate(context, blocks[i].bytes, sizeof *blocks, 0, 0, NULL, 0), 1);
}

static void draw(block *blocks, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        CHECK_IS(RAND_bytes(blocks[i].bytes, sizeof *blocks), 1);
}

/* Not by RAND_bytes: OpenSSL 3.0 takes a lock there (RAND_get_rand_method) that another thread may hold at the fork, with
 * any generator. It is the same context. */
static void draw_in_a_child(block *blocks)
{
    size_t half = PER_PROCESS / 2;
    draw_from(shared != NULL ? shared : own, blocks, half);
    draw_from(own, blocks + half, half);
}

static void *draw_until_over(void *nothing)
{
    block blocks[16];
    int begun = 0;
    while (!atomic_load(&over)) {
        draw(blocks, 16);
        if (shared != NULL)
            draw_from(shared, blocks, 16);
        if (!begun)
            pthread_barrier_wait(&all_have_begun);
        begun = 1;
    }
    return nothing;
}

static pid_t fork_with_the_same_pid(void)
{
    return (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
}

/* Forks again and again; parent and children draw, and so does a grandchild of each. How many blocks came twice. */
static size_t shared_blocks(pid_t (*make)(void))
{
    static block all[(2 * FORKS + 1) * PER_PROCESS];
    block blocks[PER_PROCESS];
    size_t count = 0;
    int i, ends[2];
    pid_t child;
    for (i = 0; i < FORKS; i++) {
        CHECK(pipe(ends) == 0);
        fflush(NULL);
        child = make();
        if (child == 0) {
            draw_in_a_child(blocks);
            write_all(ends[1], blocks, sizeof blocks);
            child = make();
            if (child == 0) {
                draw_in_a_child(blocks);
                write_all(ends[1], blocks, sizeof blocks);
                _exit(0);
            }
            _exit(wait_for(child) != 0);
        }
        CHECK(child > 0);
        read_all(ends[0], all + count, 2 * sizeof blocks);
        count += 2 * PER_PROCESS;
        CHECK_IS(wait_for(child), 0);
        close(ends[0]);
        close(ends[1]);
    }
    draw(all + count, PER_PROCESS);
    return repeated(all, count + PER_PROCESS);
}

/* In a process that is the first of its pid namespace. */
static void with_the_same_pid(const char *who)
{
    int status;
    pid_t child;
    if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
        printf("SKIPPED: forks that keep the pid: no pid namespace may be made here\n");
        return;
    }
    fflush(NULL);
    child = fork();
    if (child == 0) {
        block first[4];
        size_t twice;
        CHECK_IS(getpid(), 1);
        draw_from(own, first, 4);
        twice = shared_blocks(fork_with_the_same_pid);
        printf("%s: %zu blocks came twice after forks that keep the pid\n", who, twice);
        fflush(NULL);
        _exit(shared != NULL && twice != 0);
    }
    status = wait_for(child);
    CHECK_IS(status, 0);
}

static void while_threads_draw(const char *who)
{
    pthread_t threads[THREADS];
    size_t twice;
    int i;
    CHECK(pthread_barrier_init(&all_have_begun, NULL, THREADS + 1) == 0);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, draw_until_over, NULL) == 0);
    pthread_barrier_wait(&all_have_begun);
    twice = shared_blocks(fork);
    atomic_store(&over, 1);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    printf("%s: %zu blocks came twice after fork() while %d threads draw\n", who, twice, THREADS);
    CHECK_IS(twice, 0);
}

static EVP_RAND_CTX *shared_context(void)
{
    EVP_RAND_CTX *context;
    EVP_RAND *algorithm = EVP_RAND_fetch(NULL, "SNAPRNG", NULL);
    CHECK(algorithm != NULL);
    CHECK((context = EVP_RAND_CTX_new(algorithm, NULL)) != NULL);
    EVP_RAND_free(algorithm);
    CHECK_IS(EVP_RAND_instantiate(context, 0, 0, NULL, 0, NULL), 1);
    CHECK_IS(EVP_RAND_enable_locking(context), 1);
    return context;
}

int main(int count, char **arguments)
{
    const char *who = count >= 2 ? "provider" : "stock OpenSSL";
    block first[4];
    size_t twice;
    if (count >= 2) {
        CHECK_IS(configure(NULL, arguments[1], arguments + 2), 1);
        shared = shared_context();
    }
    draw(first, 4);
    CHECK((own = RAND_get0_public(NULL)) != NULL);
    twice = shared_blocks(fork);
    printf("%s: %zu blocks came twice after fork()\n", who, twice);
    CHECK_IS(twice, 0);
    if (shared != NULL)
        while_threads_draw(who);
    with_the_same_pid(who);
    EVP_RAND_CTX_free(shared);
    return 0;
}
