/* The generators of snaprng that a C program has. */
#ifndef GENERATORS_H
#define GENERATORS_H

#include "../generator.h"

/* The thread's generator, by three of its functions. */
generator thread_fill, thread_RAND_bytes, thread_u64;

/* A generator with an owner: state is its handle. */
generator owned;

#endif
