/* A nonce that no clone uses, too: drawn within a generation, and asked about before the result leaves.
 *
 * A snapshot that is taken between the draw and the send would make two machines send under one nonce. The generation
 * tells: it ends with every clone or restore that a witness shows, and in a forked child.
 *
 *   cc fence.c $(pkg-config --cflags --libs snaprng) -o fence && ./fence */
#include <snaprng.h>

#include <stdio.h>

#define NONCE_LENGTH 12

/* What stands for the work: seal a message under a nonce that must never be used twice. */
static void seal(const unsigned char nonce[NONCE_LENGTH], const char *message)
{
    size_t i;
    printf("sealed \"%s\" under ", message);
    for (i = 0; i < NONCE_LENGTH; i++)
        printf("%02x", nonce[i]);
    printf("\n");
}

static int seal_and_send(const char *message)
{
    snaprng_generation_t generation;
    unsigned char nonce[NONCE_LENGTH];
    int attempt, error;

    for (attempt = 1; attempt <= 3; attempt++) {
        error = snaprng_generation(&generation);
        if (error == SNAPRNG_OK)
            error = snaprng_fill(nonce, sizeof nonce);
        if (error != SNAPRNG_OK)
            return error;

        seal(nonce, message);
        if (attempt == 1) {
            /* For this example: a restore comes just now. A machine with a vmclock device tells by itself; a platform
             * that tells in some other way calls this, with bytes that no other clone has. */
            snaprng_notify_restored("bytes from the platform", 23);
        }

        /* The last thing before the message leaves the machine. */
        if (snaprng_generation_is_current(&generation) == 1) {
            printf("sent\n");
            return SNAPRNG_OK;
        }
        printf("this machine was cloned or restored meanwhile: thrown away\n");
    }
    return SNAPRNG_EUNSTABLE;
}

int main(void)
{
    int error = seal_and_send("hello");
    if (error != SNAPRNG_OK) {
        fprintf(stderr, "not sent: %s\n", snaprng_strerror(error));
        return 1;
    }
    return 0;
}
