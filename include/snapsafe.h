/* snapsafe: take part when snapsafed takes the whole machine through a snapshot.
 *
 *     snapsafe_participant *participant;
 *     if (snapsafe_register("session-server", NULL, &participant) == 0) {
 *         ... poll snapsafe_fd(participant) for POLLIN, and then ...
 *         snapsafe_asked asked;
 *         asked.size = sizeof asked;
 *         while (snapsafe_dispatch(participant, &asked) == 1) {
 *             ... get ready, or adapt, as asked.phase says ...
 *             snapsafe_ack(participant, &asked, NULL);
 *         }
 *     }
 *
 * Where no daemon runs, snapsafe_register says so (-ENOENT), and the program goes on without it.
 * Functions return a negative number of errno.h where something is wrong; snapsafe_strerror explains
 * it. No function starts a thread, and no thread may be cancelled (pthreads(7)) while it is in one.
 * A program to copy: examples/c/participant.c. Build with
 * `cc example.c $(pkg-config --cflags --libs snapsafe)`.
 *
 * C89 with <stdint.h> and <stddef.h>, or C++11. Generated from crates/snapsafe-client/src/capi.rs: do
 * not edit. SPDX-License-Identifier: MIT OR Apache-2.0 */

#ifndef SNAPSAFE_H
#define SNAPSAFE_H

#include <stddef.h>
#include <stdint.h>

/* The answer of a function marked with this must be looked at. */
#ifndef SNAPSAFE_MUST_CHECK
#if defined(__GNUC__) || defined(__clang__)
#define SNAPSAFE_MUST_CHECK __attribute__((warn_unused_result))
#else
#define SNAPSAFE_MUST_CHECK
#endif
#endif

/** Major version of the library that this header belongs to. */
#define SNAPSAFE_VERSION_MAJOR 0

/** Minor version. */
#define SNAPSAFE_VERSION_MINOR 1

/** Patch version. */
#define SNAPSAFE_VERSION_PATCH 0

/** Waited for until a deadline. */
#define SNAPSAFE_DELAY 0

/** Told, and never waited for. */
#define SNAPSAFE_NOTIFY 1

/** Waited for, and the transition fails without it: root's. */
#define SNAPSAFE_BLOCK 2

/**
 * Before a snapshot: get ready. Nothing that a copy must not do a second time may be in flight.
 */
#define SNAPSAFE_QUIESCE 1

/** The same machine went on. */
#define SNAPSAFE_RESUMED 2

/**
 * This is another world, a clone or an old state, or nobody can tell: make everything unique anew.
 */
#define SNAPSAFE_RESTORED 3

/** The snapshot was called off. */
#define SNAPSAFE_ABORTED 4

/** A lock on the beginning of snapshots. */
#define SNAPSAFE_INHIBIT_QUIESCE 1

/** A lock on the opening of the network after them. */
#define SNAPSAFE_INHIBIT_UNQUIESCE 2

/** A program that takes part in snapshots. Used by one thread at a time. */
typedef struct snapsafe_participant snapsafe_participant;

/** How to take part, or to lock. All zero but the size is a good choice. */
typedef struct snapsafe_config {
    /** sizeof(snapsafe_config). */
    size_t size;
    /** The socket of another daemon than the system's, or NULL. */
    const char *socket;
    /** SNAPSAFE_DELAY, SNAPSAFE_NOTIFY or SNAPSAFE_BLOCK. */
    int32_t mode;
    /**
     * Groups are asked to quiesce from the highest down, and told what happened from the lowest up.
     * 0: not said, which is 50. Others are root's.
     */
    int32_t order;
} snapsafe_config;

/** What a program is asked to do. */
typedef struct snapsafe_asked {
    /** sizeof(snapsafe_asked), set by the caller. */
    size_t size;
    /** SNAPSAFE_QUIESCE, SNAPSAFE_RESUMED, SNAPSAFE_RESTORED or SNAPSAFE_ABORTED. */
    int32_t phase;
    /**
     * Not 0: the daemon has forgotten this program, so that nobody can tell what happened, and
     * nobody waits for the answer. The phase is SNAPSAFE_RESTORED then.
     */
    int32_t missed;
    /** The transition that this belongs to. */
    uint64_t transition;
    /** The generation of this copy of the world: a new one after SNAPSAFE_RESTORED. */
    uint64_t generation;
    /** For how many milliseconds the answer is waited for; -1 if it is not. */
    int64_t deadline_ms;
} snapsafe_asked;

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Takes part from now on, under a name that tells people whom they wait for. Waits for the daemon's
 * answer, some seconds at most. `config` may be NULL. `*participant` is NULL after an error.
 *
 * Returns: 0; -ENOENT where no daemon runs: the program goes on without it; -EPERM for what is
 * root's; another negative errno.
 */
SNAPSAFE_MUST_CHECK
int snapsafe_register(const char *name,
                      const struct snapsafe_config *config,
                      struct snapsafe_participant **participant);

/**
 * What to poll for reading (POLLIN): snapsafe_dispatch is to be called when it is readable. It
 * stays the same, and is the library's: not to be read, nor closed.
 *
 * Returns: a descriptor, or -EINVAL.
 */
int snapsafe_fd(const struct snapsafe_participant *participant);

/**
 * What is asked, if anything is. Does not wait. To be called until there is nothing: what has
 * arrived already does not make the descriptor readable again. Connects again to a daemon that was
 * restarted, which needs no word of the caller.
 *
 * Returns: 1, with `*asked` to be answered by snapsafe_ack; 0 if nothing is asked; a negative errno.
 */
SNAPSAFE_MUST_CHECK
int snapsafe_dispatch(struct snapsafe_participant *participant,
                      struct snapsafe_asked *asked);

/**
 * Answers what was asked: done, or, with a reason in `veto`, not done and not to be. `veto` is NULL
 * or text. An answer that comes too late, because something else is asked by now, is dropped.
 *
 * Returns: 0, or a negative errno.
 */
int snapsafe_ack(struct snapsafe_participant *participant,
                 const struct snapsafe_asked *asked,
                 const char *veto);

/** Takes part no longer. NULL is ignored. */
void snapsafe_unregister(struct snapsafe_participant *participant);

/**
 * Holds transitions up: `what` is SNAPSAFE_INHIBIT_QUIESCE, SNAPSAFE_INHIBIT_UNQUIESCE, or both.
 * `who` and `why` are for people. `config` may be NULL; its order has no meaning here.
 *
 * Returns: the lock, a descriptor, which ends when all its copies are closed; it is closed on exec;
 * -ENOENT where no daemon runs; another negative errno.
 */
SNAPSAFE_MUST_CHECK
int snapsafe_inhibit(int32_t what,
                     const char *who,
                     const char *why,
                     const struct snapsafe_config *config);

/**
 * What a negative number of these functions means, in English, with what to do next.
 *
 * Returns: a string that is never freed.
 */
const char *snapsafe_strerror(int error);

#ifdef __cplusplus
} /* extern "C" */
#endif /* __cplusplus */

#endif  /* SNAPSAFE_H */
