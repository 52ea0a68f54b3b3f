#define _GNU_SOURCE
#include "controls.h"

#include <stdint.h>
#include <sys/syscall.h>

#include "check.h"

static uint32_t rotate(uint32_t word, int by)
{
    return word << by | word >> (32 - by);
}

static void quarter_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *a += *b, *d = rotate(*d ^ *a, 16);
    *c += *d, *b = rotate(*b ^ *c, 12);
    *a += *b, *d = rotate(*d ^ *a, 8);
    *c += *d, *b = rotate(*b ^ *c, 7);
}

/* RFC 8439, with a counter of one word, which is plenty here. */
static void next_block(uint32_t state[16], uint32_t out[16])
{
    int round, i;
    memcpy(out, state, 64);
    for (round = 0; round < 20; round += 2) {
        for (i = 0; i < 4; i++)
            quarter_round(&out[i], &out[4 + i], &out[8 + i], &out[12 + i]);
        for (i = 0; i < 4; i++)
            quarter_round(&out[i], &out[4 + (i + 1) % 4], &out[8 + (i + 2) % 4], &out[12 + (i + 3) % 4]);
    }
    for (i = 0; i < 16; i++)
        out[i] += state[i];
    state[12]++;
}

void *plain_seeded(void)
{
    uint32_t *state = calloc(16, sizeof *state);
    CHECK(state != NULL);
    memcpy(state, "expand 32-byte k", 16);
    CHECK(kernel(NULL, (unsigned char *)(state + 4), 32) == 0);
    return state;
}

int plain(void *state, unsigned char *out, size_t length)
{
    uint32_t stream[16];
    while (length > 0) {
        size_t part = length < sizeof stream ? length : sizeof stream;
        next_block(state, stream);
        memcpy(out, stream, part);
        out += part;
        length -= part;
    }
    return 0;
}

int kernel(void *state, unsigned char *out, size_t length)
{
    (void)state;
    return syscall(SYS_getrandom, out, length, 0) == (long)length ? 0 : -1;
}
