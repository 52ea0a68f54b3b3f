/* What the programs share: checks that end the program, a fresh process per test, and a set of drawn blocks. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a program that knows more about the failure may print: defined before this file is included. */
#ifndef ALSO_ON_FAILURE
#define ALSO_ON_FAILURE() ((void)0)
#endif

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
            ALSO_ON_FAILURE();                                                          \
            _exit(1);                                                                   \
        }                                                                               \
    } while (0)

#define CHECK_IS(value, expected)                                                       \
    do {                                                                                \
        long long value_ = (long long)(value), expected_ = (long long)(expected);       \
        if (value_ != expected_) {                                                      \
            fprintf(stderr, "%s:%d: %s is %lld, not %s (%lld)\n", __FILE__, __LINE__,   \
                    #value, value_, #expected, expected_);                              \
            ALSO_ON_FAILURE();                                                          \
            _exit(1);                                                                   \
        }                                                                               \
    } while (0)

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

static inline void child_passed(void)
{
    fflush(NULL);
    _exit(0);
}

static inline int wait_for(pid_t child)
{
    int status;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

/* Runs a test in a process of its own: configuration is process-wide. */
static inline void in_child(const char *name, void (*test)(void))
{
    int status;
    pid_t child;
    fflush(NULL);
    child = fork();
    if (child == 0) {
        test();
#ifdef __SANITIZE_ADDRESS__
        /* Which _exit would leave out. */
        CHECK(__lsan_do_recoverable_leak_check() == 0);
#endif
        child_passed();
    }
    status = wait_for(child);
    if (status != 0) {
        fprintf(stderr, "FAILED: %s (status %#x)\n", name, (unsigned)status);
        exit(1);
    }
    printf("  %s\n", name);
}

/* Blocks of 16 bytes: two equal ones by chance, among a million: 2^-89. */
typedef struct { unsigned char bytes[16]; } block;

static inline int compare_blocks(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(block));
}

/* How many blocks occur more than once. */
static inline size_t repeated(block *blocks, size_t count)
{
    size_t i, times = 0;
    qsort(blocks, count, sizeof *blocks, compare_blocks);
    for (i = 1; i < count; i++)
        times += compare_blocks(&blocks[i - 1], &blocks[i]) == 0;
    return times;
}

static inline void check_all_differ(block *blocks, size_t count)
{
    CHECK(count > 1);
    CHECK_IS(repeated(blocks, count), 0);
}

static inline void write_all(int fd, const void *from, size_t length)
{
    const char *at = from;
    while (length > 0) {
        ssize_t written = write(fd, at, length);
        CHECK(written > 0);
        at += written;
        length -= (size_t)written;
    }
}

static inline void read_all(int fd, void *to, size_t length)
{
    char *at = to;
    while (length > 0) {
        ssize_t got = read(fd, at, length);
        CHECK(got > 0);
        at += got;
        length -= (size_t)got;
    }
}

#endif
