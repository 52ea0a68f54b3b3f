/* A program on OpenSSL like any other, for whoever clones the machine or the process that it runs in.
 *
 *   blocks N           prints N blocks of RAND_bytes, 16 bytes in hexadecimal each, one a line
 *   blocks N wait      draws one first, so that every generator is there and keyed, prints "ready", and then N blocks for
 *                      every line that it reads, until there is no more
 *
 * Whether they come from the provider is for OPENSSL_CONF to say; it knows nothing of it. Exit code 1: no bytes. */
#include <openssl/err.h>
#include <openssl/rand.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print(long count)
{
    unsigned char block[16];
    size_t i;
    for (; count > 0; count--) {
        if (RAND_bytes(block, sizeof block) != 1) {
            ERR_print_errors_fp(stderr);
            exit(1);
        }
        for (i = 0; i < sizeof block; i++)
            printf("%02x", block[i]);
        putchar('\n');
    }
    fflush(stdout);
}

int main(int count, char **arguments)
{
    char line[256];
    long blocks = count >= 2 ? strtol(arguments[1], NULL, 10) : 0;
    if (blocks <= 0 || count > 3 || (count == 3 && strcmp(arguments[2], "wait") != 0)) {
        fprintf(stderr, "usage: blocks N [wait]\n");
        return 2;
    }
    if (count == 2) {
        print(blocks);
        return 0;
    }
    print(1);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL)
        print(blocks);
    return 0;
}
