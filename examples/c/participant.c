/* A program that takes part in snapshots of the whole machine, and prints what it is asked.
 *
 *   participant NAME [SOCKET]
 *
 * Without a daemon it says so and goes on, which here means that it ends. A real program polls
 * snapsafe_fd beside its other descriptors.
 *
 *   cc participant.c $(pkg-config --cflags --libs snapsafe) -o participant && ./participant my-service */
#include <snapsafe.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* Whether the program did what it has to. This is where a real one has its work. */
static int prepared_or_adapted(const snapsafe_asked *asked)
{
    switch (asked->phase) {
    case SNAPSAFE_QUIESCE: /* Nothing in flight from here on. */
    case SNAPSAFE_RESUMED: /* Go on where it stopped. */
    case SNAPSAFE_ABORTED: /* The same. */
        return 1;
    case SNAPSAFE_RESTORED: /* New session ids, new keys, new connections. */
        return 1;
    default:
        return 0;
    }
}

static const char *name_of(int phase)
{
    static const char *const names[] = {"?", "quiesce", "resumed", "restored", "aborted"};
    return names[phase > 0 && phase < 5 ? phase : 0];
}

/* Does all that is asked now. */
static int answer(snapsafe_participant *participant, const char *name)
{
    snapsafe_asked asked;
    int result;

    asked.size = sizeof asked;
    while ((result = snapsafe_dispatch(participant, &asked)) == 1) {
        int done = prepared_or_adapted(&asked);
        printf("%s %s transition=%lu generation=%lu%s\n", name, name_of(asked.phase),
               (unsigned long)asked.transition, (unsigned long)asked.generation,
               asked.missed ? " missed" : "");
        fflush(stdout);
        snapsafe_ack(participant, &asked, done ? NULL : "not known to this program");
    }
    return result;
}

int main(int argc, char **argv)
{
    snapsafe_participant *participant;
    snapsafe_config config;
    struct pollfd ready;
    int error;

    if (argc < 2) {
        fprintf(stderr, "usage: %s NAME [SOCKET]\n", argv[0]);
        return 2;
    }
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.socket = argc > 2 ? argv[2] : NULL;

    error = snapsafe_register(argv[1], &config, &participant);
    if (error == -ENOENT) {
        printf("%s: no snapsafed here, going on without it\n", argv[1]);
        return 0;
    }
    if (error != 0) {
        fprintf(stderr, "%s: %s\n", argv[1], snapsafe_strerror(error));
        return 1;
    }
    printf("%s registered\n", argv[1]);
    fflush(stdout);

    ready.fd = snapsafe_fd(participant);
    ready.events = POLLIN;
    while ((error = answer(participant, argv[1])) == 0) {
        if (poll(&ready, 1, -1) < 0 && errno != EINTR)
            break;
    }
    snapsafe_unregister(participant);
    return 1;
}
