/* A generator of one's own: for one purpose, or for one thread at a time.
 *
 *   cc owned.c $(pkg-config --cflags --libs snaprng) -o owned && ./owned */
#include <snaprng.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    static const char purpose[] = "ticket keys";
    snaprng_config config;
    snaprng_t *generator;
    unsigned char ticket_key[48];
    size_t i;
    int error;

    /* Zero is the default everywhere. */
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.personalization = purpose;
    config.personalization_len = sizeof purpose - 1;

    error = snaprng_new(&config, &generator);
    if (error != SNAPRNG_OK) {
        fprintf(stderr, "snaprng_new: %s\n", snaprng_strerror(error));
        return 1;
    }

    /* Whatever else this program knows may be mixed in. It cannot make a key worse. */
    error = snaprng_reseed(generator, "serial number 4711", 18);
    if (error == SNAPRNG_OK)
        error = snaprng_generate(generator, ticket_key, sizeof ticket_key);
    if (error != SNAPRNG_OK) {
        fprintf(stderr, "snaprng_generate: %s\n", snaprng_strerror(error));
        snaprng_free(generator);
        return 1;
    }
    for (i = 0; i < sizeof ticket_key; i++)
        printf("%02x", ticket_key[i]);
    printf("\n");

    snaprng_free(generator);
    return 0;
}
