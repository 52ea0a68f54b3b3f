/* A worker on the static library: snaprng through its C ABI.
 *
 * It asks, besides, whether a generation that was taken before the snapshot is current. */
#define _GNU_SOURCE
#include <snaprng.h>

#include "../busy.h"
#include "check.h"
#include "fence.h"
#include "generators.h"

static void *new_owned(void)
{
    snaprng_t *made;
    CHECK_IS(snaprng_new(NULL, &made), SNAPRNG_OK);
    return made;
}

/* What snaprng says of the thread's generator: first in words for the harness, then as it tells an operator. */
static char *description(void)
{
    static const char *const levels[] = {"per-call", "accepted", "process-only", "synchronous"};
    static const char *const states[] = {"absent", "active", "stand-in", "unusable", "off"};
    snaprng_protection_t report = {.size = sizeof report};
    char operators[4096], *text;
    size_t length;
    uint32_t i;
    FILE *out = open_memstream(&text, &length);
    CHECK(out != NULL);
    CHECK_IS(snaprng_protection(&report), SNAPRNG_OK);
    CHECK(report.level < sizeof levels / sizeof *levels);
    fprintf(out, "level=%s\n", levels[report.level]);
    for (i = 0; i < report.witnesses; i++) {
        int state = snaprng_witness_state(i);
        CHECK(state >= 0 && (size_t)state < sizeof states / sizeof *states);
        fprintf(out, "%s=%s\n", snaprng_witness_name(i), states[state]);
    }
    CHECK(snaprng_protection_string(operators, sizeof operators) > 0);
    fprintf(out, "\n%s\n", operators);
    CHECK(fclose(out) == 0);
    return text;
}

static void resumed(void)
{
    fence_renew();
    busy_add("snaprng-new-owned-plain", owned, new_owned());
}

static const busy_program program = {
    .body = "c-abi",
    .described = "snaprng-thread",
    .describe = description,
    .every_pass = fence_ask,
    .resumed = resumed,
    .new_thread = "snaprng-new-thread",
    .ask_in_new_thread = thread_fill,
    .write = fence_write,
};

int main(int argc, char **argv)
{
    busy_start(&program, argc, argv);
    CHECK_IS(snaprng_init(NULL), SNAPRNG_OK);
    busy_add("snaprng-thread", thread_fill, NULL);
    busy_add("snaprng-RAND_bytes", thread_RAND_bytes, NULL);
    busy_add("snaprng-u64", thread_u64, NULL);
    busy_add("snaprng-owned-plain", owned, new_owned());
    fence_take();
    busy_run();
    return 0;
}
