/* Everything that OpenSSL may ask of an EVP_RAND, asked of SNAPRNG.
 *
 *   contract MODULE [LINE...]      further lines for the provider's section
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "provider.h"

static const char *module;
static char **lines;
static OSSL_PROVIDER *provider;

static unsigned long long number_of(EVP_RAND_CTX *context, const char *name)
{
    unsigned long long number = 0;
    OSSL_PARAM params[2] = { OSSL_PARAM_END, OSSL_PARAM_END };
    params[0] = OSSL_PARAM_construct_uint64(name, (uint64_t *)&number);
    CHECK_IS(EVP_RAND_CTX_get_params(context, params), 1);
    return number;
}

static unsigned long long of_process(const char *name)
{
    unsigned long long number = 0;
    OSSL_PARAM params[2] = { OSSL_PARAM_END, OSSL_PARAM_END };
    params[0] = OSSL_PARAM_construct_uint64(name, (uint64_t *)&number);
    CHECK_IS(OSSL_PROVIDER_get_params(provider, params), 1);
    return number;
}

/* The provider, in the default library context. */
static void load(void)
{
    CHECK_IS(configure(NULL, module, lines), 1);
    CHECK((provider = OSSL_PROVIDER_load(NULL, "snaprng")) != NULL);
}

static EVP_RAND_CTX *new_context(const char *name, EVP_RAND_CTX *parent)
{
    EVP_RAND_CTX *context;
    EVP_RAND *algorithm = EVP_RAND_fetch(NULL, name, NULL);
    CHECK(algorithm != NULL);
    CHECK((context = EVP_RAND_CTX_new(algorithm, parent)) != NULL);
    EVP_RAND_free(algorithm);
    return context;
}

static EVP_RAND_CTX *ready_context(void)
{
    EVP_RAND_CTX *context = new_context("SNAPRNG", NULL);
    CHECK_IS(EVP_RAND_instantiate(context, 256, 0, NULL, 0, NULL), 1);
    return context;
}

/* The newest error of the provider on the stack: its reason and its details; and clears the stack. */
static void expect_error(const char *reason, const char *details)
{
    unsigned long code;
    const char *data, *library;
    int flags;
    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        library = ERR_lib_error_string(code);
        if (library == NULL || strcmp(library, "snaprng") != 0)
            continue;
        CHECK(ERR_reason_error_string(code) != NULL && strcmp(ERR_reason_error_string(code), reason) == 0);
        if (strstr(data, details) == NULL)
            fprintf(stderr, "details: %s\n", data);
        CHECK(strstr(data, details) != NULL);
        ERR_clear_error();
        return;
    }
    fprintf(stderr, "no error of the provider, but \"%s\" was expected\n", reason);
    _exit(1);
}

static int is_wiped(const unsigned char *bytes, size_t length)
{
    while (length > 0)
        if (bytes[--length] != 0)
            return 0;
    return 1;
}

static void every_role_runs_on_the_provider(void)
{
    unsigned char bytes[64] = { 0 };
    EVP_RAND_CTX *contexts[3];
    int i;
    load();
    CHECK_IS(RAND_status(), 1);
    contexts[0] = RAND_get0_primary(NULL);
    contexts[1] = RAND_get0_public(NULL);
    contexts[2] = RAND_get0_private(NULL);
    for (i = 0; i < 3; i++) {
        CHECK(contexts[i] != NULL);
        CHECK(strcmp(EVP_RAND_get0_name(EVP_RAND_CTX_get0_rand(contexts[i])), "SNAPRNG") == 0);
        CHECK_IS(EVP_RAND_get_state(contexts[i]), EVP_RAND_STATE_READY);
        CHECK_IS(EVP_RAND_get_strength(contexts[i]), 256);
        CHECK_IS(number_of(contexts[i], "bytes"), 0);
    }
    CHECK_IS(RAND_bytes(bytes, sizeof bytes), 1);
    CHECK(!is_wiped(bytes, sizeof bytes));
    CHECK_IS(RAND_priv_bytes(bytes, 48), 1);
    CHECK_IS(RAND_bytes_ex(NULL, bytes, 16, 256), 1);
    CHECK_IS(number_of(contexts[1], "bytes"), 80);
    CHECK_IS(number_of(contexts[1], "requests"), 2);
    CHECK_IS(number_of(contexts[2], "bytes"), 48);
    CHECK_IS(of_process("bytes"), 128);
    CHECK_IS(of_process("requests"), 3);
    CHECK_IS(of_process("failures"), 0);
}

static void more_strength_than_there_is_is_refused(void)
{
    unsigned char bytes[32];
    EVP_RAND_CTX *context;
    load();
    memset(bytes, 0xAA, sizeof bytes);
    CHECK_IS(RAND_bytes_ex(NULL, bytes, sizeof bytes, 257), 0);
    CHECK(is_wiped(bytes, sizeof bytes));
    expect_error("strength too high", "257 bits were asked for");
    CHECK_IS(RAND_bytes_ex(NULL, bytes, sizeof bytes, 256), 1);
    context = new_context("SNAPRNG", NULL);
    CHECK_IS(EVP_RAND_instantiate(context, 512, 0, NULL, 0, NULL), 0);
    expect_error("strength too high", "512");
    CHECK_IS(EVP_RAND_get_state(context), EVP_RAND_STATE_UNINITIALISED);
    EVP_RAND_CTX_free(context);
}

static void a_context_that_is_not_instantiated_gives_nothing(void)
{
    unsigned char bytes[32];
    EVP_RAND_CTX *context;
    int i;
    load();
    context = new_context("SNAPRNG", NULL);
    for (i = 0; i < 2; i++) {
        CHECK_IS(EVP_RAND_get_state(context), EVP_RAND_STATE_UNINITIALISED);
        memset(bytes, 0xAA, sizeof bytes);
        CHECK_IS(EVP_RAND_generate(context, bytes, sizeof bytes, 0, 0, NULL, 0), 0);
        CHECK(is_wiped(bytes, sizeof bytes));
        expect_error("not instantiated", "EVP_RAND_instantiate");
        CHECK_IS(EVP_RAND_reseed(context, 0, NULL, 0, bytes, sizeof bytes), 0);
        expect_error("not instantiated", "EVP_RAND_instantiate");
        CHECK_IS(EVP_RAND_nonce(context, bytes, sizeof bytes), 0);
        expect_error("not instantiated", "EVP_RAND_instantiate");
        CHECK_IS(EVP_RAND_instantiate(context, 0, 0, NULL, 0, NULL), 1);
        CHECK_IS(EVP_RAND_get_state(context), EVP_RAND_STATE_READY);
        CHECK_IS(EVP_RAND_generate(context, bytes, sizeof bytes, 0, 0, NULL, 0), 1);
        CHECK(!is_wiped(bytes, sizeof bytes));
        CHECK_IS(EVP_RAND_uninstantiate(context), 1);
        CHECK_IS(EVP_RAND_verify_zeroization(context), 1);
    }
    CHECK_IS(number_of(context, "failures"), 6);
    EVP_RAND_CTX_free(context);
    EVP_RAND_CTX_free(NULL);
}

static void prediction_resistance_and_input_rekey_first(void)
{
    unsigned char bytes[32], input[100] = "input";
    EVP_RAND_CTX *context, *personal;
    unsigned long long rekeys;
    load();
    context = ready_context();
    CHECK_IS(number_of(context, "reseeds"), 0);
    CHECK_IS(EVP_RAND_generate(context, bytes, sizeof bytes, 256, 0, NULL, 0), 1);
    CHECK_IS(number_of(context, "reseeds"), 0);
    rekeys = of_process("rekeys");
    CHECK_IS(EVP_RAND_generate(context, bytes, sizeof bytes, 256, 1, NULL, 0), 1);
    CHECK_IS(number_of(context, "reseeds"), 1);
    CHECK(of_process("rekeys") > rekeys);
    rekeys = of_process("rekeys");
    CHECK_IS(EVP_RAND_generate(context, bytes, sizeof bytes, 256, 0, input, sizeof input), 1);
    CHECK_IS(number_of(context, "reseeds"), 2);
    CHECK(of_process("rekeys") > rekeys);
    CHECK_IS(EVP_RAND_generate(context, bytes, sizeof bytes, 256, 1, input, sizeof input), 1);
    CHECK_IS(number_of(context, "reseeds"), 3);
    CHECK_IS(EVP_RAND_reseed(context, 1, input, sizeof input, input, sizeof input), 1);
    CHECK_IS(number_of(context, "reseeds"), 5);
    CHECK_IS(EVP_RAND_reseed(context, 0, NULL, 0, NULL, 0), 1);
    CHECK_IS(number_of(context, "reseeds"), 6);
    /* Nothing of it is a request for bytes. */
    CHECK_IS(number_of(context, "requests"), 4);
    personal = new_context("SNAPRNG", NULL);
    CHECK_IS(EVP_RAND_instantiate(personal, 0, 1, input, sizeof input, NULL), 1);
    CHECK_IS(number_of(personal, "reseeds"), 1);
    EVP_RAND_CTX_free(personal);
    EVP_RAND_CTX_free(context);
}

static void input_that_cannot_be_is_refused(void)
{
    unsigned char bytes[32];
    EVP_RAND_CTX *context;
    load();
    context = ready_context();
    memset(bytes, 0xAA, sizeof bytes);
    CHECK_IS(EVP_RAND_generate(context, bytes, sizeof bytes, 0, 0, NULL, 10), 0);
    CHECK(is_wiped(bytes, sizeof bytes));
    expect_error("bad argument", "null pointer");
    CHECK_IS(EVP_RAND_generate(context, NULL, 10, 0, 0, NULL, 0), 0);
    expect_error("bad argument", "null pointer");
    CHECK_IS(EVP_RAND_reseed(context, 0, NULL, 10, NULL, 0), 0);
    expect_error("bad argument", "null pointer");
    /* The state is that of a generator that works. */
    CHECK_IS(EVP_RAND_get_state(context), EVP_RAND_STATE_READY);
    CHECK_IS(EVP_RAND_generate(context, NULL, 0, 0, 0, NULL, 0), 1);
    EVP_RAND_CTX_free(context);
}

static void old_calls_that_add_and_poll_work(void)
{
    static const char added[] = "what a program adds by itself";
    unsigned long long reseeds;
    load();
    CHECK_IS(RAND_poll(), 1);
    reseeds = of_process("reseeds");
    RAND_add(added, sizeof added, 0.0);
    CHECK_IS(of_process("reseeds"), reseeds + 1);
    RAND_seed(added, sizeof added);
    CHECK(of_process("reseeds") > reseeds + 1);
    CHECK_IS(RAND_status(), 1);
}

static void a_large_request_is_one_request(void)
{
    enum { SIZE = 64 << 20 };
    unsigned char *bytes = malloc(SIZE);
    unsigned long long before;
    load();
    CHECK(bytes != NULL);
    CHECK_IS(RAND_bytes(bytes, 1), 1);
    before = of_process("requests");
    CHECK_IS(RAND_bytes(bytes, SIZE), 1);
    CHECK_IS(of_process("requests"), before + 1);
    CHECK_IS(repeated((block *)(void *)bytes, 1 << 16), 0);
    CHECK(!is_wiped(bytes + SIZE - 64, 64));
    free(bytes);
}

static void nonces_have_the_length_that_was_asked_for(void)
{
    unsigned char nonce[40];
    EVP_RAND_CTX *context;
    size_t length;
    load();
    context = ready_context();
    for (length = 1; length < sizeof nonce; length++) {
        memset(nonce, 0, sizeof nonce);
        CHECK_IS(EVP_RAND_nonce(context, nonce, length), 1);
        CHECK(is_wiped(nonce + length, sizeof nonce - length));
    }
    CHECK(!is_wiped(nonce, length - 1));
    EVP_RAND_CTX_free(context);
}

static void parameters_are_answered_or_refused_by_their_size(void)
{
    unsigned char byte = 0;
    int unknown = 42;
    size_t largest = 0;
    OSSL_PARAM params[3] = { OSSL_PARAM_END, OSSL_PARAM_END, OSSL_PARAM_END };
    const OSSL_PARAM *gettable;
    EVP_RAND_CTX *context;
    load();
    context = ready_context();
    params[0] = OSSL_PARAM_construct_int("nobody-knows-this", &unknown);
    params[1] = OSSL_PARAM_construct_size_t(OSSL_RAND_PARAM_MAX_REQUEST, &largest);
    CHECK_IS(EVP_RAND_CTX_get_params(context, params), 1);
    CHECK_IS(unknown, 42);
    CHECK(largest >= 1u << 30);
    params[0] = OSSL_PARAM_construct_uint(OSSL_RAND_PARAM_MAX_REQUEST, (unsigned int *)(void *)&byte);
    params[0].data_size = 1;
    params[1] = OSSL_PARAM_construct_end();
    CHECK_IS(EVP_RAND_CTX_get_params(context, params), 0);
    CHECK_IS(params[0].return_size, 8);
    CHECK_IS(byte, 0);
    gettable = EVP_RAND_CTX_gettable_params(context);
    CHECK(OSSL_PARAM_locate_const(gettable, "state") != NULL);
    CHECK(OSSL_PARAM_locate_const(gettable, "requests") != NULL);
    CHECK(OSSL_PARAM_locate_const(OSSL_PROVIDER_gettable_params(provider), "level") != NULL);
    /* Nothing can be set, and OpenSSL passes its own DRBGs' settings to everybody. */
    params[0] = OSSL_PARAM_construct_int("reseed_requests", &unknown);
    CHECK_IS(EVP_RAND_CTX_set_params(context, params), 1);
    EVP_RAND_CTX_free(context);
}

static void the_provider_tells_its_name_version_and_level(void)
{
    static const char *const names[] = { "name", "version", "buildinfo", "level" };
    char copy[64];
    const char *text;
    int status = 0;
    size_t i;
    OSSL_PARAM params[2] = { OSSL_PARAM_END, OSSL_PARAM_END };
    load();
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        text = NULL;
        params[0] = OSSL_PARAM_construct_utf8_ptr(names[i], (char **)&text, 0);
        CHECK_IS(OSSL_PROVIDER_get_params(provider, params), 1);
        CHECK(text != NULL && *text != '\0');
        params[0] = OSSL_PARAM_construct_utf8_string(names[i], copy, sizeof copy);
        CHECK_IS(OSSL_PROVIDER_get_params(provider, params), 1);
        CHECK(strcmp(text, copy) == 0);
    }
    params[0] = OSSL_PARAM_construct_int("status", &status);
    CHECK_IS(OSSL_PROVIDER_get_params(provider, params), 1);
    CHECK_IS(status, 1);
}

static void locks_are_free_and_never_held(void)
{
    EVP_RAND_CTX *context;
    unsigned char bytes[16];
    load();
    context = ready_context();
    CHECK_IS(EVP_RAND_enable_locking(context), 1);
    CHECK_IS(EVP_RAND_enable_locking(context), 1);
    CHECK_IS(EVP_RAND_generate(context, bytes, sizeof bytes, 0, 0, NULL, 0), 1);
    EVP_RAND_CTX_free(context);
}

/* OpenSSL's own generators under a context of this provider: they take seeds and nonces from it. */
static void it_seeds_other_generators(void)
{
    static const char *const sources[] = { "SNAPRNG-SEED", "SNAPRNG" };
    static const char *const drbgs[] = { "CTR-DRBG", "HASH-DRBG", "HMAC-DRBG" };
    unsigned char bytes[64];
    OSSL_PARAM params[4] = { OSSL_PARAM_END, OSSL_PARAM_END, OSSL_PARAM_END, OSSL_PARAM_END };
    size_t i, j;
    load();
    params[0] = OSSL_PARAM_construct_utf8_string("cipher", (char *)"AES-256-CTR", 0);
    params[1] = OSSL_PARAM_construct_utf8_string("digest", (char *)"SHA2-256", 0);
    params[2] = OSSL_PARAM_construct_utf8_string("mac", (char *)"HMAC", 0);
    for (i = 0; i < 2; i++)
        for (j = 0; j < 3; j++) {
            EVP_RAND_CTX *source = new_context(sources[i], NULL), *drbg = new_context(drbgs[j], source);
            unsigned long long before;
            CHECK_IS(EVP_RAND_instantiate(drbg, 0, 0, NULL, 0, params), 0);
            expect_error("not instantiated", "EVP_RAND_instantiate");
            /* OpenSSL's stays in its error state. */
            EVP_RAND_CTX_free(drbg);
            drbg = new_context(drbgs[j], source);
            CHECK_IS(EVP_RAND_instantiate(source, 0, 0, NULL, 0, NULL), 1);
            CHECK_IS(EVP_RAND_enable_locking(drbg), 1);
            CHECK_IS(EVP_RAND_instantiate(drbg, 0, 0, NULL, 0, params), 1);
            before = number_of(source, "bytes");
            CHECK(before >= 32);
            CHECK(number_of(source, "reseeds") >= 1);
            CHECK_IS(EVP_RAND_generate(drbg, bytes, sizeof bytes, 256, 0, NULL, 0), 1);
            CHECK_IS(number_of(source, "bytes"), before);
            CHECK_IS(EVP_RAND_generate(drbg, bytes, sizeof bytes, 256, 1, NULL, 0), 1);
            CHECK(number_of(source, "bytes") >= before + 32);
            EVP_RAND_CTX_free(drbg);
            EVP_RAND_CTX_free(source);
        }
}

static void several_library_contexts_use_it_at_once(void)
{
    unsigned char bytes[32];
    char *nothing[] = { NULL };
    OSSL_LIB_CTX *first = OSSL_LIB_CTX_new(), *second = OSSL_LIB_CTX_new();
    load();
    CHECK_IS(configure(first, module, lines), 1);
    CHECK_IS(configure(second, module, nothing), 1);
    CHECK_IS(RAND_bytes_ex(first, bytes, sizeof bytes, 0), 1);
    CHECK_IS(RAND_priv_bytes_ex(second, bytes, sizeof bytes, 0), 1);
    OSSL_LIB_CTX_free(first);
    CHECK_IS(RAND_bytes_ex(second, bytes, sizeof bytes, 0), 1);
    OSSL_LIB_CTX_free(second);
    CHECK_IS(RAND_bytes(bytes, sizeof bytes), 1);
    CHECK_IS(of_process("bytes"), 4 * sizeof bytes);
}

static EVP_RAND_CTX *of_the_ending_thread;
static int rounds_of_the_end;

/* Runs when the thread's generator has been given back. */
static void draw_at_the_end(void *key)
{
    unsigned char bytes[32], before[32] = { 0 };
    int i;
    for (i = 0; i < 100; i++) {
        CHECK_IS(EVP_RAND_generate(of_the_ending_thread, bytes, sizeof bytes, 0, i % 2, NULL, 0), 1);
        CHECK(memcmp(bytes, before, sizeof bytes) != 0);
        memcpy(before, bytes, sizeof bytes);
    }
    memset(bytes, 0xAA, sizeof bytes);
    CHECK_IS(EVP_RAND_generate(of_the_ending_thread, bytes, sizeof bytes, 0, 0, before, sizeof before), 0);
    CHECK(is_wiped(bytes, sizeof bytes));
    expect_error("no random bytes", "cannot be reseeded from here");
    if (++rounds_of_the_end < 2)
        CHECK(pthread_setspecific(*(pthread_key_t *)key, key) == 0);
}

static void *ends(void *key)
{
    unsigned char bytes[16];
    CHECK_IS(EVP_RAND_generate(of_the_ending_thread, bytes, sizeof bytes, 0, 0, NULL, 0), 1);
    CHECK(pthread_setspecific(*(pthread_key_t *)key, key) == 0);
    return NULL;
}

static void a_thread_that_ends_is_served_and_its_input_refused(void)
{
    pthread_key_t key;
    pthread_t thread;
    load();
    of_the_ending_thread = ready_context();
    /* After the library's own key, so that its destructor comes first. */
    CHECK(pthread_key_create(&key, draw_at_the_end) == 0);
    CHECK(pthread_create(&thread, NULL, ends, &key) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_IS(rounds_of_the_end, 2);
    EVP_RAND_CTX_free(of_the_ending_thread);
}

static pthread_barrier_t drawn, cleaned;

static void *ends_after_the_cleanup(void *nothing)
{
    unsigned char bytes[16];
    CHECK_IS(RAND_bytes(bytes, sizeof bytes), 1);
    pthread_barrier_wait(&drawn);
    pthread_barrier_wait(&cleaned);
    return nothing;
}

/* OPENSSL_cleanup frees contexts, provider and module while a thread still has its generator. */
static void the_end_of_openssl_leaves_threads_alone(void)
{
    pthread_t thread;
    load();
    CHECK(pthread_barrier_init(&drawn, NULL, 2) == 0 && pthread_barrier_init(&cleaned, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, ends_after_the_cleanup, NULL) == 0);
    pthread_barrier_wait(&drawn);
    CHECK_IS(OSSL_PROVIDER_unload(provider), 1);
    OPENSSL_cleanup();
    pthread_barrier_wait(&cleaned);
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(int count, char **arguments)
{
    CHECK(count >= 2);
    module = arguments[1];
    lines = arguments + 2;
#define TEST(name) in_child(#name, name)
    TEST(every_role_runs_on_the_provider);
    TEST(more_strength_than_there_is_is_refused);
    TEST(a_context_that_is_not_instantiated_gives_nothing);
    TEST(prediction_resistance_and_input_rekey_first);
    TEST(input_that_cannot_be_is_refused);
    TEST(old_calls_that_add_and_poll_work);
    TEST(a_large_request_is_one_request);
    TEST(nonces_have_the_length_that_was_asked_for);
    TEST(parameters_are_answered_or_refused_by_their_size);
    TEST(the_provider_tells_its_name_version_and_level);
    TEST(locks_are_free_and_never_held);
    TEST(it_seeds_other_generators);
    TEST(several_library_contexts_use_it_at_once);
    TEST(a_thread_that_ends_is_served_and_its_input_refused);
    TEST(the_end_of_openssl_leaves_threads_alone);
    return 0;
}
