/* A machine loses its witness under a program that requires one, and gets it back.
 *
 *   refused MODULE PAGE
 *
 * No byte is made in between: requests fail, buffers are wiped, the reason is on the error stack, and the context says
 * that it is in its error state. Afterwards everything works by itself. */
#define _GNU_SOURCE
#include <fcntl.h>

#include "provider.h"

/* struct vmclock_abi, include/uapi/linux/vmclock-abi.h */
enum { FLAGS = 24, COUNTER = 104 };

static int page;

static void put(off_t offset, uint64_t value)
{
    CHECK(pwrite(page, &value, sizeof value, offset) == sizeof value);
}

static int is_wiped(const unsigned char *bytes, size_t length)
{
    while (length > 0)
        if (bytes[--length] != 0)
            return 0;
    return 1;
}

static void expect_refusal(EVP_RAND_CTX *context, unsigned char *bytes, size_t length)
{
    const char *data = NULL, *found = NULL;
    unsigned long code;
    int flags;
    memset(bytes, 0xAA, length);
    ERR_clear_error();
    CHECK_IS(EVP_RAND_generate(context, bytes, length, 0, 0, NULL, 0), 0);
    CHECK(is_wiped(bytes, length));
    CHECK_IS(EVP_RAND_get_state(context), EVP_RAND_STATE_ERROR);
    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0)
        if (data != NULL && strstr(data, "the policy requires a synchronous witness") != NULL)
            found = ERR_reason_error_string(code);
    CHECK(found != NULL && strcmp(found, "no random bytes") == 0);
}

int main(int count, char **arguments)
{
    enum { LARGE = 1 << 20 };
    char vmclock[256], *lines[] = { vmclock, (char *)"policy = require", NULL };
    unsigned char *bytes = malloc(LARGE);
    EVP_RAND_CTX *context, *drbg;
    EVP_RAND *algorithm;
    int i;
    CHECK(count == 3 && bytes != NULL);
    CHECK((page = open(arguments[2], O_WRONLY)) >= 0);
    snprintf(vmclock, sizeof vmclock, "vmclock = %s", arguments[2]);
    CHECK_IS(configure(NULL, arguments[1], lines), 1);
    CHECK_IS(RAND_bytes(bytes, 32), 1);
    CHECK((context = RAND_get0_public(NULL)) != NULL);
    CHECK_IS(EVP_RAND_get_state(context), EVP_RAND_STATE_READY);

    /* The page says no more that it has a counter, and moves. */
    put(FLAGS, 0);
    put(COUNTER, 100);
    for (i = 0; i < 3; i++) {
        expect_refusal(context, bytes, 32);
        expect_refusal(context, bytes, LARGE);
        CHECK_IS(RAND_bytes(bytes, 32), 0);
        CHECK_IS(RAND_priv_bytes(bytes, 32), 0);
    }
    /* Nor are there seeds. */
    CHECK((algorithm = EVP_RAND_fetch(NULL, "HASH-DRBG", NULL)) != NULL);
    CHECK((drbg = EVP_RAND_CTX_new(algorithm, context)) != NULL);
    EVP_RAND_free(algorithm);
    CHECK_IS(EVP_RAND_instantiate(drbg, 0, 0, NULL, 0, NULL), 0);
    EVP_RAND_CTX_free(drbg);
    ERR_clear_error();

    put(FLAGS, 1 << 8);
    put(COUNTER, 101);
    CHECK_IS(RAND_bytes(bytes, LARGE), 1);
    CHECK(!is_wiped(bytes + LARGE - 64, 64));
    CHECK_IS(EVP_RAND_get_state(context), EVP_RAND_STATE_READY);
    CHECK_IS(ERR_peek_error(), 0);
    free(bytes);
    printf("no byte without a witness, and all of them with it\n");
    return 0;
}
