/* Preloaded into programs that know nothing of it: when they end, the provider's counts are appended to the file that
 * SNAPRNG_COUNTS names, as "NAME PID REQUESTS BYTES RESEEDS FAILURES". Where there is no provider: "NAME PID none". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int find(struct dl_phdr_info *object, size_t size, void *to)
{
    const char *name = strrchr(object->dlpi_name, '/');
    (void)size;
    if (name == NULL || strcmp(name, "/snaprng.so") != 0)
        return 0;
    *(const char **)to = object->dlpi_name;
    return 1;
}

/* The command's name without spaces: programs write what they like into their arguments. */
static const char *name_of_this(void)
{
    static char name[32] = "unknown";
    FILE *file = fopen("/proc/self/comm", "r");
    if (file != NULL) {
        if (fscanf(file, "%31s", name) != 1)
            strcpy(name, "unknown");
        fclose(file);
    }
    return name;
}

__attribute__((destructor)) static void tell(void)
{
    unsigned long long counts[4] = { 0 };
    const char *module = NULL, *path = getenv("SNAPRNG_COUNTS");
    void *handle = NULL;
    size_t (*count)(unsigned long long *, size_t) = NULL;
    FILE *file = path == NULL ? NULL : fopen(path, "a");
    if (file == NULL)
        return;
    if (dl_iterate_phdr(find, &module) != 0)
        handle = dlopen(module, RTLD_LAZY | RTLD_NOLOAD);
    if (handle != NULL)
        *(void **)&count = dlsym(handle, "snaprng_openssl_counts");
    if (count != NULL && count(counts, 4) == 4)
        fprintf(file, "%s %d %llu %llu %llu %llu\n", name_of_this(), (int)getpid(), counts[0], counts[1],
                counts[2], counts[3]);
    else
        fprintf(file, "%s %d none\n", name_of_this(), (int)getpid());
    fclose(file);
}
