#include "truth.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "check.h"

enum { PAGE = 4096, CLONE = 0, READY = 16 };

static _Atomic uint32_t *words;

void truth_map(void)
{
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, STDIN_FILENO, 0);
    CHECK(page != MAP_FAILED);
    words = page;
}

uint32_t truth_clone(void)
{
    return atomic_load_explicit(&words[CLONE], memory_order_acquire);
}

void truth_set_ready(unsigned worker)
{
    CHECK(READY + worker < PAGE / sizeof *words);
    atomic_store_explicit(&words[READY + worker], 1, memory_order_release);
}
