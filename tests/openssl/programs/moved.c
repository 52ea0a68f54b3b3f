/* A machine is cloned while a program runs: what do the program's next bytes come from?
 *
 *   moved MODULE PAGE random      random = SNAPRNG: the next request rekeys
 *   moved MODULE PAGE seed        seed = SNAPRNG-SEED: OpenSSL's own generator goes on as before, and does not notice
 *
 * The clone is played by a page that stands in for the hypervisor's. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#include "provider.h"

/* struct vmclock_abi, include/uapi/linux/vmclock-abi.h */
enum { COUNTER = 104 };

static OSSL_PROVIDER *provider;

static uint64_t count(const char *name)
{
    uint64_t number = 0;
    OSSL_PARAM params[2] = { OSSL_PARAM_END, OSSL_PARAM_END };
    params[0] = OSSL_PARAM_construct_uint64(name, &number);
    CHECK_IS(OSSL_PROVIDER_get_params(provider, params), 1);
    return number;
}

int main(int argc, char **arguments)
{
    char vmclock[256], *lines[] = { vmclock, (char *)"policy = require", NULL };
    unsigned char bytes[32];
    uint64_t moved = 1234567, rekeys, seeds;
    int i, page, seeds_only;
    CHECK(argc == 4);
    seeds_only = strcmp(arguments[3], "seed") == 0;
    snprintf(vmclock, sizeof vmclock, "vmclock = %s", arguments[2]);
    CHECK_IS(configure_with(NULL, arguments[1], lines, seeds_only ? "seed = SNAPRNG-SEED" : "random = SNAPRNG"), 1);
    CHECK((provider = OSSL_PROVIDER_load(NULL, "snaprng")) != NULL);
    for (i = 0; i < 10; i++)
        CHECK_IS(RAND_bytes(bytes, sizeof bytes), 1);
    rekeys = count("rekeys");
    seeds = count("requests");
    CHECK(seeds > 0);

    CHECK((page = open(arguments[2], O_WRONLY)) >= 0);
    CHECK(pwrite(page, &moved, sizeof moved, COUNTER) == sizeof moved);
    for (i = 0; i < 10; i++)
        CHECK_IS(RAND_bytes(bytes, sizeof bytes), 1);
    if (seeds_only) {
        CHECK_IS(count("requests"), seeds);
        printf("seed = SNAPRNG-SEED: the clone went unnoticed, as documented\n");
    } else {
        CHECK_IS(count("requests"), seeds + 10);
        CHECK(count("rekeys") > rekeys);
        printf("random = SNAPRNG: rekeyed at the next request\n");
    }
    return 0;
}
