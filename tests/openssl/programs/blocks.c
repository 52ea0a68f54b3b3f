/* A program on OpenSSL like any other, which gives blocks of RAND_bytes: see serve.h.
 *
 * Whether they come from the provider is for OPENSSL_CONF to say; it knows nothing of it. */
#include <openssl/err.h>
#include <openssl/rand.h>

#include "serve.h"

static int draw(unsigned char *out, size_t length)
{
    if (RAND_bytes(out, (int)length) == 1)
        return 1;
    ERR_print_errors_fp(stderr);
    return 0;
}

int main(int count, char **arguments)
{
    return serve(count, arguments, draw);
}
