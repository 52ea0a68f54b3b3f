/* Loads and unloads the provider again and again.
 *
 *   loads FOLDER TIMES      the folder of snaprng.so
 *
 * Neither memory nor mappings nor descriptors grow by it. By the API, not by a configuration, of which OpenSSL remembers
 * every one. What a first load takes is kept: the library is never unloaded. */
#define _GNU_SOURCE
#include <dirent.h>
#include <limits.h>
#include <malloc.h>

#include "provider.h"

static size_t descriptors(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static size_t mappings(void)
{
    size_t lines = 0;
    int c;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    while ((c = getc(maps)) != EOF)
        lines += c == '\n';
    fclose(maps);
    return lines;
}

static void load_and_unload(const char *folder)
{
    unsigned char bytes[32];
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *provider, *again;
    CHECK(context != NULL);
    CHECK_IS(OSSL_PROVIDER_set_default_search_path(context, folder), 1);
    CHECK((provider = OSSL_PROVIDER_load(context, "snaprng")) != NULL);
    CHECK_IS(RAND_set_DRBG_type(context, "SNAPRNG", NULL, NULL, NULL), 1);
    CHECK_IS(RAND_bytes_ex(context, bytes, sizeof bytes, 0), 1);
    CHECK_IS(RAND_priv_bytes_ex(context, bytes, sizeof bytes, 0), 1);
    CHECK((again = OSSL_PROVIDER_load(context, "snaprng")) != NULL);
    CHECK_IS(OSSL_PROVIDER_unload(again), 1);
    CHECK_IS(OSSL_PROVIDER_unload(provider), 1);
    OSSL_LIB_CTX_free(context);
}

int main(int count, char **arguments)
{
    enum { PARTS = 10 };
    long i, part, times, growth, least = LONG_MAX;
    size_t maps, files, memory;
    CHECK(count == 3);
    times = strtol(arguments[2], NULL, 10) / PARTS;
    CHECK(times > 0);
    load_and_unload(arguments[1]);
    maps = mappings();
    files = descriptors();
    /* OpenSSL's own tables grow now and then, by a lot. What is lost at each load grows in every part. */
    for (part = 0; part < PARTS; part++) {
        memory = mallinfo2().uordblks;
        for (i = 0; i < times; i++)
            load_and_unload(arguments[1]);
        growth = (long)(mallinfo2().uordblks - memory);
        if (growth < least)
            least = growth;
    }
    printf("%ld loads: at the least %ld bytes more per %ld, %ld mappings, %ld descriptors\n", PARTS * times, least, times,
           (long)(mappings() - maps), (long)(descriptors() - files));
    fflush(stdout);
    /* The smallest block that could be lost takes 32 bytes. */
    CHECK(least < times * 32);
    /* The heap may come in more pieces. */
    CHECK(mappings() <= maps + 4);
    CHECK_IS(descriptors(), files);
    return 0;
}
