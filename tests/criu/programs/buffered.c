/* A program on the generator of its thread, which hands out what it has in its buffer and is told of a restore by nothing
 * but the process page: see serve.h. Exit code 77: this kernel has no page that does. */
#include <snaprng.h>

#include "serve.h"

static int draw(unsigned char *out, size_t length)
{
    int error = snaprng_fill(out, length);
    if (error != SNAPRNG_OK)
        fprintf(stderr, "%s\n", snaprng_strerror(error));
    return error == SNAPRNG_OK;
}

int main(int count, char **arguments)
{
    snaprng_config config = {
        .size = sizeof config,
        .policy = SNAPRNG_POLICY_ASSUME_NEVER_CLONED,
        .flags = SNAPRNG_NO_VMCLOCK,
    };
    snaprng_protection_t protection = { .size = sizeof protection };
    int error = snaprng_init(&config);
    if (error == SNAPRNG_OK)
        error = snaprng_protection(&protection);
    if (error != SNAPRNG_OK || protection.level != SNAPRNG_LEVEL_PROCESS_ONLY) {
        fprintf(stderr, "level %u: %s\n", protection.level, snaprng_strerror(error));
        return 1;
    }
    if (!(protection.flags & SNAPRNG_SEES_RESTORES))
        return 77;
    return serve(count, arguments, draw);
}
