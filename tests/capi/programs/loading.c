/* Libraries that come and go: loaded by a thread, closed while threads have used them, two copies in one process, and
 * (if it is linked so) a static one beside them.
 *
 *   loading LIBRARY COPY      the same shared library under two names */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>

#include "check.h"

#ifdef BESIDE_A_STATIC_ONE
#include <snaprng.h>
#endif

typedef int (*fill_function)(void *, size_t);

enum { LIBRARIES = 3, PER_DRAW = 256, DRAWS = 4 };
static fill_function fill[LIBRARIES];
static void *handles[2];
static block blocks[DRAWS * LIBRARIES * PER_DRAW];
static size_t drawn;
static sem_t loaded, closed, used;

static void draw_from_all(void)
{
    int library, i;
    for (library = 0; library < LIBRARIES; library++)
        for (i = 0; fill[library] != NULL && i < PER_DRAW; i++)
            CHECK_IS(fill[library](&blocks[drawn++], sizeof(block)), 0);
}

static void *began_before_the_libraries(void *unused)
{
    CHECK(sem_wait(&loaded) == 0);
    draw_from_all();
    CHECK(sem_post(&used) == 0);
    CHECK(sem_wait(&closed) == 0);
    draw_from_all();
    /* And ends, with the libraries closed: what is done at its end must still be there. */
    return unused;
}

static void *load(void *paths)
{
    int i;
    for (i = 0; i < 2; i++) {
        handles[i] = dlopen(((char **)paths)[i], RTLD_NOW | RTLD_LOCAL);
        if (handles[i] == NULL)
            fprintf(stderr, "%s\n", dlerror());
        CHECK(handles[i] != NULL);
        *(void **)&fill[i] = dlsym(handles[i], "snaprng_fill");
        CHECK(fill[i] != NULL);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t early, loader;
    pid_t child;
    int ends[2];
    CHECK(argc == 3);
    CHECK(sem_init(&loaded, 0, 0) == 0 && sem_init(&closed, 0, 0) == 0 && sem_init(&used, 0, 0) == 0);
    CHECK(pthread_create(&early, NULL, began_before_the_libraries, NULL) == 0);
    CHECK(pthread_create(&loader, NULL, load, argv + 1) == 0);
    CHECK(pthread_join(loader, NULL) == 0);
    CHECK(fill[0] != fill[1]);
#ifdef BESIDE_A_STATIC_ONE
    fill[2] = snaprng_fill;
    CHECK(fill[2] != fill[0] && fill[2] != fill[1]);
#endif
    CHECK(sem_post(&loaded) == 0);
    CHECK(sem_wait(&used) == 0);
    CHECK(dlclose(handles[0]) == 0 && dlclose(handles[1]) == 0);
    CHECK(sem_post(&closed) == 0);
    CHECK(pthread_join(early, NULL) == 0);

    /* Closed, and still there for fork handlers and whoever kept a pointer. */
    draw_from_all();
    CHECK(pipe(ends) == 0);
    child = fork();
    if (child == 0) {
        size_t before = drawn;
        draw_from_all();
        write_all(ends[1], blocks + before, (drawn - before) * sizeof(block));
        child_passed();
    }
    read_all(ends[0], blocks + drawn, (fill[2] ? 3 : 2) * PER_DRAW * sizeof(block));
    drawn += (fill[2] ? 3 : 2) * PER_DRAW;
    CHECK_IS(wait_for(child), 0);
    check_all_differ(blocks, drawn);

    /* Opened again, it is the same library: it was never gone. */
    handles[0] = dlopen(argv[1], RTLD_NOW);
    CHECK(handles[0] != NULL && dlsym(handles[0], "snaprng_fill") == *(void **)&fill[0]);
    printf("  %d blocks of %d copies of the library all differ\n", (int)drawn, fill[2] ? 3 : 2);
    return 0;
}
