/* A program that gives blocks of 16 bytes, for whoever clones the machine or the process that it runs in.
 *
 *   PROGRAM N          prints N blocks in hexadecimal, one a line
 *   PROGRAM N wait     draws one first, so that every generator is there and keyed, prints "ready", and then N blocks for
 *                      every line that it reads, until there is no more
 */
#ifndef SERVE_H
#define SERVE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fills out and returns 1, or says why not and returns 0. */
typedef int drawing(unsigned char *out, size_t length);

static inline void print_blocks(drawing *draw, long count)
{
    unsigned char block[16];
    size_t i;
    for (; count > 0; count--) {
        if (!draw(block, sizeof block))
            exit(1);
        for (i = 0; i < sizeof block; i++)
            printf("%02x", block[i]);
        putchar('\n');
    }
    fflush(stdout);
}

/* Does what the arguments say. The exit code; without bytes it ends the program with 1. */
static inline int serve(int count, char **arguments, drawing *draw)
{
    char line[256];
    long blocks = count >= 2 ? strtol(arguments[1], NULL, 10) : 0;
    if (blocks <= 0 || count > 3 || (count == 3 && strcmp(arguments[2], "wait") != 0)) {
        fprintf(stderr, "usage: %s N [wait]\n", arguments[0]);
        return 2;
    }
    if (count == 2) {
        print_blocks(draw, blocks);
        return 0;
    }
    print_blocks(draw, 1);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL)
        print_blocks(draw, blocks);
    return 0;
}

#endif
