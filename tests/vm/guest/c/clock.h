/* The clocks of ../src/clock.rs. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>
#include <x86intrin.h>

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t clock_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The CPU's time-stamp counter. */
static inline uint64_t clock_ticks(void)
{
    return __rdtsc();
}

#endif
