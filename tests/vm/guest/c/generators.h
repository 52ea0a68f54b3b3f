/* The generators under test and the ones they are compared with, all asked the same way. */
#ifndef GENERATORS_H
#define GENERATORS_H

#include <stddef.h>

/* Fills out and returns 0, or returns another number. Lengths are multiples of 8. */
typedef int generator(void *state, unsigned char *out, size_t length);

/* A plain ChaCha20 generator, seeded once from the kernel as user-space generators are: the control that repeats. */
generator plain;
void *plain_seeded(void);

/* The kernel's own output, past libc, which may keep some. */
generator kernel;

/* The thread's generator of snaprng, by three of its functions. */
generator thread_fill, thread_RAND_bytes, thread_u64;

/* A generator of snaprng with an owner: state is its handle. */
generator owned;

#endif
