#include "generators.h"

#include <snaprng.h>

#include <string.h>

int thread_fill(void *state, unsigned char *out, size_t length)
{
    (void)state;
    return snaprng_fill(out, length);
}

int thread_RAND_bytes(void *state, unsigned char *out, size_t length)
{
    (void)state;
    return snaprng_RAND_bytes(out, (int)length) == 1 ? 0 : -1;
}

int thread_u64(void *state, unsigned char *out, size_t length)
{
    size_t at;
    (void)state;
    for (at = 0; at < length; at += sizeof(uint64_t)) {
        uint64_t number = snaprng_u64();
        memcpy(out + at, &number, sizeof number);
    }
    return 0;
}

int owned(void *state, unsigned char *out, size_t length)
{
    return snaprng_generate(state, out, length);
}
