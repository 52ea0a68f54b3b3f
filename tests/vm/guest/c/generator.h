/* How all generators are asked. */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <stddef.h>

/* Fills out and returns 0, or returns another number. Lengths are multiples of 8. */
typedef int generator(void *state, unsigned char *out, size_t length);

#endif
