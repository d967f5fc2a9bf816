/* Strong pixels by dispersion and extended dispersion: DIALS's pixels, at the speed of memory.

   DIALS (dials/algorithms/image/threshold/local.h) takes an image of doubles, makes a summed-area table of counts, their
   squares and the number of valid pixels (24 bytes a pixel; twice for `extended`), and tests each pixel by what the table
   says of the 7 x 7 pixels around it. Here one pass goes over the integers as the detector wrote them, and keeps of each
   column the sums over the seven rows of the window. A cheap test in single precision passes few pixels; for those DIALS's
   own test is made, by the same operations in double precision.

   Why the pixels are the same:

   - Counts are integers, so that DIALS's table is exact as long as no sum (of two of its entries) exceeds 2^53, and
     a window's sums don't depend on how they are made. Whether squares can add up to 2^52 is checked; if so, the image
     is declined. DIALS leaves pixels from 2^24 counts on out of the sums, but not out of the result: declined too.
   - The cheap test is lenient: it passes all that DIALS's would. A window of m pixels with sum x and sum of squares y is
     over the dispersion threshold if

         m y > x (x + (m - 1) + sigma_background sqrt(2 (m - 1)))

     and as the square root is concave, sqrt(2 (m - 1)) >= (m - 1) sqrt(2 / 48) for m <= 49: with that in its place, no
     square root is needed, and only windows at gaps and edges pass more often. The eight roundings in single precision
     come to 5e-7 at the most; the left side is made larger by 2e-6.
   - y <= highest count * x and x >= highest count, so that the highest count of a window over the threshold is more than
     1 + sigma_background sqrt(2 / 48): stretches of columns that hold no such pixel aren't looked at.
   - Sums fit 32 bits as pixels are clamped to BRIGHT + 1 in them. A window with a clamped pixel is summed anew in 64 bits.
   - `extended` erodes what is over the dispersion threshold: what stays has no pixel within two rows and columns that
     isn't over it (and none that isn't valid, until dials/dials#2790). Only there DIALS's second table (the mean of the
     background within 11 x 11) is ever asked: those few windows are summed directly.

   Compile without contraction (a fused multiply-add rounds once where DIALS rounds twice) and without -ffast-math. */

#include "kernel.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0 || defined(__FAST_MATH__)
#error "arithmetic must be that of IEEE 754, each operation rounded to its own type"
#endif

enum {
    REACH = 3, /* of the window, to either side: DIALS's kernel_size */
    WINDOW = 2 * REACH + 1,
    BACKGROUND_REACH = REACH + 2,
    BACKGROUND_WINDOW = 2 * BACKGROUND_REACH + 1,
    EROSION = REACH - 1, /* all pixels this near must be over the dispersion threshold too */
    BRIGHT = 6600,       /* WINDOW^2 * (BRIGHT + 1)^2 < 2^31 */
    STRETCH = 128,       /* columns that are looked at together */
};

/* A pixel's word: 1 << 24 | count (no more than BRIGHT + 1) if it's valid, else 0. The words of a window add up to how
   many valid pixels it has, and their sum. */
#define ONE_PIXEL (1 << 24)
#define COUNT_OF(word) ((word) & (ONE_PIXEL - 1))
#define PIXELS_OF(word) ((word) >> 24)

static const double TOO_BRIGHT = 1 << 24; /* DIALS's BIG */
static const double EXACT = 4503599627370496.0; /* 2^52 */

enum { OVER = 1, ERODED = 2, STRONG = 4 }; /* flags of pixels, for `extended` */

/* --- the rows of the window ------------------------------------------------------------------------------------- */

typedef struct {
    int32_t *sums, *squares;    /* of each column, over the window's rows; REACH more columns at either end, all 0 */
    int32_t *words;             /* row r of the image is row r % WINDOW of these; 0 for rows beyond the image */
    int64_t bright[WINDOW];     /* pixels over BRIGHT in each of the rows */
    int64_t *pixels, *exact_sums, *exact_squares; /* of the columns of a stretch, REACH more at either end */
} window_rows;

enum { EXACT_COLUMNS = STRETCH + 2 * REACH };

size_t scratch_size(ptrdiff_t width) {
    size_t padded = (size_t)width + 2 * REACH;
    return 3 * EXACT_COLUMNS * sizeof(int64_t) + (2 * padded + WINDOW * (size_t)width) * sizeof(int32_t);
}

static window_rows lay_out(void *scratch, ptrdiff_t width) {
    window_rows rows = {.pixels = scratch};
    size_t padded = (size_t)width + 2 * REACH;
    memset(scratch, 0, scratch_size(width));
    rows.exact_sums = rows.pixels + EXACT_COLUMNS;
    rows.exact_squares = rows.exact_sums + EXACT_COLUMNS;
    rows.sums = (int32_t *)(rows.exact_squares + EXACT_COLUMNS);
    rows.squares = rows.sums + padded;
    rows.words = rows.squares + padded;
    return rows;
}

/* --- the inner loops, compiled for several processors ------------------------------------------------------------- */

#if defined(__x86_64__) && defined(__GNUC__)
#define FOR_AVX2 __attribute__((target("avx2")))
#define FOR_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#define HAS_VARIANTS 1
#endif
#define FOR_ANY_PROCESSOR

/* Let a row of the image into the column sums, and the row out of them whose words `words` still holds. Returns how many
   of the new row's pixels are bright. */
#define DEFINE_TAKE_ROW(NAME, TYPE, PROCESSOR)                                                                         \
    PROCESSOR static int32_t NAME(const void *row, const uint8_t *restrict usable, ptrdiff_t width, int64_t lowest,    \
                                  int64_t highest, int32_t *restrict words, int32_t *restrict sums,                    \
                                  int32_t *restrict squares) {                                                         \
        const TYPE *restrict counts = row, low = (TYPE)lowest, high = (TYPE)highest;                                   \
        int32_t bright = 0;                                                                                            \
        for (ptrdiff_t i = 0; i < width; i++) {                                                                        \
            TYPE count = counts[i];                                                                                    \
            int32_t valid = -(int32_t)((usable[i] != 0) & (count >= low) & (count <= high)); /* all bits, or none */   \
            int32_t clamped = count > BRIGHT ? BRIGHT + 1 : (int32_t)count;                                            \
            int32_t in = valid & (clamped | ONE_PIXEL), out = words[i];                                                \
            int32_t count_in = COUNT_OF(in), count_out = COUNT_OF(out);                                                \
            bright += count_in > BRIGHT;                                                                               \
            words[i] = in;                                                                                             \
            sums[i] += in - out;                                                                                       \
            squares[i] += count_in * count_in - count_out * count_out;                                                 \
        }                                                                                                              \
        return bright;                                                                                                 \
    }

/* Make the cheap test for `n` pixels, the windows of which begin with `sums` and `squares`: sets `may_be` where a pixel
   may be over the dispersion threshold, and says whether any may. */
#define DEFINE_TEST_STRETCH(NAME, PROCESSOR)                                                                           \
    PROCESSOR static int NAME(const int32_t *restrict sums, const int32_t *restrict squares,                           \
                              const int32_t *restrict centre, ptrdiff_t n, float slope, int32_t least_square,          \
                              uint8_t *restrict may_be) {                                                              \
        int32_t largest = 0, any = 0;                                                                                  \
        for (ptrdiff_t i = 0; i < n + 2 * REACH; i++) largest = squares[i] > largest ? squares[i] : largest;                 \
        if (largest < least_square) return 0;                                                                          \
        for (ptrdiff_t i = 0; i < n; i++) {                                                                            \
            int32_t s = sums[i] + sums[i + 1] + sums[i + 2] + sums[i + 3] + sums[i + 4] + sums[i + 5] + sums[i + 6];   \
            int32_t q = squares[i] + squares[i + 1] + squares[i + 2] + squares[i + 3] + squares[i + 4] +               \
                        squares[i + 5] + squares[i + 6];                                                               \
            float m = (float)PIXELS_OF(s), x = (float)COUNT_OF(s), y = (float)q;                                       \
            int32_t passes = (m * y * 1.000002f > x * (x + slope * (m - 1.0f))) & (centre[i] != 0);                    \
            may_be[i] = (uint8_t)passes;                                                                               \
            any |= passes;                                                                                             \
        }                                                                                                              \
        return any;                                                                                                    \
    }

typedef struct {
    int32_t (*take_row[UINT32 + 1])(const void *, const uint8_t *restrict, ptrdiff_t, int64_t, int64_t,
                                    int32_t *restrict, int32_t *restrict, int32_t *restrict);
    int (*test_stretch)(const int32_t *restrict, const int32_t *restrict, const int32_t *restrict, ptrdiff_t, float,
                        int32_t,
                        uint8_t *restrict);
} inner_loops;

#define DEFINE_LOOPS(NAME, PROCESSOR)                                                                                  \
    DEFINE_TAKE_ROW(take_int8_##NAME, int8_t, PROCESSOR)                                                               \
    DEFINE_TAKE_ROW(take_uint8_##NAME, uint8_t, PROCESSOR)                                                             \
    DEFINE_TAKE_ROW(take_int16_##NAME, int16_t, PROCESSOR)                                                             \
    DEFINE_TAKE_ROW(take_uint16_##NAME, uint16_t, PROCESSOR)                                                           \
    DEFINE_TAKE_ROW(take_int32_##NAME, int32_t, PROCESSOR)                                                             \
    DEFINE_TAKE_ROW(take_uint32_##NAME, uint32_t, PROCESSOR)                                                           \
    DEFINE_TEST_STRETCH(test_stretch_##NAME, PROCESSOR)                                                                \
    static const inner_loops NAME##_loops = {                                                                          \
        {[INT8] = take_int8_##NAME, [UINT8] = take_uint8_##NAME, [INT16] = take_int16_##NAME,                          \
         [UINT16] = take_uint16_##NAME, [INT32] = take_int32_##NAME, [UINT32] = take_uint32_##NAME},                   \
        test_stretch_##NAME};

DEFINE_LOOPS(any_processor, FOR_ANY_PROCESSOR)
#ifdef HAS_VARIANTS
DEFINE_LOOPS(avx2, FOR_AVX2)
DEFINE_LOOPS(avx512, FOR_AVX512)
#endif

static const inner_loops *loops_for(instruction_set set) {
#ifdef HAS_VARIANTS
    if (set == WITH_AVX512) return &avx512_loops;
    if (set == WITH_AVX2) return &avx2_loops;
#endif
    (void)set;
    return &any_processor_loops;
}

const char *instruction_set_name(instruction_set set) {
    static const char *const names[INSTRUCTION_SETS] = {"any", "avx2", "avx512"};
    return names[set];
}

int instruction_set_is_here(instruction_set set) {
#ifdef HAS_VARIANTS
    __builtin_cpu_init();
    if (set == WITH_AVX2) return __builtin_cpu_supports("avx2") != 0;
    if (set == WITH_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return set == ANY_PROCESSOR;
}

instruction_set best_instruction_set(void) {
    instruction_set set = WITH_AVX512;
    while (!instruction_set_is_here(set)) set--;
    return set;
}

/* --- single pixels ------------------------------------------------------------------------------------------------- */

static int64_t count_at(const image *im, ptrdiff_t k) {
    switch (im->type) {
        case INT8: return ((const int8_t *)im->counts)[k];
        case UINT8: return ((const uint8_t *)im->counts)[k];
        case INT16: return ((const int16_t *)im->counts)[k];
        case UINT16: return ((const uint16_t *)im->counts)[k];
        case INT32: return ((const int32_t *)im->counts)[k];
        default: return ((const uint32_t *)im->counts)[k];
    }
}

static int is_valid(const image *im, ptrdiff_t k) {
    int64_t count = count_at(im, k);
    return im->usable[k] && count >= im->lowest && count <= im->highest;
}

static ptrdiff_t lesser(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static ptrdiff_t greater(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* DIALS's tests, its operations in their order. m pixels of the window are valid, with sum x and sum of squares y. */
static int is_over_dispersion(const dispersion *p, double m, double x, double y) {
    if (!(m >= p->min_count)) return 0;
    double a = m * y - x * x - x * (m - 1);
    double c = x * p->sigma_background * sqrt(2 * (m - 1));
    return a > c;
}

static int is_over_mean(const dispersion *p, double m, double x, double count) {
    double b = m * count - x;
    double d = p->sigma_strong * sqrt(x * m);
    return b > d;
}

static int is_over_background(const dispersion *p, double m, double x, double count) {
    double mean = m >= 2 ? x / m : 0;
    return count > p->global_threshold && count >= mean + p->sigma_strong * sqrt(mean);
}

/* --- one pass over the image ---------------------------------------------------------------------------------------- */

typedef struct {
    const image *im;
    const dispersion *parameters;
    const inner_loops *loops;
    window_rows rows;
    float slope;          /* of the cheap test */
    int32_t least_square; /* of a window's highest count */
    double bright_squares;
    uint8_t *flags;
    int64_t *found, n, capacity;
} search;

/* Take in `row` of the image, 0 to height + REACH - 1: beyond its last one there is none, and a row only leaves. */
static void move_down(search *s, ptrdiff_t row) {
    const image *im = s->im;
    window_rows *rows = &s->rows;
    ptrdiff_t slot = row % WINDOW, width = im->width, start = row * width;
    int32_t *words = rows->words + slot * width, *sums = rows->sums + REACH, *squares = rows->squares + REACH;
    static const int size_of[] = {1, 1, 2, 2, 4, 4};
    rows->bright[slot] = 0;
    if (row < im->height) {
        const char *counts = (const char *)im->counts + start * size_of[im->type];
        rows->bright[slot] = s->loops->take_row[im->type](counts, im->usable + start, width, im->lowest, im->highest,
                                                          words, sums, squares);
    } else
        for (ptrdiff_t i = 0; i < width; i++) {
            sums[i] -= words[i];
            squares[i] -= COUNT_OF(words[i]) * COUNT_OF(words[i]);
            words[i] = 0;
        }
    for (ptrdiff_t i = 0; rows->bright[slot] && i < width; i++)
        if (COUNT_OF(words[i]) > BRIGHT) {
            double count = (double)count_at(im, start + i);
            s->bright_squares += count >= TOO_BRIGHT ? INFINITY : count * count;
        }
}

/* Mark the pixels of a stretch of row j that have a bright one in their window with 2, and sum its columns exactly. */
static int look_for_bright(search *s, ptrdiff_t j, ptrdiff_t start, ptrdiff_t n, uint8_t *may_be) {
    const image *im = s->im;
    window_rows *rows = &s->rows;
    ptrdiff_t first = greater(0, start - REACH), end = lesser(im->width, start + n + REACH);
    uint8_t has_bright[EXACT_COLUMNS] = {0};
    int any = 0;
    for (int slot = 0; slot < WINDOW; slot++)
        for (ptrdiff_t c = first; rows->bright[slot] && c < end; c++)
            has_bright[c - start + REACH] |= COUNT_OF(rows->words[slot * im->width + c]) > BRIGHT;
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t column = i; column < i + WINDOW; column++)
            if (has_bright[column]) may_be[i] = any = 2;
    if (!any) return 0;
    memset(rows->pixels, 0, 3 * EXACT_COLUMNS * sizeof(int64_t));
    for (ptrdiff_t row = greater(0, j - REACH); row <= j + REACH && row < im->height; row++)
        for (ptrdiff_t c = first; c < end; c++) {
            if (!rows->words[row % WINDOW * im->width + c]) continue;
            int64_t count = count_at(im, row * im->width + c);
            ptrdiff_t column = c - start + REACH;
            rows->pixels[column]++;
            rows->exact_sums[column] += count;
            /* wraps where a pixel is too bright, and the image is declined */
            rows->exact_squares[column] = (int64_t)((uint64_t)rows->exact_squares[column] + (uint64_t)count * (uint64_t)count);
        }
    return 1;
}

/* Put the pixel at row j, column i into `found` if it's over the threshold. Returns 0 if there is no room. */
static int examine(search *s, ptrdiff_t j, ptrdiff_t i, int is_near_bright, ptrdiff_t column) {
    const dispersion *p = s->parameters;
    const window_rows *rows = &s->rows;
    ptrdiff_t k = j * s->im->width + i;
    double m, x, y, count = (double)count_at(s->im, k);
    if (is_near_bright) {
        int64_t pixels = 0, sum = 0;
        uint64_t square = 0;
        for (ptrdiff_t t = column; t < column + WINDOW; t++) {
            pixels += rows->pixels[t];
            sum += rows->exact_sums[t];
            square += (uint64_t)rows->exact_squares[t];
        }
        m = (double)pixels, x = (double)sum, y = (double)square;
    } else {
        int32_t sum = 0, square = 0;
        for (ptrdiff_t t = i; t < i + WINDOW; t++) sum += rows->sums[t], square += rows->squares[t];
        m = (double)PIXELS_OF(sum), x = (double)COUNT_OF(sum), y = (double)square;
    }
    if (!is_over_dispersion(p, m, x, y)) return 1;
    if (!p->extended && !(count > p->global_threshold && is_over_mean(p, m, x, count))) return 1;
    if (s->n == s->capacity) return 0;
    if (p->extended) s->flags[k] = OVER;
    s->found[s->n++] = k;
    return 1;
}

/* Find the pixels of row j, once the rows that its windows reach are taken in. Returns 0 if there is no room for them. */
static int search_row(search *s, ptrdiff_t j) {
    const window_rows *rows = &s->rows;
    const ptrdiff_t width = s->im->width;
    const int32_t *centre = rows->words + j % WINDOW * width;
    uint8_t may_be[STRETCH];
    int64_t bright = 0;
    for (int slot = 0; slot < WINDOW; slot++) bright += rows->bright[slot];
    for (ptrdiff_t start = 0; start < width; start += STRETCH) {
        ptrdiff_t n = lesser(STRETCH, width - start);
        int any = s->loops->test_stretch(rows->sums + start, rows->squares + start, centre + start, n, s->slope,
                                         s->least_square, may_be);
        if (!any && !bright) continue;
        if (!any) memset(may_be, 0, sizeof may_be);
        if (bright) any |= look_for_bright(s, j, start, n, may_be);
        for (ptrdiff_t i = 0; any && i < n; i++)
            if (may_be[i] && centre[start + i] && !examine(s, j, start + i, may_be[i] == 2, i)) return 0;
    }
    return 1;
}

/* --- what `extended` adds --------------------------------------------------------------------------------------------- */

/* Tell whether all pixels near k are over the dispersion threshold, but for those beyond the edge or, perhaps, in gaps. */
static int survives_erosion(const search *s, ptrdiff_t k) {
    const ptrdiff_t width = s->im->width, y = k / width, x = k % width;
    for (ptrdiff_t r = greater(0, y - EROSION); r <= y + EROSION && r < s->im->height; r++)
        for (ptrdiff_t c = greater(0, x - EROSION); c <= x + EROSION && c < width; c++)
            if (!s->flags[r * width + c] && (s->parameters->gaps_erode || is_valid(s->im, r * width + c))) return 0;
    return 1;
}

/* Sum column c of the background: the valid pixels around row y that haven't survived the erosion. */
static void sum_background(const search *s, ptrdiff_t y, ptrdiff_t c, int64_t *pixels, int64_t *sum) {
    const image *im = s->im;
    *pixels = *sum = 0;
    if (c < 0 || c >= im->width) return;
    for (ptrdiff_t r = greater(0, y - BACKGROUND_REACH); r <= y + BACKGROUND_REACH && r < im->height; r++) {
        ptrdiff_t k = r * im->width + c;
        if (!(s->flags[k] & ERODED) && is_valid(im, k)) ++*pixels, *sum += count_at(im, k);
    }
}

/* Keep, of what is over the dispersion threshold, what stands out from the background around it. */
static void keep_above_background(search *s) {
    const ptrdiff_t width = s->im->width;
    int64_t pixels[BACKGROUND_WINDOW], sums[BACKGROUND_WINDOW]; /* of columns, column c at c % BACKGROUND_WINDOW */
    ptrdiff_t last = -2;
    for (int64_t e = 0; e < s->n; e++)
        if (survives_erosion(s, s->found[e])) s->flags[s->found[e]] |= ERODED;
    for (int64_t e = 0; e < s->n; e++) {
        ptrdiff_t k = s->found[e], y = k / width, x = k % width;
        if (!(s->flags[k] & ERODED)) continue;
        int continues = last == k - 1 && x > 0; /* along a row, each pixel needs one more column */
        for (ptrdiff_t c = continues ? x + BACKGROUND_REACH : x - BACKGROUND_REACH; c <= x + BACKGROUND_REACH; c++) {
            ptrdiff_t at = (c + BACKGROUND_WINDOW) % BACKGROUND_WINDOW;
            sum_background(s, y, c, &pixels[at], &sums[at]);
        }
        last = k;
        int64_t m = 0, sum = 0;
        for (int t = 0; t < BACKGROUND_WINDOW; t++) m += pixels[t], sum += sums[t];
        if (is_over_background(s->parameters, (double)m, (double)sum, (double)count_at(s->im, k))) s->flags[k] |= STRONG;
    }
    int64_t kept = 0;
    for (int64_t e = 0; e < s->n; e++) {
        ptrdiff_t k = s->found[e];
        if (s->flags[k] & STRONG) s->found[kept++] = k;
        s->flags[k] = 0; /* the indices ascend: what `kept` has overwritten was looked at before */
    }
    s->n = kept;
}

static int64_t decline(const search *s, int64_t why) {
    for (int64_t e = 0; s->parameters->extended && e < s->n; e++) s->flags[s->found[e]] = 0;
    return why;
}

int64_t find_strong(const image *im, const dispersion *parameters, void *scratch, uint8_t *flags, int64_t *found,
                    int64_t capacity, instruction_set set) {
    const double per_pixel = sqrt(2.0 / (WINDOW * WINDOW - 1));
    /* sums in single precision reach 2^31 at the most: what is beyond 1e30 is never passed either way */
    const double sigma = fmin(parameters->sigma_background, 1e30);
    const double least = fmin(floor((1 + sigma * per_pixel) * 0.999999) + 1, BRIGHT);
    search s = {
        .im = im,
        .parameters = parameters,
        .loops = loops_for(set),
        .rows = lay_out(scratch, im->width),
        .slope = (float)(1 + sigma * per_pixel),
        .least_square = (int32_t)(least * least),
        .flags = flags,
        .found = found,
        .capacity = capacity,
    };
    for (ptrdiff_t row = 0; row < im->height + REACH; row++) {
        move_down(&s, row);
        if (row >= REACH && !search_row(&s, row - REACH)) return decline(&s, NO_ROOM);
    }
    if (isinf(s.bright_squares)) return decline(&s, PIXEL_TOO_BRIGHT);
    if ((double)im->height * (double)im->width * BRIGHT * BRIGHT + s.bright_squares >= EXACT)
        return decline(&s, SUMS_TOO_LARGE);
    if (parameters->extended) keep_above_background(&s);
    return s.n;
}
