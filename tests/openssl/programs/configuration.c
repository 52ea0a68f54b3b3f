/* What the provider says to a configuration. It is loaded twice, into two library contexts, each time with the lines of
 * its own, and asked for bytes.
 *
 *   configuration MODULE [LINE...] [-- LINE...]      the lines of the first load, and of the second
 *
 * For each load it prints a line, "bytes" or "no bytes", and then OpenSSL's error stack. */
#include "provider.h"

static void try(const char *module, char *const *lines)
{
    unsigned char bytes[32];
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
    int outcome;
    size_t i;
    CHECK(context != NULL);
    ERR_clear_error();
    memset(bytes, 0xAA, sizeof bytes);
    configure(context, module, lines);
    outcome = RAND_bytes_ex(context, bytes, sizeof bytes, 0);
    if (outcome == 1) {
        for (i = 0; i + 1 < sizeof bytes && bytes[i] == bytes[i + 1]; i++)
            ;
        CHECK(i + 1 < sizeof bytes);
        CHECK_IS(ERR_peek_error(), 0);
    } else
        CHECK_IS(outcome, 0);
    printf("%s\n", outcome == 1 ? "bytes" : "no bytes");
    ERR_print_errors_fp(stdout);
    OSSL_LIB_CTX_free(context);
}

int main(int count, char **arguments)
{
    int i;
    CHECK(count >= 2);
    for (i = 2; i < count && strcmp(arguments[i], "--") != 0; i++)
        ;
    if (i < count) {
        arguments[i] = NULL;
        try(arguments[1], arguments + 2);
        try(arguments[1], arguments + i + 1);
    } else
        try(arguments[1], arguments + 2);
    return 0;
}
