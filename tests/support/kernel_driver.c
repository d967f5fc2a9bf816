/* Finds strong pixels of the images that standard input holds, and writes them to standard output: for processors on which
   there is no Python at hand. All numbers are of the machine's own kind, which has to be little-endian.

   An image: 8 int64 (height, width, count_type, lowest, highest, extended, gaps_erode, min_count), 3 double (the sigmas, the
   global threshold), counts, usable. An answer: 1 int64 (how many; negative: declined), and as many indices. */

#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>

static void *take(size_t size, size_t items) {
    void *memory = calloc(items ? items : 1, size);
    if (!memory || fread(memory, size, items, stdin) != items) exit(1);
    return memory;
}

int main(void) {
    static const size_t size_of[] = {1, 1, 2, 2, 4, 4};
    int64_t head[8];
    while (fread(head, sizeof *head, 8, stdin) == 8) {
        size_t pixels = (size_t)(head[0] * head[1]);
        double *limits = take(sizeof *limits, 3);
        void *counts = take(size_of[head[2]], pixels);
        uint8_t *usable = take(1, pixels);
        image im = {head[0], head[1], (count_type)head[2], counts, usable, head[3], head[4]};
        dispersion p = {(int)head[5], (int)head[6], limits[0], limits[1], limits[2], (int)head[7]};
        void *scratch = malloc(scratch_size(im.width));
        uint8_t *flags = calloc(pixels, 1);
        int64_t *found = malloc(pixels * sizeof *found);
        if (!scratch || !flags || !found) return 1;
        int64_t n = find_strong(&im, &p, scratch, flags, found, (int64_t)pixels, best_instruction_set());
        fwrite(&n, sizeof n, 1, stdout);
        if (n > 0) fwrite(found, sizeof *found, (size_t)n, stdout);
        free(limits), free(counts), free(usable), free(scratch), free(flags), free(found);
    }
    return 0;
}
