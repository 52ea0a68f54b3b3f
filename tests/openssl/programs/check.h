/* What the programs share: checks that end the program, library contexts with the provider, and blocks. */
#ifndef CHECK_H
#define CHECK_H

#include <openssl/conf.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
            ERR_print_errors_fp(stderr);                                                \
            _exit(1);                                                                   \
        }                                                                               \
    } while (0)

#define CHECK_IS(value, expected)                                                       \
    do {                                                                                \
        long long value_ = (long long)(value), expected_ = (long long)(expected);       \
        if (value_ != expected_) {                                                      \
            fprintf(stderr, "%s:%d: %s is %lld, not %s (%lld)\n", __FILE__, __LINE__,   \
                    #value, value_, #expected, expected_);                              \
            ERR_print_errors_fp(stderr);                                                \
            _exit(1);                                                                   \
        }                                                                               \
    } while (0)

/* Configures a library context as a file would: the default provider, and this one with further lines for its section,
 * each "KEY=VALUE". What CONF_modules_load says: a provider that does not load is no failure to OpenSSL. */
static inline int configure_with(OSSL_LIB_CTX *context, const char *module, char *const *lines, const char *random)
{
    char text[4096];
    long error_line;
    int length, outcome;
    BIO *file;
    CONF *configuration = NCONF_new_ex(context, NULL);
    length = snprintf(text, sizeof text,
                      "openssl_conf = init\n[init]\nproviders = list\nrandom = random\n[random]\n%s\n"
                      "[list]\ndefault = default_section\nsnaprng = snaprng_section\n[default_section]\nactivate = 1\n"
                      "[snaprng_section]\nmodule = %s\nactivate = 1\n",
                      random, module);
    for (; *lines != NULL; lines++)
        length += snprintf(text + length, sizeof text - (size_t)length, "%s\n", *lines);
    CHECK((size_t)length < sizeof text);
    CHECK(configuration != NULL && (file = BIO_new_mem_buf(text, length)) != NULL);
    CHECK_IS(NCONF_load_bio(configuration, file, &error_line), 1);
    outcome = CONF_modules_load(configuration, NULL, 0);
    BIO_free(file);
    NCONF_free(configuration);
    return outcome;
}

static inline int configure(OSSL_LIB_CTX *context, const char *module, char *const *lines)
{
    return configure_with(context, module, lines, "random = SNAPRNG");
}

static inline int wait_for(pid_t child)
{
    int status;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

/* Runs a test in a process of its own: the provider's configuration is process-wide. */
static inline void in_child(const char *name, void (*test)(void))
{
    int status;
    pid_t child;
    fflush(NULL);
    child = fork();
    if (child == 0) {
        test();
        fflush(NULL);
        _exit(0);
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
