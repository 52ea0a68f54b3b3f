/* A program under a VM generation counter: it hands in the descriptor of one (here a stand-in for the hypervisor's
 * page), gives up every file, and is told when the counter moves. */
#define _GNU_SOURCE
#include <snaprng.h>

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>

#include "check.h"

/* struct vmclock_abi, include/uapi/linux/vmclock-abi.h */
enum { MAGIC = 0, SIZE = 4, VERSION = 8, MARKER = 16, FLAGS = 24, COUNTER = 104, PAGE = 4096 };

static unsigned char *page;

static void put(size_t offset, uint64_t value, size_t width)
{
    /* The page is little-endian, and so is every machine with a vmclock. */
    memcpy(page + offset, &value, width);
}

static int make_page(void)
{
    int fd = memfd_create("vmclock", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, PAGE) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(page != MAP_FAILED);
    put(MAGIC, 0x4b4c4356, 4);
    put(SIZE, 0x70, 4);
    put(VERSION, 1, 2);
    put(FLAGS, 1 << 8, 8);
    put(COUNTER, 7, 8);
    return fd;
}

static uint64_t rekeys(void)
{
    snaprng_protection_t protection;
    memset(&protection, 0, sizeof protection);
    protection.size = sizeof protection;
    CHECK_IS(snaprng_protection(&protection), SNAPRNG_OK);
    CHECK_IS(protection.level, SNAPRNG_LEVEL_SYNCHRONOUS);
    CHECK(protection.flags & SNAPRNG_IS_STAND_IN);
    return protection.rekeys;
}

int main(void)
{
    snaprng_config config;
    snaprng_generation_t generation;
    uint64_t before, changes;
    snaprng_protection_t protection;
    block drawn[4];
    int i;
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.policy = SNAPRNG_POLICY_REQUIRE;
    config.flags = SNAPRNG_VMCLOCK_FD | SNAPRNG_NO_SYSGENID | SNAPRNG_NO_AGENT_PAGE;
    config.vmclock_fd = make_page();
    CHECK_IS(snaprng_init(&config), SNAPRNG_OK);
    CHECK(fcntl(config.vmclock_fd, F_GETFD) < 0);
    CHECK(strcmp(snaprng_witness_name(0), "vmclock") == 0);
    CHECK_IS(snaprng_witness_state(0), SNAPRNG_WITNESS_STAND_IN);

    for (i = 0; i < 4; i++) {
        CHECK_IS(snaprng_fill(&drawn[i], sizeof drawn[i]), SNAPRNG_OK);
        before = rekeys();
        protection.size = sizeof protection;
        CHECK_IS(snaprng_protection(&protection), SNAPRNG_OK);
        changes = protection.epoch_changes;
        CHECK_IS(snaprng_generation(&generation), SNAPRNG_OK);
        CHECK_IS(snaprng_generation_is_current(&generation), 1);

        /* What the hypervisor does when the machine is restored. */
        put(i % 2 ? MARKER : COUNTER, 100 + (uint64_t)i, 8);

        CHECK_IS(snaprng_generation_is_current(&generation), 0);
        CHECK_IS(snaprng_fill(&drawn[i], sizeof drawn[i]), SNAPRNG_OK);
        CHECK(rekeys() > before);
        CHECK_IS(snaprng_protection(&protection), SNAPRNG_OK);
        CHECK(protection.epoch_changes > changes);
    }
    check_all_differ(drawn, 4);
    printf("  four restores were noticed\n");
    return 0;
}
