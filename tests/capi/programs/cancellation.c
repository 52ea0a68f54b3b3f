/* Threads that are cancelled: no function is a cancellation point, so what they were at is finished. */
#include <snaprng.h>

#include <fcntl.h>
#include <pthread.h>

#include "check.h"

static volatile int came_back;

/* Runs `call` on a thread that is to end at its next cancellation point, and demands that this comes after it. */
static void on_a_cancelled_thread(void *(*call)(void *))
{
    pthread_t thread;
    void *ended;
    came_back = 0;
    CHECK(pthread_create(&thread, NULL, call, NULL) == 0);
    CHECK(pthread_join(thread, &ended) == 0);
    CHECK(came_back);
    CHECK(ended == PTHREAD_CANCELED);
}

static void cancel_this_thread(void)
{
    CHECK(pthread_cancel(pthread_self()) == 0);
}

static void *end_here(void)
{
    came_back = 1;
    pthread_testcancel();
    return NULL;
}

static void *first_use(void *unused)
{
    unsigned char out[64];
    (void)unused;
    cancel_this_thread();
    CHECK_IS(snaprng_fill(out, sizeof out), SNAPRNG_OK);
    return end_here();
}

static void a_first_use_is_finished(void)
{
    on_a_cancelled_thread(first_use);
    /* Nor is it begun for ever. */
    CHECK_IS(snaprng_init(NULL), SNAPRNG_EINSTALLED);
}

/* A descriptor that the library takes over and closes. No page is at it. */
static void install_null(int expected)
{
    snaprng_config config;
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.flags = SNAPRNG_VMCLOCK_FD;
    config.vmclock_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(config.vmclock_fd >= 0);
    cancel_this_thread();
    CHECK_IS(snaprng_init(&config), expected);
}

static void *configurations(void *unused)
{
    (void)unused;
    install_null(SNAPRNG_OK);
    return end_here();
}

static void *later_configurations(void *unused)
{
    (void)unused;
    install_null(SNAPRNG_EINSTALLED);
    return end_here();
}

static void a_configuration_is_finished(void)
{
    on_a_cancelled_thread(configurations);
    on_a_cancelled_thread(later_configurations);
}

static void *everything_else(void *unused)
{
    snaprng_t *generator = NULL;
    char text[4096];
    unsigned char out[4096];
    (void)unused;
    cancel_this_thread();
    CHECK_IS(snaprng_fill(out, sizeof out), SNAPRNG_OK);
    CHECK_IS(snaprng_new(NULL, &generator), SNAPRNG_OK);
    CHECK_IS(snaprng_reseed(generator, "more", 4), SNAPRNG_OK);
    snaprng_free(generator);
    CHECK_IS(snaprng_notify_restored("from the host", 13), SNAPRNG_OK);
    CHECK_IS(snaprng_fill(out, sizeof out), SNAPRNG_OK);
    CHECK_IS(snaprng_rediscover(), SNAPRNG_OK);
    CHECK(snaprng_protection_string(text, sizeof text) > 0);
    return end_here();
}

static void no_other_function_is_cut_short(void)
{
    on_a_cancelled_thread(everything_else);
}

int main(void)
{
    in_child("a_first_use_is_finished", a_first_use_is_finished);
    in_child("a_configuration_is_finished", a_configuration_is_finished);
    in_child("no_other_function_is_cut_short", no_other_function_is_cut_short);
    return 0;
}
