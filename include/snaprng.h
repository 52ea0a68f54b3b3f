/* snaprng: random bytes that no clone of this machine and no copy of this process will see.
 *
 *     unsigned char key[32];
 *     if (snaprng_fill(key, sizeof key) != SNAPRNG_OK) { ... no key: do not go on ... }
 *
 * Nothing has to be set up. A program that gives up privileges, or enters a sandbox, calls
 * snaprng_init before that. Functions return SNAPRNG_OK or a negative SNAPRNG_E code unless they say
 * otherwise; snaprng_strerror explains it. Buffers need no alignment. No function is a cancellation
 * point (pthreads(7)), and none may be called while cancelability is asynchronous. Build with
 * `cc example.c $(pkg-config --cflags --libs snaprng)`.
 *
 * What the library promises, and what not: README.md and the manual (`cargo doc`).
 *
 * C89 with <stdint.h> and <stddef.h>, or C++11. Generated from src/capi: do not edit.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */

#ifndef SNAPRNG_H
#define SNAPRNG_H

#include <stddef.h>
#include <stdint.h>

/* The answer of a function marked with this must be looked at. */
#ifndef SNAPRNG_MUST_CHECK
#if defined(__GNUC__) || defined(__clang__)
#define SNAPRNG_MUST_CHECK __attribute__((warn_unused_result))
#else
#define SNAPRNG_MUST_CHECK
#endif
#endif

/** Success. */
#define SNAPRNG_OK 0

/** The kernel gave no randomness. */
#define SNAPRNG_EENTROPY (-1)

/** The policy requires more protection than this machine has. */
#define SNAPRNG_ENOTPROTECTED (-2)

/** The policy requires diversity, and nothing tells this clone from its siblings yet. */
#define SNAPRNG_ENOTYETDIVERSE (-3)

/** The witnesses kept moving. */
#define SNAPRNG_EUNSTABLE (-4)

/** Another thread is installing the witnesses. */
#define SNAPRNG_EINSTALLING (-5)

/** A configuration is already in force. */
#define SNAPRNG_EINSTALLED (-6)

/** An owned generator asked for sources that are not those of the process. */
#define SNAPRNG_ESOURCES (-7)

/**
 * SNAPRNG_POLICY in the environment has an unknown value, or SNAPRNG_KERNEL names no kernel of this
 * CPU.
 */
#define SNAPRNG_EENVIRONMENT (-8)

/** A signal handler asked to reseed the generator that it interrupted. */
#define SNAPRNG_EREENTERED (-9)

/**
 * An argument is not acceptable: a null pointer, a wrong size, an unknown flag, a length over
 * SSIZE_MAX.
 */
#define SNAPRNG_EINVAL (-10)

/** Something went wrong inside the library. Nothing was handed out. */
#define SNAPRNG_EINTERNAL (-11)

/** Major version of the library that this header belongs to. */
#define SNAPRNG_VERSION_MAJOR 0

/** Minor version. */
#define SNAPRNG_VERSION_MINOR 1

/** Patch version. */
#define SNAPRNG_VERSION_PATCH 0

/** Take the best protection that can be had, and report it. The default. */
#define SNAPRNG_POLICY_PREFER 0

/** Refuse to work without a synchronous witness (bare metal passes). */
#define SNAPRNG_POLICY_REQUIRE 1

/** The caller states that no virtual machine under this process is ever cloned or restored. */
#define SNAPRNG_POLICY_ASSUME_NEVER_CLONED 2

/** Buffer on vmclock's disruption marker alone. */
#define SNAPRNG_ACCEPT_MARKER 1

/**
 * Buffer although the only witnesses are late: outputs right after a restore are shared by clones.
 */
#define SNAPRNG_ACCEPT_LATE 2

/** vmclock_fd holds an open descriptor, which snaprng_init takes over and closes. */
#define SNAPRNG_VMCLOCK_FD 4

/** Do not look for vmclock (CRIU cannot dump a process that maps it). */
#define SNAPRNG_NO_VMCLOCK 8

/** Do not look for sysgenid. */
#define SNAPRNG_NO_SYSGENID 16

/** Do not look for the agent page. */
#define SNAPRNG_NO_AGENT_PAGE 32

/** Every request draws fresh entropy. */
#define SNAPRNG_LEVEL_PER_CALL 0

/** A weaker witness is in use, accepted by name. */
#define SNAPRNG_LEVEL_ACCEPTED 1

/** Forks and process restores are watched for; no VM clone is reckoned with. */
#define SNAPRNG_LEVEL_PROCESS_ONLY 2

/** The VM generation counter is looked at around every output. */
#define SNAPRNG_LEVEL_SYNCHRONOUS 3

/** The witness that gives the level is a stand-in, not the hypervisor's. */
#define SNAPRNG_IS_STAND_IN 1

/** Fresh entropy was absorbed late enough for the kernel to have reseeded. */
#define SNAPRNG_IS_SETTLED 2

/** Something that tells clones apart went into the last rekey. */
#define SNAPRNG_IS_DIVERSE 4

/** Forks are told by a page that the kernel clears. */
#define SNAPRNG_SEES_FORKS 8

/** Process restores are told, if CRIU is 4.2 or later. */
#define SNAPRNG_SEES_RESTORES 16

/** Not there. */
#define SNAPRNG_WITNESS_ABSENT 0

/** In use. */
#define SNAPRNG_WITNESS_ACTIVE 1

/** In use, and written by somebody who is not the hypervisor. */
#define SNAPRNG_WITNESS_STAND_IN 2

/** There, but not usable: snaprng_witness_cause says why. */
#define SNAPRNG_WITNESS_UNUSABLE 3

/** Switched off by the configuration. */
#define SNAPRNG_WITNESS_OFF 4

/**
 * An owned generator. Opaque: its state is never on the caller's side.
 *
 * One thread at a time may use it, and no signal handler that interrupted a use of it. A fork
 * leaves a usable generator in parent and child, which share no output.
 */
typedef struct snaprng_t snaprng_t;

/**
 * A configuration. Set everything to zero, then size to sizeof(snaprng_config), then what is
 * wanted: zero is the default everywhere.
 *
 * Later versions append fields. A program that was compiled with an older, smaller struct keeps
 * working; one with a larger struct than the library knows is fine as long as the fields that the
 * library does not know are zero.
 */
typedef struct snaprng_config {
    /** sizeof(snaprng_config). */
    size_t size;
    /** SNAPRNG_POLICY_PREFER, SNAPRNG_POLICY_REQUIRE or SNAPRNG_POLICY_ASSUME_NEVER_CLONED. */
    uint32_t policy;
    /** SNAPRNG_ACCEPT_MARKER and the other flags, ORed. */
    uint32_t flags;
    /** Where vmclock is; NULL for /dev/vmclock0. */
    const char *vmclock_path;
    /** Where sysgenid is; NULL for /dev/sysgenid. */
    const char *sysgenid_path;
    /** Where the agent page is; NULL for /run/snapsafe/generation. */
    const char *agent_page_path;
    /** Bytes that are mixed into every key; need not be secret. NULL for none. */
    const void *personalization;
    /** How many bytes. */
    size_t personalization_len;
    /** An open descriptor of vmclock, if flags has SNAPRNG_VMCLOCK_FD; else zero. */
    int vmclock_fd;
    /** Rounds of ChaCha that make the output: 20, 12 or 8; zero for 20. */
    uint32_t rounds;
} snaprng_config;

/**
 * A token for the copy of the machine and the process that it was taken in. Opaque; copy it, but
 * do not send or store it: it is equal in sibling clones and means nothing elsewhere.
 */
typedef struct snaprng_generation_t {
    /** Not for callers. */
    uint64_t opaque[8];
} snaprng_generation_t;

/**
 * The protection that the calling thread's generator and the process have. Later versions append
 * fields; a program that knows fewer of them, or more, is given what it asks for, or zeros.
 */
typedef struct snaprng_protection_t {
    /** sizeof(snaprng_protection_t), set by the caller. */
    size_t size;
    /** SNAPRNG_LEVEL_PER_CALL and so on. */
    uint32_t level;
    /** SNAPRNG_IS_STAND_IN and so on, ORed. */
    uint32_t flags;
    /** What a request would answer now: SNAPRNG_OK or a negative code. */
    int error;
    /** How many witnesses there are to ask for by index. */
    uint32_t witnesses;
    /** Rekeys in this process so far. */
    uint64_t rekeys;
    /** Absorbs in this process so far. */
    uint64_t absorbs;
    /** How often a generator found itself in another epoch. */
    uint64_t epoch_changes;
} snaprng_protection_t;

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * What an error code means, in English, with what to do next.
 *
 * Returns: a string that is never freed; "unknown error" for a code that is none.
 * Threads, signals, forks: safe anywhere.
 */
const char *snaprng_strerror(int error);

/**
 * The version of the library that is loaded, as "MAJOR.MINOR.PATCH".
 *
 * Returns: a string that is never freed.
 * Threads, signals, forks: safe anywhere.
 */
const char *snaprng_version(void);

/**
 * Fills a buffer with random bytes.
 *
 * buf: where they go; may be NULL if len is 0.
 * len: how many bytes; any number up to SSIZE_MAX.
 *
 * Returns: SNAPRNG_OK, or a negative SNAPRNG_E code; buf has then been wiped (SNAPRNG_EINVAL:
 * nothing was written).
 * Threads: any number at once. Signals: safe in handlers, also in one that interrupted this
 * function. Forks: safe in the child of a threaded process; parent and child share no output.
 */
SNAPRNG_MUST_CHECK int snaprng_fill(void *buf, size_t len);

/**
 * OpenSSL's contract for RAND_bytes, over the same generator as snaprng_fill.
 *
 * buf: where the bytes go; may be NULL if num is 0.
 * num: how many bytes.
 *
 * Returns: 1 on success, 0 on failure; buf has then been wiped. 0 also if num is negative, or if
 * buf is NULL and num is not 0; nothing was written then.
 * Threads, signals, forks: as snaprng_fill.
 */
int snaprng_RAND_bytes(unsigned char *buf, int num);

/**
 * The same as snaprng_RAND_bytes: there is one generator for public and private values, since
 * nothing can be learnt about one output from others.
 *
 * buf, num, returns, threads, signals, forks: as snaprng_RAND_bytes.
 */
int snaprng_RAND_priv_bytes(unsigned char *buf, int num);

/**
 * Fills a buffer with random bytes, or ends the process with abort().
 *
 * For a libc or a runtime that has to provide arc4random_buf, which cannot fail.
 *
 * buf: where they go; may be NULL if len is 0.
 * len: how many bytes; any number up to SSIZE_MAX.
 *
 * Threads, signals, forks: as snaprng_fill.
 */
void snaprng_arc4random_buf(void *buf, size_t len);

/**
 * A random 32-bit number. Ends the process with abort() if there is no entropy.
 *
 * Threads, signals, forks: as snaprng_fill.
 */
uint32_t snaprng_u32(void);

/**
 * A random 64-bit number. Ends the process with abort() if there is no entropy.
 *
 * Threads, signals, forks: as snaprng_fill.
 */
uint64_t snaprng_u64(void);

/**
 * A random number below upper, each equally likely. Ends the process with abort() if there is no
 * entropy.
 *
 * upper: the bound, as for arc4random_uniform; 0 and 1 give 0.
 *
 * Threads, signals, forks: as snaprng_fill.
 */
uint32_t snaprng_uniform(uint32_t upper);

/**
 * Opens and maps every witness and puts a configuration in force for the process.
 *
 * Call it once, early in main: before the first use of any generator, before threads, and before a
 * sandbox or a drop of privileges. Without it, the first use installs the defaults.
 *
 * config: the configuration; NULL for the defaults.
 *
 * Returns: SNAPRNG_OK; SNAPRNG_EINSTALLED if one is in force; SNAPRNG_EINVAL for a wrong size, an
 * unknown flag, policy or combination, or a descriptor that is not open; or another negative code.
 * SNAPRNG_ENOTPROTECTED if SNAPRNG_POLICY_REQUIRE is not met: the configuration is then in force,
 * and every request fails until it is. A descriptor in it now belongs to the library, unless the
 * answer is SNAPRNG_EINVAL.
 * Threads: any, one succeeds. Signals: not in handlers (allocates). Forks: children inherit it.
 */
int snaprng_init(const struct snaprng_config *config);

/**
 * Takes the generation that this process is in.
 *
 * generation: where it goes.
 *
 * Returns: SNAPRNG_OK; SNAPRNG_EINVAL for NULL; or another negative code if the witnesses are not
 * installed (SNAPRNG_EINSTALLING in a handler that interrupted the first use): the token is then
 * never current.
 * Threads, signals, forks: safe anywhere. No system call once the library has been used.
 */
SNAPRNG_MUST_CHECK int snaprng_generation(struct snaprng_generation_t *generation);

/**
 * Whether a generation is the one that this process is in. It ends with a VM clone or restore that
 * a witness shows, in a forked child, and with snaprng_notify_restored.
 *
 * generation: what snaprng_generation gave. One of zeros is never current.
 *
 * Returns: 1 or 0; SNAPRNG_EINVAL for NULL.
 * Threads, signals, forks: as snaprng_generation.
 */
SNAPRNG_MUST_CHECK int snaprng_generation_is_current(const struct snaprng_generation_t *generation);

/**
 * Makes an owned generator.
 *
 * config: its policy, what it accepts, its personalization; NULL for the defaults. Its sources
 * must be left at their defaults, or be those of snaprng_init: they belong to the process.
 * generator: where the handle goes, for snaprng_free in the end; NULL on failure.
 *
 * Returns: SNAPRNG_OK; SNAPRNG_ESOURCES; SNAPRNG_EINVAL; or what its first rekey answers.
 * Threads: any. Signals: not in handlers (allocates). Forks: see snaprng_t.
 */
SNAPRNG_MUST_CHECK
int snaprng_new(const struct snaprng_config *config,
                struct snaprng_t **generator);

/**
 * Fills a buffer from an owned generator.
 *
 * generator: its handle; NULL is the calling thread's generator.
 * buf: where the bytes go; may be NULL if len is 0.
 * len: how many bytes; any number up to SSIZE_MAX.
 *
 * Returns: SNAPRNG_OK, or a negative SNAPRNG_E code; buf has then been wiped (SNAPRNG_EINVAL:
 * nothing was written).
 * Threads: one at a time per handle. Signals: not in a handler that interrupted a use of the same
 * handle. Forks: safe; parent and child share no output.
 */
SNAPRNG_MUST_CHECK int snaprng_generate(struct snaprng_t *generator, void *buf, size_t len);

/**
 * Rekeys a generator now, from fresh entropy and additional input.
 *
 * generator: its handle; NULL is the calling thread's generator.
 * additional: bytes that are mixed in; they cannot make a key worse. May be NULL if len is 0.
 * len: how many bytes.
 *
 * Returns: SNAPRNG_OK, or a negative SNAPRNG_E code: the generator then rekeys at its next request.
 * SNAPRNG_EREENTERED, with a NULL handle, in a signal handler that interrupted this thread's
 * generator, and in a thread that is ending.
 * Threads, signals, forks: as snaprng_generate.
 */
int snaprng_reseed(struct snaprng_t *generator, const void *additional, size_t len);

/**
 * Wipes and frees an owned generator.
 *
 * generator: its handle; NULL does nothing.
 *
 * Threads: nobody may use the handle any more. Signals: not in handlers (frees memory). Forks: a
 * child frees its own copy, or leaves it.
 */
void snaprng_free(struct snaprng_t *generator);

/**
 * Tells the library that this process or machine was restored from a snapshot, and hands in bytes
 * that no other clone has.
 *
 * Every generator rekeys at its next request, and every generation ends.
 *
 * unique: the bytes, taken at their word; NULL if len is 0, which only reports the restore.
 * len: how many bytes.
 *
 * Returns: SNAPRNG_OK; SNAPRNG_EINVAL for NULL with a len other than 0, or one over SSIZE_MAX.
 * Threads, signals, forks: safe anywhere.
 */
int snaprng_notify_restored(const void *unique, size_t len);

/**
 * Looks again for witnesses that were missing when the configuration was installed.
 *
 * Returns: SNAPRNG_OK, or a negative SNAPRNG_E code.
 * Threads, signals, forks: safe anywhere.
 */
int snaprng_rediscover(void);

/**
 * Reports the protection. Rekeys first where the next request would.
 *
 * protection: where it goes; its size must be set, and is left as it is.
 *
 * Returns: SNAPRNG_OK, or SNAPRNG_EINVAL for NULL or a wrong size.
 * Threads: any. Signals: not in handlers (allocates). Forks: safe.
 */
int snaprng_protection(struct snaprng_protection_t *protection);

/**
 * The name of a witness.
 *
 * index: from 0 to below the number of witnesses.
 *
 * Returns: a string that is never freed; NULL for an index that is none.
 * Threads, signals, forks: safe anywhere.
 */
const char *snaprng_witness_name(uint32_t index);

/**
 * The state of a witness now.
 *
 * index: from 0 to below the number of witnesses.
 *
 * Returns: SNAPRNG_WITNESS_ABSENT and so on; SNAPRNG_EINVAL for an index that is none.
 * Threads: any. Signals: not in handlers (allocates). Forks: safe.
 */
int snaprng_witness_state(uint32_t index);

/**
 * Why a witness is not in use, or is weaker than it could be: an English phrase, empty if there is
 * nothing to say.
 *
 * index: from 0 to below the number of witnesses.
 * buf: where the text goes, ended with NUL and cut if it is too long; may be NULL if len is 0.
 * len: the size of buf.
 *
 * Returns: the length of the whole text without the NUL, as snprintf does; or a negative code.
 * Threads: any. Signals: not in handlers (allocates). Forks: safe.
 */
int snaprng_witness_cause(uint32_t index, char *buf, size_t len);

/**
 * The report for an operator, over several lines, that ends with what to do next.
 *
 * buf: where the text goes, ended with NUL and cut if it is too long; may be NULL if len is 0.
 * len: the size of buf.
 *
 * Returns: the length of the whole text without the NUL, as snprintf does; or a negative code.
 * Threads: any. Signals: not in handlers (allocates). Forks: safe.
 */
int snaprng_protection_string(char *buf, size_t len);

#ifdef __cplusplus
} /* extern "C" */
#endif /* __cplusplus */

#endif  /* SNAPRNG_H */
