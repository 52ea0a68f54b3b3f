/* A program on the generator of its thread, with a vmclock page mapped, or by its configuration with none. It sees to it
 * that the report says so, before the dump and in every copy: see serve.h. The variable VMCLOCK says which:
 *
 *   sealed     a stand-in in a memfd of its own
 *   PATH       a stand-in in this file, whose writer is somebody else
 *   device     /dev/vmclock0, by its marker at least
 *   off        nothing: SNAPRNG_NO_VMCLOCK, which is the way out for processes that CRIU dumps
 *
 * Exit code 77: this kernel has no page that a restore empties. */
#define _GNU_SOURCE
#include <snaprng.h>

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "serve.h"

/* Its number among the witnesses, and the state that it must have. */
enum { VMCLOCK = 0 };
static int expected_state;

static int draw(unsigned char *out, size_t length)
{
    int error = snaprng_fill(out, length);
    if (error != SNAPRNG_OK)
        fprintf(stderr, "%s\n", snaprng_strerror(error));
    return error == SNAPRNG_OK;
}

/* struct vmclock_abi, include/uapi/linux/vmclock-abi.h: magic, size, version, flags with the counter, and the counter. */
static int sealed_page(void)
{
    static const struct {
        uint64_t magic_and_size, version, marker, flags, unused[9], counter;
    } page = { 0x704b4c4356, 1, 0, 1 << 8, { 0 }, 7 };
    int fd = memfd_create("vmclock", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    _Static_assert(offsetof(__typeof__(page), counter) == 0x68, "where the counter is");
    if (fd < 0 || ftruncate(fd, 4096) != 0 || pwrite(fd, &page, sizeof page, 0) != sizeof page ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        perror("a sealed page");
        exit(1);
    }
    return fd;
}

static void configure(snaprng_config *config, const char *vmclock)
{
    expected_state = SNAPRNG_WITNESS_STAND_IN;
    if (strcmp(vmclock, "sealed") == 0) {
        config->flags |= SNAPRNG_VMCLOCK_FD;
        config->vmclock_fd = sealed_page();
    } else if (strcmp(vmclock, "device") == 0) {
        config->flags |= SNAPRNG_ACCEPT_MARKER;
        expected_state = SNAPRNG_WITNESS_ACTIVE;
    } else if (strcmp(vmclock, "off") == 0) {
        config->flags |= SNAPRNG_NO_VMCLOCK;
        expected_state = SNAPRNG_WITNESS_OFF;
    } else {
        config->vmclock_path = vmclock;
    }
}

/* Whether the report says what it must, here and now: a copy must not claim more than it has, nor lose what it had. */
static int is_as_expected(uint32_t *flags)
{
    snaprng_protection_t protection = { .size = sizeof protection };
    int error = snaprng_protection(&protection), state = snaprng_witness_state(VMCLOCK);
    int buffers = protection.level != SNAPRNG_LEVEL_PER_CALL;
    int mapped = expected_state != SNAPRNG_WITNESS_OFF;
    int good = error == SNAPRNG_OK && state == expected_state &&
               (mapped ? buffers : protection.level != SNAPRNG_LEVEL_SYNCHRONOUS);
    if (!good)
        fprintf(stderr, "level %u, vmclock's state %d and not %d: %s\n", protection.level, state, expected_state,
                snaprng_strerror(error));
    *flags = protection.flags;
    return good;
}

int main(int count, char **arguments)
{
    snaprng_config config = { .size = sizeof config, .flags = SNAPRNG_NO_SYSGENID | SNAPRNG_NO_AGENT_PAGE };
    const char *vmclock = getenv("VMCLOCK");
    uint32_t flags;
    int error, code;
    configure(&config, vmclock != NULL ? vmclock : "device");
    error = snaprng_init(&config);
    if (error != SNAPRNG_OK)
        fprintf(stderr, "%s\n", snaprng_strerror(error));
    if (error != SNAPRNG_OK || !is_as_expected(&flags))
        return 1;
    if (expected_state != SNAPRNG_WITNESS_OFF && !(flags & SNAPRNG_SEES_RESTORES))
        return 77;
    code = serve(count, arguments, draw);
    return code == 0 && !is_as_expected(&flags) ? 1 : code;
}
