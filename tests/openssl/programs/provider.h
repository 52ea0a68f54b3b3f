/* What the programs share beside check.h of tests/capi: library contexts with the provider. A failure shows OpenSSL's
 * error stack, too. */
#ifndef PROVIDER_H
#define PROVIDER_H

#include <openssl/conf.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#define ALSO_ON_FAILURE() ERR_print_errors_fp(stderr)
#include "check.h"

/* Configures a library context as a file would: the default provider, and this one with further lines for its section,
 * each "KEY=VALUE". What CONF_modules_load says: a provider that does not load is no failure to OpenSSL. */
static inline int configure_with(OSSL_LIB_CTX *context, const char *module, char *const *lines, const char *random)
{
    char text[4096];
    long error_line;
    int length, outcome;
    BIO *file;
    CONF *configuration = NCONF_new_ex(context, NULL);
    length = snprintf(text, sizeof text,
                      "openssl_conf = init\n[init]\nproviders = list\nrandom = random\n[random]\n%s\n"
                      "[list]\ndefault = default_section\nsnaprng = snaprng_section\n[default_section]\nactivate = 1\n"
                      "[snaprng_section]\nmodule = %s\nactivate = 1\n",
                      random, module);
    for (; *lines != NULL; lines++)
        length += snprintf(text + length, sizeof text - (size_t)length, "%s\n", *lines);
    CHECK((size_t)length < sizeof text);
    CHECK(configuration != NULL && (file = BIO_new_mem_buf(text, length)) != NULL);
    CHECK_IS(NCONF_load_bio(configuration, file, &error_line), 1);
    outcome = CONF_modules_load(configuration, NULL, 0);
    BIO_free(file);
    NCONF_free(configuration);
    return outcome;
}

static inline int configure(OSSL_LIB_CTX *context, const char *module, char *const *lines)
{
    return configure_with(context, module, lines, "random = SNAPRNG");
}

#endif
