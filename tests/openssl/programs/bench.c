/* What RAND_bytes costs with the provider, and without, in one process: two library contexts take turns.
 *
 *   bench MODULE [KEY=VALUE...]      lines for the provider's section
 *
 * It prints the median time of a request on either side, the ratio, and the level. It proves nothing and fails nothing. */
#define _GNU_SOURCE
#include <time.h>

#include "provider.h"

enum { SIZE = 32, ROUNDS = 201, REQUESTS = 2000 };

static double nanoseconds(OSSL_LIB_CTX *context)
{
    unsigned char bytes[SIZE];
    struct timespec from, to;
    int i;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (i = 0; i < REQUESTS; i++)
        CHECK_IS(RAND_bytes_ex(context, bytes, sizeof bytes, 0), 1);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / REQUESTS;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments)
{
    static double with[ROUNDS], without[ROUNDS];
    const char *level = NULL;
    OSSL_LIB_CTX *ours = OSSL_LIB_CTX_new(), *stock = OSSL_LIB_CTX_new();
    OSSL_PARAM params[2] = { OSSL_PARAM_END, OSSL_PARAM_END };
    OSSL_PROVIDER *provider;
    int i;
    CHECK(count >= 2);
    CHECK_IS(configure(ours, arguments[1], arguments + 2), 1);
    CHECK((provider = OSSL_PROVIDER_load(ours, "snaprng")) != NULL);
    nanoseconds(ours);
    nanoseconds(stock);
    for (i = 0; i < ROUNDS; i++) {
        with[i] = nanoseconds(ours);
        without[i] = nanoseconds(stock);
    }
    qsort(with, ROUNDS, sizeof *with, compare);
    qsort(without, ROUNDS, sizeof *without, compare);
    params[0] = OSSL_PARAM_construct_utf8_ptr("level", (char **)&level, 0);
    CHECK_IS(OSSL_PROVIDER_get_params(provider, params), 1);
    printf("RAND_bytes(%d), %s: level %s: %.0f ns with the provider, %.0f ns without: ratio %.3f\n", SIZE,
           OpenSSL_version(OPENSSL_VERSION), level, with[ROUNDS / 2], without[ROUNDS / 2],
           with[ROUNDS / 2] / without[ROUNDS / 2]);
    return 0;
}
