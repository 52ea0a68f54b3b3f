/* A generation that was taken before the snapshot, and what was said of it. */
#ifndef FENCE_H
#define FENCE_H

/* Takes it. */
void fence_take(void);

/* Asks whether it is current. */
void fence_ask(void);

/* Takes one after the resume, which has to stay current. */
void fence_renew(void);

/* Writes all answers to standard output, as a frame of text. */
void fence_write(const char *worker);

#endif
