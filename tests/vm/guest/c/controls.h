/* What the generators under test are compared with. */
#ifndef CONTROLS_H
#define CONTROLS_H

#include "generator.h"

/* A plain ChaCha20 generator, seeded once from the kernel as user-space generators are: the control that repeats. */
generator plain;
void *plain_seeded(void);

/* The kernel's own output, past libc, which may keep some. */
generator kernel;

#endif
