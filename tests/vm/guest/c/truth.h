/* The ground truth: the page of ../src/truth.rs, which init hands over as standard input. */
#ifndef TRUTH_H
#define TRUTH_H

#include <stdint.h>

void truth_map(void);

/* Which clone this is; 0 in the machine the snapshot was taken of. */
uint32_t truth_clone(void);

/* Tells the harness that the worker with this number is in its loop. */
void truth_set_ready(unsigned worker);

#endif
