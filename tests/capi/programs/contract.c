/* What include/snaprng.h says of each function: arguments that are refused, what is written and what is not, the sizes
 * of structs, and what happens without entropy. */
#define _GNU_SOURCE
#include <snaprng.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "check.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const size_t TOO_LONG[] = {(size_t)SSIZE_MAX + 1, SIZE_MAX - 1, SIZE_MAX};

static snaprng_config config_of_zeros(void)
{
    snaprng_config config;
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    return config;
}

/* A configuration that looks for no witness, so that the tests are the same on every machine. */
static snaprng_config no_sources(void)
{
    snaprng_config config = config_of_zeros();
    config.flags = SNAPRNG_NO_VMCLOCK | SNAPRNG_NO_SYSGENID | SNAPRNG_NO_AGENT_PAGE;
    return config;
}

static int is_filled_with(const unsigned char *bytes, size_t length, unsigned char value)
{
    size_t i;
    for (i = 0; i < length; i++)
        if (bytes[i] != value)
            return 0;
    return 1;
}

static void bytes_go_where_they_should_and_nowhere_else(void)
{
    static unsigned char room[8 + 2 * 4096 + 8];
    static const size_t lengths[] = {0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 127, 255, 256, 257, 1000, 4097};
    snaprng_t *owned;
    size_t offset, i;
    int way;
    CHECK_IS(snaprng_new(NULL, &owned), SNAPRNG_OK);
    for (offset = 0; offset < 8; offset++) {
        for (i = 0; i < COUNT(lengths); i++) {
            size_t length = lengths[i];
            for (way = 0; way < 5; way++) {
                unsigned char *buf = room + 8 + offset;
                unsigned char *end = buf + length;
                memset(room, 0xa5, sizeof room);
                switch (way) {
                case 0: CHECK_IS(snaprng_fill(buf, length), SNAPRNG_OK); break;
                case 1: CHECK_IS(snaprng_generate(owned, buf, length), SNAPRNG_OK); break;
                case 2: CHECK_IS(snaprng_generate(NULL, buf, length), SNAPRNG_OK); break;
                case 3: CHECK_IS(snaprng_RAND_bytes(buf, (int)length), 1); break;
                default: snaprng_arc4random_buf(buf, length); break;
                }
                CHECK(is_filled_with(room, 8 + offset, 0xa5));
                CHECK(is_filled_with(end, (size_t)(room + sizeof room - end), 0xa5));
                /* By chance: 2^-256. */
                if (length >= 32)
                    CHECK(!is_filled_with(end - 32, 32, 0xa5) && !is_filled_with(end - 32, 32, 0));
            }
        }
    }
    snaprng_free(owned);
}

static void null_is_fine_with_nothing_to_do(void)
{
    snaprng_t *owned;
    CHECK_IS(snaprng_fill(NULL, 0), SNAPRNG_OK);
    CHECK_IS(snaprng_RAND_bytes(NULL, 0), 1);
    CHECK_IS(snaprng_RAND_priv_bytes(NULL, 0), 1);
    snaprng_arc4random_buf(NULL, 0);
    CHECK_IS(snaprng_new(NULL, &owned), SNAPRNG_OK);
    CHECK_IS(snaprng_generate(owned, NULL, 0), SNAPRNG_OK);
    CHECK_IS(snaprng_reseed(owned, NULL, 0), SNAPRNG_OK);
    CHECK_IS(snaprng_reseed(NULL, NULL, 0), SNAPRNG_OK);
    CHECK_IS(snaprng_notify_restored(NULL, 0), SNAPRNG_OK);
    snaprng_free(owned);
    snaprng_free(NULL);

    CHECK_IS(snaprng_fill(NULL, 1), SNAPRNG_EINVAL);
    CHECK_IS(snaprng_RAND_bytes(NULL, 1), 0);
    CHECK_IS(snaprng_generate(NULL, NULL, 1), SNAPRNG_EINVAL);
    CHECK_IS(snaprng_reseed(NULL, NULL, 1), SNAPRNG_EINVAL);
    CHECK_IS(snaprng_notify_restored(NULL, 1), SNAPRNG_EINVAL);
    CHECK_IS(snaprng_new(NULL, NULL), SNAPRNG_EINVAL);
    CHECK_IS(snaprng_generation(NULL), SNAPRNG_EINVAL);
    CHECK_IS(snaprng_generation_is_current(NULL), SNAPRNG_EINVAL);
    CHECK_IS(snaprng_protection(NULL), SNAPRNG_EINVAL);
    CHECK_IS(snaprng_protection_string(NULL, 1), SNAPRNG_EINVAL);
}

static void lengths_that_no_object_has_are_refused_and_nothing_is_written(void)
{
    unsigned char buf[64];
    size_t i;
    for (i = 0; i < COUNT(TOO_LONG); i++) {
        memset(buf, 0xa5, sizeof buf);
        CHECK_IS(snaprng_fill(buf, TOO_LONG[i]), SNAPRNG_EINVAL);
        CHECK_IS(snaprng_generate(NULL, buf, TOO_LONG[i]), SNAPRNG_EINVAL);
        CHECK_IS(snaprng_reseed(NULL, buf, TOO_LONG[i]), SNAPRNG_EINVAL);
        CHECK_IS(snaprng_notify_restored(buf, TOO_LONG[i]), SNAPRNG_EINVAL);
        CHECK_IS(snaprng_protection_string((char *)buf, TOO_LONG[i]), SNAPRNG_EINVAL);
        CHECK(is_filled_with(buf, sizeof buf, 0xa5));
    }
}

static void openssl_s_contract_is_kept(void)
{
    unsigned char buf[64];
    memset(buf, 0xa5, sizeof buf);
    CHECK_IS(snaprng_RAND_bytes(buf, -1), 0);
    CHECK_IS(snaprng_RAND_priv_bytes(buf, INT_MIN), 0);
    CHECK(is_filled_with(buf, sizeof buf, 0xa5));
    CHECK_IS(snaprng_RAND_priv_bytes(buf, sizeof buf), 1);
    CHECK(!is_filled_with(buf, sizeof buf, 0xa5));
}

static void numbers_below_a_bound_are_equally_likely(void)
{
    enum { DRAWS = 60000 };
    unsigned counts[6] = {0};
    unsigned high = 0;
    double chi_squared = 0;
    int i;
    CHECK_IS(snaprng_uniform(0), 0);
    CHECK_IS(snaprng_uniform(1), 0);
    for (i = 0; i < DRAWS; i++) {
        uint32_t number = snaprng_uniform(6);
        CHECK(number < 6);
        counts[number]++;
        /* A bound for which a mere remainder would give the lower half twice as often. */
        number = snaprng_uniform(0xc0000000u);
        CHECK(number < 0xc0000000u);
        high += number >= 0x60000000u;
    }
    for (i = 0; i < 6; i++) {
        double off = counts[i] - DRAWS / 6.0;
        chi_squared += off * off / (DRAWS / 6.0);
    }
    /* Five degrees of freedom: by chance 2^-33. */
    CHECK(chi_squared < 60);
    /* A standard deviation is 122: by chance 2^-36. A remainder would give 20000. */
    CHECK(high > DRAWS / 2 - 850 && high < DRAWS / 2 + 850);
    CHECK(snaprng_u64() != snaprng_u64());
    CHECK(snaprng_u32() != snaprng_u32() || snaprng_u32() != snaprng_u32());
}

static void structs_of_other_sizes(void)
{
    struct {
        snaprng_config known;
        uint64_t appended[4];
    } newer;
    static const size_t wrong[] = {0, 1, sizeof(size_t), sizeof(snaprng_config) - 1, sizeof(snaprng_config) + 1, 4104,
                                   SIZE_MAX};
    size_t i;
    memset(&newer, 0, sizeof newer);
    newer.known = no_sources();
    for (i = 0; i < COUNT(wrong); i++) {
        newer.known.size = wrong[i];
        CHECK_IS(snaprng_init(&newer.known), SNAPRNG_EINVAL);
    }
    /* A program that is newer than the library: fine as long as it asks for nothing unknown. */
    newer.known.size = sizeof newer;
    newer.appended[3] = 1;
    CHECK_IS(snaprng_init(&newer.known), SNAPRNG_EINVAL);
    newer.appended[3] = 0;
    CHECK_IS(snaprng_init(&newer.known), SNAPRNG_OK);
    CHECK_IS(snaprng_init(&newer.known), SNAPRNG_EINSTALLED);
    CHECK_IS(snaprng_init(NULL), SNAPRNG_EINSTALLED);
}

static void configurations_that_mean_nothing_are_refused(void)
{
    snaprng_config config = no_sources();
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);

    config.flags |= 1u << 31;
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    config = no_sources();
    config.policy = 3;
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    config = no_sources();
    config.rounds = 10;
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    config = no_sources();
    config.vmclock_path = "/dev/vmclock0";
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    config = no_sources();
    config.personalization_len = 1;
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    /* A descriptor: without its flag, with another source, negative, not open. It stays the caller's. */
    config = no_sources();
    config.vmclock_fd = fd;
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    config.flags |= SNAPRNG_VMCLOCK_FD;
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    config.flags &= ~(uint32_t)SNAPRNG_NO_VMCLOCK;
    config.vmclock_path = "/dev/vmclock0";
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    config.vmclock_path = NULL;
    config.vmclock_fd = -1;
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    config.vmclock_fd = 1000;
    CHECK_IS(snaprng_init(&config), SNAPRNG_EINVAL);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    /* One that is open, but no vmclock: taken over, and reported as unusable. */
    config.vmclock_fd = fd;
    CHECK_IS(snaprng_init(&config), SNAPRNG_OK);
    CHECK(fcntl(fd, F_GETFD) < 0);
    CHECK_IS(snaprng_witness_state(0), SNAPRNG_WITNESS_UNUSABLE);
}

static void owned_generators_have_the_sources_of_the_process(void)
{
    snaprng_config config = no_sources();
    snaprng_t *owned = (snaprng_t *)&config;
    unsigned char a[32], b[32];
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_IS(snaprng_init(&config), SNAPRNG_OK);

    config.personalization = "ticket keys";
    config.personalization_len = 11;
    CHECK_IS(snaprng_new(&config, &owned), SNAPRNG_OK);
    CHECK_IS(snaprng_generate(owned, a, sizeof a), SNAPRNG_OK);
    CHECK_IS(snaprng_reseed(owned, "more", 4), SNAPRNG_OK);
    CHECK_IS(snaprng_generate(owned, b, sizeof b), SNAPRNG_OK);
    CHECK(memcmp(a, b, sizeof a) != 0);
    snaprng_free(owned);

    config.flags &= ~(uint32_t)SNAPRNG_NO_VMCLOCK;
    config.vmclock_path = "/dev/null";
    owned = (snaprng_t *)&config;
    CHECK_IS(snaprng_new(&config, &owned), SNAPRNG_ESOURCES);
    CHECK(owned == NULL);
    config.vmclock_path = NULL;
    config.flags |= SNAPRNG_VMCLOCK_FD;
    config.vmclock_fd = fd;
    CHECK_IS(snaprng_new(&config, &owned), SNAPRNG_ESOURCES);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    config.size = 1;
    CHECK_IS(snaprng_new(&config, &owned), SNAPRNG_EINVAL);
    CHECK(owned == NULL);
}

static void generations_end(void)
{
    snaprng_generation_t taken, copied, of_zeros;
    int status;
    pid_t child;
    memset(&of_zeros, 0, sizeof of_zeros);
    CHECK_IS(sizeof taken, 64);
    CHECK_IS(snaprng_generation_is_current(&of_zeros), 0);
    CHECK_IS(snaprng_generation(&taken), SNAPRNG_OK);
    copied = taken;
    CHECK_IS(snaprng_generation_is_current(&copied), 1);
    CHECK_IS(snaprng_reseed(NULL, NULL, 0), SNAPRNG_OK);
    CHECK_IS(snaprng_generation_is_current(&copied), 1);
    child = fork();
    if (child == 0)
        _exit(snaprng_generation_is_current(&copied) == 0 ? 0 : 1);
    status = wait_for(child);
    CHECK_IS(status, 0);
    CHECK_IS(snaprng_generation_is_current(&copied), 1);
    CHECK_IS(snaprng_notify_restored("unique", 6), SNAPRNG_OK);
    CHECK_IS(snaprng_generation_is_current(&copied), 0);
    CHECK_IS(snaprng_generation(&taken), SNAPRNG_OK);
    CHECK_IS(snaprng_generation_is_current(&taken), 1);
}

static void the_report_fits_whoever_asks(void)
{
    static const char *const names[] = {"vmclock", "sysgenid", "agent page", "process"};
    struct {
        snaprng_protection_t known;
        uint64_t appended[4];
    } newer;
    snaprng_config config = no_sources();
    uint32_t i;
    uint64_t rekeys;
    CHECK_IS(snaprng_init(&config), SNAPRNG_OK);
    memset(&newer, 0xff, sizeof newer);
    newer.known.size = sizeof newer.known - sizeof(uint64_t);
    CHECK_IS(snaprng_protection(&newer.known), SNAPRNG_EINVAL);
    newer.known.size = SIZE_MAX;
    CHECK_IS(snaprng_protection(&newer.known), SNAPRNG_EINVAL);
    CHECK_IS(newer.known.level, UINT32_MAX);
    newer.known.size = sizeof newer.known;
    CHECK_IS(snaprng_protection(&newer.known), SNAPRNG_OK);
    CHECK_IS(newer.known.size, sizeof newer.known);
    CHECK(newer.appended[0] == UINT64_MAX);
    newer.known.size = sizeof newer;
    CHECK_IS(snaprng_protection(&newer.known), SNAPRNG_OK);
    CHECK_IS(newer.known.size, sizeof newer);
    CHECK(newer.appended[0] == 0 && newer.appended[3] == 0);

    CHECK(newer.known.level == SNAPRNG_LEVEL_PER_CALL || newer.known.level == SNAPRNG_LEVEL_PROCESS_ONLY);
    CHECK(!(newer.known.flags & SNAPRNG_IS_STAND_IN));
    CHECK_IS(newer.known.error, SNAPRNG_OK);
    CHECK_IS(newer.known.witnesses, COUNT(names));
    for (i = 0; i < COUNT(names); i++) {
        char cause[256];
        CHECK(strcmp(snaprng_witness_name(i), names[i]) == 0);
        CHECK(snaprng_witness_cause(i, cause, sizeof cause) >= 0);
        if (i < 3)
            CHECK_IS(snaprng_witness_state(i), SNAPRNG_WITNESS_OFF);
    }
    CHECK(snaprng_witness_name(i) == NULL);
    CHECK_IS(snaprng_witness_state(i), SNAPRNG_EINVAL);
    CHECK_IS(snaprng_witness_cause(UINT32_MAX, NULL, 0), SNAPRNG_EINVAL);

    rekeys = newer.known.rekeys;
    CHECK(rekeys > 0);
    CHECK_IS(snaprng_reseed(NULL, NULL, 0), SNAPRNG_OK);
    CHECK_IS(snaprng_protection(&newer.known), SNAPRNG_OK);
    CHECK(newer.known.rekeys > rekeys);
}

static void text_is_cut_and_counted_as_snprintf_does(void)
{
    char whole[8192], part[100];
    int length = snaprng_protection_string(whole, sizeof whole);
    CHECK(length > 100 && length < (int)sizeof whole);
    CHECK_IS(strlen(whole), length);
    CHECK_IS(snaprng_protection_string(NULL, 0), length);
    memset(part, 0x5a, sizeof part);
    CHECK_IS(snaprng_protection_string(part, sizeof part - 1), length);
    CHECK_IS(strlen(part), sizeof part - 2);
    CHECK(memcmp(part, whole, sizeof part - 2) == 0 && part[sizeof part - 1] == 0x5a);
    CHECK_IS(snaprng_protection_string(part, 1), length);
    CHECK(part[0] == 0);
}

static void errors_and_versions_have_words(void)
{
    char version[32];
    int code;
    for (code = SNAPRNG_EINTERNAL; code <= SNAPRNG_OK; code++) {
        CHECK(snaprng_strerror(code) != NULL);
        CHECK(strcmp(snaprng_strerror(code), "unknown error") != 0);
    }
    CHECK(strcmp(snaprng_strerror(SNAPRNG_EINTERNAL - 1), "unknown error") == 0);
    CHECK(strcmp(snaprng_strerror(1), "unknown error") == 0);
    snprintf(version, sizeof version, "%d.%d.%d", SNAPRNG_VERSION_MAJOR, SNAPRNG_VERSION_MINOR, SNAPRNG_VERSION_PATCH);
    CHECK(strcmp(snaprng_version(), version) == 0);
}

static void a_policy_that_is_not_met_refuses_and_wipes(void)
{
    snaprng_config config = no_sources();
    unsigned char buf[64];
    snaprng_protection_t protection;
    int answer;
    config.policy = SNAPRNG_POLICY_REQUIRE;
    answer = snaprng_init(&config);
    protection.size = sizeof protection;
    CHECK_IS(snaprng_protection(&protection), SNAPRNG_OK);
    if (protection.level == SNAPRNG_LEVEL_PROCESS_ONLY) {
        CHECK_IS(answer, SNAPRNG_OK);
        printf("SKIPPED: this is bare metal, on which SNAPRNG_POLICY_REQUIRE is met\n");
        return;
    }
    CHECK_IS(answer, SNAPRNG_ENOTPROTECTED);
    CHECK_IS(protection.error, SNAPRNG_ENOTPROTECTED);
    memset(buf, 0xa5, sizeof buf);
    CHECK_IS(snaprng_fill(buf, sizeof buf), SNAPRNG_ENOTPROTECTED);
    CHECK(is_filled_with(buf, sizeof buf, 0));
    memset(buf, 0xa5, sizeof buf);
    CHECK_IS(snaprng_RAND_bytes(buf, sizeof buf), 0);
    CHECK(is_filled_with(buf, sizeof buf, 0));
}

/* From here on getrandom does not exist, and no file can be opened. */
static void take_entropy_away(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(filter), filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static int signal_that_ends(void (*request)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        request();
        _exit(0);
    }
    status = wait_for(child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void ask_for_a_word(void) { (void)snaprng_u32(); }
static void ask_for_two_words(void) { (void)snaprng_u64(); }
static void ask_for_a_number(void) { (void)snaprng_uniform(6); }
static void ask_for_bytes(void) { unsigned char buf[16]; snaprng_arc4random_buf(buf, sizeof buf); }

static void *of_a_new_thread(void *unused)
{
    unsigned char buf[64];
    memset(buf, 0xa5, sizeof buf);
    CHECK_IS(snaprng_fill(buf, sizeof buf), SNAPRNG_EENTROPY);
    CHECK(is_filled_with(buf, sizeof buf, 0));
    return unused;
}

static void without_entropy_there_are_no_bytes(void)
{
    snaprng_config config = no_sources();
    unsigned char buf[64];
    snaprng_t *owned;
    pthread_t thread;
    CHECK_IS(snaprng_init(&config), SNAPRNG_OK);
    CHECK_IS(snaprng_new(&config, &owned), SNAPRNG_OK);
    CHECK_IS(snaprng_fill(buf, sizeof buf), SNAPRNG_OK);
    take_entropy_away();
    CHECK_IS(snaprng_reseed(NULL, NULL, 0), SNAPRNG_EENTROPY);
    CHECK_IS(snaprng_reseed(owned, NULL, 0), SNAPRNG_EENTROPY);
    memset(buf, 0xa5, sizeof buf);
    CHECK_IS(snaprng_fill(buf, sizeof buf), SNAPRNG_EENTROPY);
    CHECK(is_filled_with(buf, sizeof buf, 0));
    memset(buf, 0xa5, sizeof buf);
    CHECK_IS(snaprng_generate(owned, buf, sizeof buf), SNAPRNG_EENTROPY);
    CHECK(is_filled_with(buf, sizeof buf, 0));
    memset(buf, 0xa5, sizeof buf);
    CHECK_IS(snaprng_RAND_bytes(buf, sizeof buf), 0);
    CHECK(is_filled_with(buf, sizeof buf, 0));
    CHECK(pthread_create(&thread, NULL, of_a_new_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    snaprng_free(owned);
    CHECK_IS(signal_that_ends(ask_for_a_word), SIGABRT);
    CHECK_IS(signal_that_ends(ask_for_two_words), SIGABRT);
    CHECK_IS(signal_that_ends(ask_for_a_number), SIGABRT);
    CHECK_IS(signal_that_ends(ask_for_bytes), SIGABRT);
}

/* Run by itself, with SNAPRNG_POLICY=nonsense in the environment. */
static int in_a_nonsensical_environment(void)
{
    unsigned char buf[32];
    snaprng_generation_t generation;
    snaprng_t *owned;
    memset(buf, 0xa5, sizeof buf);
    CHECK_IS(snaprng_fill(buf, sizeof buf), SNAPRNG_EENVIRONMENT);
    CHECK(is_filled_with(buf, sizeof buf, 0));
    CHECK_IS(snaprng_generation(&generation), SNAPRNG_EENVIRONMENT);
    CHECK_IS(snaprng_generation_is_current(&generation), 0);
    CHECK_IS(snaprng_new(NULL, &owned), SNAPRNG_EENVIRONMENT);
    CHECK(owned == NULL);
    CHECK_IS(snaprng_init(NULL), SNAPRNG_EENVIRONMENT);
    return 0;
}

static void an_environment_that_says_nonsense_is_an_error(void)
{
    setenv("SNAPRNG_POLICY", "nonsense", 1);
    execl("/proc/self/exe", "contract", "environment", (char *)NULL);
    CHECK(!"executed");
}

#define TEST(name) in_child(#name, name)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "environment") == 0)
        return in_a_nonsensical_environment();
    TEST(bytes_go_where_they_should_and_nowhere_else);
    TEST(null_is_fine_with_nothing_to_do);
    TEST(lengths_that_no_object_has_are_refused_and_nothing_is_written);
    TEST(openssl_s_contract_is_kept);
    TEST(numbers_below_a_bound_are_equally_likely);
    TEST(structs_of_other_sizes);
    TEST(configurations_that_mean_nothing_are_refused);
    TEST(owned_generators_have_the_sources_of_the_process);
    TEST(generations_end);
    TEST(the_report_fits_whoever_asks);
    TEST(text_is_cut_and_counted_as_snprintf_does);
    TEST(errors_and_versions_have_words);
    TEST(a_policy_that_is_not_met_refuses_and_wipes);
    /* Valgrind and sanitizers need files of their own. */
    if (argc > 1 && strcmp(argv[1], "watched") == 0)
        return 0;
    TEST(without_entropy_there_are_no_bytes);
    TEST(an_environment_that_says_nonsense_is_an_error);
    return 0;
}
