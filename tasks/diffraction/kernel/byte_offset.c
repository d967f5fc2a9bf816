/* Byte offset, the compression of CBF images: each count is the step from the one before, in one byte; -128 says that the
   step follows in two bytes, and -32768 there that it follows in four (little-endian). To CBF in general, -2^31 there
   says that it follows in eight; dxtbx, whose counts have 32 bits, writes and reads that as a step like any other.

   Nearly all steps take one byte. Where sixteen bytes hold no -128, their counts are the running sum of the bytes, which
   is made for all sixteen at once. Steps are added modulo 2^32, as dxtbx does. */

#include "kernel.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_AVX2 1
#include <immintrin.h>
#endif

enum { TOGETHER = 16 };

typedef struct {
    const uint8_t *data;
    int64_t size, at; /* bytes: in all, and read */
    int32_t *counts;
    int64_t n, done;
    uint32_t last;
} stream;

/* Decode the next count, of whatever length. Returns 1, or why not. */
static int decode_one(stream *s) {
    if (s->at == s->size) return STREAM_ENDS;
    int32_t step = (int8_t)s->data[s->at];
    int64_t next = s->at + 1;
    if (step == INT8_MIN) {
        if (s->size - next < 2) return STREAM_ENDS;
        step = (int16_t)(uint16_t)(s->data[next] | s->data[next + 1] << 8);
        next += 2;
        if (step == INT16_MIN) {
            if (s->size - next < 4) return STREAM_ENDS;
            step = (int32_t)(s->data[next] | (uint32_t)s->data[next + 1] << 8 | (uint32_t)s->data[next + 2] << 16 |
                             (uint32_t)s->data[next + 3] << 24);
            next += 4;
        }
    }
    s->at = next;
    s->last += (uint32_t)step;
    s->counts[s->done++] = (int32_t)s->last;
    return 1;
}

/* Decode counts sixteen at a time, up to the first longer step. */
static void decode_short_steps(stream *s) {
    while (s->n - s->done >= TOGETHER && s->size - s->at >= TOGETHER) {
        const uint8_t *steps = s->data + s->at;
        int longer = 0;
        for (int i = 0; i < TOGETHER; i++) longer |= steps[i] == 0x80;
        if (longer) return;
        for (int i = 0; i < TOGETHER; i++) s->counts[s->done + i] = (int32_t)(s->last += (uint32_t)(int8_t)steps[i]);
        s->at += TOGETHER;
        s->done += TOGETHER;
    }
}

#ifdef HAS_AVX2
/* The same: running sums of eight in 16 bits (three shifts and adds), then of all in 32. */
__attribute__((target("avx2"))) static void decode_short_steps_avx2(stream *s) {
    const __m256i last_of_eight = _mm256_set1_epi32(7);
    __m256i before = _mm256_set1_epi32((int32_t)s->last); /* what the count before is */
    while (s->n - s->done >= TOGETHER && s->size - s->at >= TOGETHER) {
        __m128i steps = _mm_loadu_si128((const __m128i *)(const void *)(s->data + s->at));
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(steps, _mm_set1_epi8(INT8_MIN)))) break;
        __m256i sums = _mm256_cvtepi8_epi16(steps);
        sums = _mm256_add_epi16(sums, _mm256_slli_si256(sums, 2)); /* within each half: eight steps */
        sums = _mm256_add_epi16(sums, _mm256_slli_si256(sums, 4));
        sums = _mm256_add_epi16(sums, _mm256_slli_si256(sums, 8));
        __m256i first = _mm256_add_epi32(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(sums)), before);
        before = _mm256_permutevar8x32_epi32(first, last_of_eight);
        __m256i second = _mm256_add_epi32(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(sums, 1)), before);
        before = _mm256_permutevar8x32_epi32(second, last_of_eight);
        _mm256_storeu_si256((__m256i *)(void *)(s->counts + s->done), first);
        _mm256_storeu_si256((__m256i *)(void *)(s->counts + s->done + 8), second);
        s->at += TOGETHER;
        s->done += TOGETHER;
    }
    s->last = (uint32_t)_mm256_extract_epi32(before, 0);
}
#endif

int64_t decode_byte_offset(const uint8_t *data, int64_t size, int32_t *counts, int64_t n, int64_t *decoded,
                           instruction_set set) {
    stream s = {.data = data, .size = size, .counts = counts, .n = n};
    int result = 1;
    while (result == 1 && s.done < n) {
#ifdef HAS_AVX2
        if (set != ANY_PROCESSOR)
            decode_short_steps_avx2(&s);
        else
#endif
            decode_short_steps(&s);
        /* one by one until beyond what stopped it */
        for (int i = 0; i < TOGETHER && result == 1 && s.done < n; i++) result = decode_one(&s);
    }
    (void)set;
    *decoded = s.done;
    return result == 1 ? s.at : result;
}
