/* Random bytes, and what protects them.
 *
 *   cc fill.c $(pkg-config --cflags --libs snaprng) -o fill && ./fill */
#include <snaprng.h>

#include <stdio.h>

int main(void)
{
    unsigned char key[32];
    char report[4096];
    size_t i;
    int error;

    /* Once, early: opens and maps everything, so that a later sandbox or drop of privileges does no harm. */
    error = snaprng_init(NULL);
    if (error != SNAPRNG_OK) {
        fprintf(stderr, "snaprng_init: %s\n", snaprng_strerror(error));
        return 1;
    }

    /* From this thread's generator. There is nothing to seed, and nothing to free. */
    error = snaprng_fill(key, sizeof key);
    if (error != SNAPRNG_OK) {
        fprintf(stderr, "snaprng_fill: %s\n", snaprng_strerror(error));
        return 1;
    }
    for (i = 0; i < sizeof key; i++)
        printf("%02x", key[i]);
    printf("\n");

    /* Numbers, where a failure may end the process. */
    printf("a die shows %u\n", (unsigned)snaprng_uniform(6) + 1);

    if (snaprng_protection_string(report, sizeof report) >= 0)
        printf("\n%s\n", report);
    return 0;
}
