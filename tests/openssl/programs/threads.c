/* Sixteen threads over one context, and over those that OpenSSL gives each of them.
 *
 *   threads MODULE [BLOCKS]      blocks per thread and kind
 *
 * No block comes twice, and no request is lost to the counts. */
#define _GNU_SOURCE
#include <pthread.h>

#include "provider.h"

enum { THREADS = 16 };

static EVP_RAND_CTX *one;
static size_t blocks_each = 4096;
static pthread_barrier_t start;

static void *draw(void *to)
{
    block *blocks = to;
    size_t i;
    pthread_barrier_wait(&start);
    for (i = 0; i < blocks_each; i++)
        CHECK_IS(EVP_RAND_generate(one, blocks[i].bytes, sizeof *blocks, 256, i % 512 == 7, NULL, 0), 1);
    for (; i < 2 * blocks_each; i++)
        CHECK_IS(RAND_bytes(blocks[i].bytes, sizeof *blocks), 1);
    for (; i < 3 * blocks_each; i++)
        CHECK_IS(RAND_priv_bytes(blocks[i].bytes, sizeof *blocks), 1);
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[THREADS];
    char *nothing[] = { NULL };
    uint64_t of_one = 0, of_process = 0;
    OSSL_PARAM params[2] = { OSSL_PARAM_END, OSSL_PARAM_END };
    EVP_RAND *algorithm;
    OSSL_PROVIDER *provider;
    block *blocks;
    size_t i;
    CHECK(count >= 2);
    if (count >= 3)
        blocks_each = strtoul(arguments[2], NULL, 10);
    CHECK_IS(configure(NULL, arguments[1], nothing), 1);
    CHECK((provider = OSSL_PROVIDER_load(NULL, "snaprng")) != NULL);
    CHECK((algorithm = EVP_RAND_fetch(NULL, "SNAPRNG", NULL)) != NULL);
    CHECK((one = EVP_RAND_CTX_new(algorithm, NULL)) != NULL);
    EVP_RAND_free(algorithm);
    CHECK_IS(EVP_RAND_instantiate(one, 0, 0, NULL, 0, NULL), 1);
    /* For the counts: nothing else needs it. */
    CHECK_IS(EVP_RAND_enable_locking(one), 1);
    CHECK((blocks = calloc(THREADS * 3 * blocks_each, sizeof *blocks)) != NULL);
    CHECK(pthread_barrier_init(&start, NULL, THREADS) == 0);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, draw, blocks + i * 3 * blocks_each) == 0);
    for (i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);

    params[0] = OSSL_PARAM_construct_uint64("requests", &of_one);
    CHECK_IS(EVP_RAND_CTX_get_params(one, params), 1);
    CHECK_IS(of_one, THREADS * blocks_each);
    params[0] = OSSL_PARAM_construct_uint64("requests", &of_process);
    CHECK_IS(OSSL_PROVIDER_get_params(provider, params), 1);
    CHECK_IS(of_process, THREADS * 3 * blocks_each);
    CHECK_IS(repeated(blocks, THREADS * 3 * blocks_each), 0);
    printf("%d threads, %llu blocks, none twice, all counted\n", THREADS, (unsigned long long)of_process);
    free(blocks);
    EVP_RAND_CTX_free(one);
    OSSL_PROVIDER_unload(provider);
    return 0;
}
