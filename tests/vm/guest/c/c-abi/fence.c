#include "fence.h"

#include <snaprng.h>

#include "check.h"
#include "../record.h"
#include "../truth.h"

static snaprng_generation_t taken, renewed;
static unsigned long asked_before, ended_before, asked_after, current_after;

void fence_take(void)
{
    CHECK_IS(snaprng_generation(&taken), SNAPRNG_OK);
}

void fence_ask(void)
{
    int after = truth_clone() != 0;
    int current = snaprng_generation_is_current(&taken);
    CHECK(current == 0 || current == 1);
    if (after) {
        asked_after++;
        current_after += current == 1;
    } else if (truth_clone() == 0) {
        asked_before++;
        ended_before += current == 0;
    }
    /* Else the snapshot came while it was asked, and either answer is right. */
}

void fence_renew(void)
{
    CHECK_IS(snaprng_generation(&renewed), SNAPRNG_OK);
}

void fence_write(const char *worker)
{
    char text[256];
    snprintf(text, sizeof text, "asked_before=%lu\nended_before=%lu\nasked_after=%lu\ncurrent_after=%lu\nrenewed=%d\n",
             asked_before, ended_before, asked_after, current_after, snaprng_generation_is_current(&renewed));
    write_text(worker, "generation", text);
}
