/* A worker on the system's OpenSSL, like any program on it: whose generator it has is for OPENSSL_CONF to say. */
#define _GNU_SOURCE
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include <inttypes.h>

#include "../busy.h"
#include "check.h"

static int public_bytes(void *nothing, unsigned char *out, size_t length)
{
    (void)nothing;
    return RAND_bytes(out, (int)length) == 1 ? 0 : -1;
}

static int private_bytes(void *nothing, unsigned char *out, size_t length)
{
    (void)nothing;
    return RAND_priv_bytes(out, (int)length) == 1 ? 0 : -1;
}

/* Which generator RAND_bytes has here, of which provider, and what that provider says of itself: OpenSSL's own says
 * nothing. */
static char *description(void)
{
    const EVP_RAND *algorithm = EVP_RAND_CTX_get0_rand(RAND_get0_public(NULL));
    const OSSL_PROVIDER *provider = EVP_RAND_get0_provider(algorithm);
    const char *level = "none";
    uint64_t requests = 0, bytes = 0, failures = 0;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_ptr("level", (char **)&level, 0),
        OSSL_PARAM_construct_uint64("requests", &requests),
        OSSL_PARAM_construct_uint64("bytes", &bytes),
        OSSL_PARAM_construct_uint64("failures", &failures),
        OSSL_PARAM_END,
    };
    char *text;
    CHECK_IS(OSSL_PROVIDER_get_params(provider, params), 1);
    CHECK(asprintf(&text,
                   "generator=%s\nprovider=%s\nlevel=%s\nrequests=%" PRIu64 "\nbytes=%" PRIu64 "\nfailures=%" PRIu64
                   "\n\n%s\n",
                   EVP_RAND_get0_name(algorithm), OSSL_PROVIDER_get0_name(provider), level, requests, bytes, failures,
                   OpenSSL_version(OPENSSL_VERSION)) > 0);
    return text;
}

static const busy_program program = {
    .body = "openssl",
    .described = "RAND_bytes",
    .describe = description,
    .new_thread = "RAND_bytes-new-thread",
    .ask_in_new_thread = public_bytes,
};

int main(int argc, char **argv)
{
    busy_start(&program, argc, argv);
    busy_add("RAND_bytes", public_bytes, NULL);
    busy_add("RAND_priv_bytes", private_bytes, NULL);
    busy_run();
    return 0;
}
