/* What the compiled kernel offers its Python binding (_compiled.c). Nothing here knows of Python. */
#ifndef PLAZA_KERNEL_H
#define PLAZA_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* Which processor's instructions the inner loops use. Results are the same; tests ask for each. */
typedef enum { ANY_PROCESSOR, WITH_AVX2, WITH_AVX512, INSTRUCTION_SETS } instruction_set;

const char *instruction_set_name(instruction_set set);
int instruction_set_is_here(instruction_set set);
instruction_set best_instruction_set(void);

typedef enum { INT8, UINT8, INT16, UINT16, INT32, UINT32 } count_type;

typedef struct {
    ptrdiff_t height, width; /* along the slow and the fast axis; height * width fits an int */
    count_type type;
    const void *counts;      /* (height, width), the fast axis last */
    const uint8_t *usable;   /* (height, width): 0 where a pixel isn't to be used, whatever it counts */
    int64_t lowest, highest; /* trusted counts, both ends included, within the type; 0 <= lowest <= highest */
} image;

typedef struct {
    int extended;
    int gaps_erode; /* with `extended`: whether pixels that aren't valid erode what is next to them */
    double sigma_background, sigma_strong, global_threshold;
    int min_count;
} dispersion;

enum { NO_ROOM = -1, PIXEL_TOO_BRIGHT = -2, SUMS_TOO_LARGE = -3 }; /* why `find_strong` hasn't found all */

/* Bytes that `find_strong` needs to work in, aligned as an int64_t is. */
size_t scratch_size(ptrdiff_t width);

/* Find an image's strong pixels: the indices, in order, that DIALS finds.

   flags: height * width bytes, all 0 (they are left so); not used, and may be NULL, unless `extended`.
   found: room for `capacity` indices; with `extended` for all pixels over the dispersion threshold, before the erosion.
   Returns how many there are, or why they aren't all in `found`. */
int64_t find_strong(const image *im, const dispersion *parameters, void *scratch, uint8_t *flags, int64_t *found,
                    int64_t capacity, instruction_set set);

enum { STREAM_ENDS = -1 }; /* what `decode_byte_offset` refuses */

/* Decode `n` counts of a CBF's byte offset compression. Returns the bytes they took, or why not; *decoded says how many
   counts there were until then. */
int64_t decode_byte_offset(const uint8_t *data, int64_t size, int32_t *counts, int64_t n, int64_t *decoded,
                           instruction_set set);

#endif
