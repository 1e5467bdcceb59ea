/* Jump consistent hashing of several keys at a time, on processors with AVX2 or AVX-512.
 *
 * Most of the time of one key is the wait for a division, and for the last branch, which cannot be predicted. Here several keys
 * advance side by side until the last of them has its bucket; keys that have theirs stay unchanged. The operations on each key are
 * those of the published formula, in the same order, so the buckets are the same. On other processors `jump_lanes` does nothing. */

#ifndef LBCORE_JUMP_LANES_H
#define LBCORE_JUMP_LANES_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <string.h>

/* Keys in a vector, and vectors side by side: enough of them that the divisions overlap. */
enum { JUMP_AVX2 = 4, JUMP_AVX2_VECTORS = 3, JUMP_AVX512 = 8, JUMP_AVX512_VECTORS = 2, JUMP_MOST_LANES = 16 };

static const uint64_t JUMP_FACTOR = 2862933555777941757ULL;

typedef void jump_batch(const uint64_t *keys, uint32_t *out, int64_t count);

/* The low 64 bits of products with a constant. AVX2 has no such instruction, so they are made of products of 32 bits. */
__attribute__((target("avx2"), always_inline)) static inline __m256i
jump_multiply(__m256i key, __m256i low, __m256i high)
{
    __m256i middle = _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(key, 32), low), _mm256_mul_epu32(key, high));
    return _mm256_add_epi64(_mm256_mul_epu32(key, low), _mm256_slli_epi64(middle, 32));
}

/* (double)(key >> 33) + 1: ORed into the fraction of the double 2**52, the bits are a whole number. */
__attribute__((target("avx2"), always_inline)) static inline __m256d
jump_divisor(__m256i key)
{
    __m256d whole = _mm256_or_pd(_mm256_castsi256_pd(_mm256_srli_epi64(key, 33)), _mm256_set1_pd(0x1p52));
    return _mm256_sub_pd(whole, _mm256_set1_pd(0x1p52 - 1));
}

__attribute__((target("avx2"))) static void
jump_avx2(const uint64_t *keys, uint32_t *out, int64_t count)
{
    const __m256i low = _mm256_set1_epi64x(JUMP_FACTOR & 0xFFFFFFFF), high = _mm256_set1_epi64x(JUMP_FACTOR >> 32);
    const __m256d one = _mm256_set1_pd(1), end = _mm256_set1_pd((double)count);
    __m256i key[JUMP_AVX2_VECTORS];
    __m256d after[JUMP_AVX2_VECTORS], going[JUMP_AVX2_VECTORS], any;
    int v;
#pragma GCC unroll 4
    for (v = 0; v < JUMP_AVX2_VECTORS; v++) {
        key[v] = _mm256_loadu_si256((const __m256i *)(keys + JUMP_AVX2 * v));
        after[v] = one; /* the bucket found so far, plus one */
        going[v] = _mm256_castsi256_pd(_mm256_set1_epi64x(-1));
    }
    do {
        any = _mm256_setzero_pd();
#pragma GCC unroll 4
    for (v = 0; v < JUMP_AVX2_VECTORS; v++) {
            __m256d next;
            key[v] = _mm256_add_epi64(jump_multiply(key[v], low, high), _mm256_set1_epi64x(1));
            next = _mm256_mul_pd(after[v], _mm256_div_pd(_mm256_set1_pd(0x1p31), jump_divisor(key[v])));
            next = _mm256_floor_pd(next);
            going[v] = _mm256_and_pd(going[v], _mm256_cmp_pd(next, end, _CMP_LT_OQ));
            after[v] = _mm256_blendv_pd(after[v], _mm256_add_pd(next, one), going[v]);
            any = _mm256_or_pd(any, going[v]);
        }
    } while (_mm256_movemask_pd(any));
#pragma GCC unroll 4
    for (v = 0; v < JUMP_AVX2_VECTORS; v++)
        _mm_storeu_si128((__m128i *)(out + JUMP_AVX2 * v), _mm256_cvtpd_epi32(_mm256_sub_pd(after[v], one)));
}

__attribute__((target("avx512f,avx512dq,avx512vl"))) static void
jump_avx512(const uint64_t *keys, uint32_t *out, int64_t count)
{
    const __m512d one = _mm512_set1_pd(1), end = _mm512_set1_pd((double)count);
    __m512i key[JUMP_AVX512_VECTORS];
    __m512d after[JUMP_AVX512_VECTORS];
    __mmask8 going[JUMP_AVX512_VECTORS];
    unsigned any;
    int v;
#pragma GCC unroll 4
    for (v = 0; v < JUMP_AVX512_VECTORS; v++) {
        key[v] = _mm512_loadu_si512(keys + JUMP_AVX512 * v);
        after[v] = one;
        going[v] = 0xFF;
    }
    do {
        any = 0;
#pragma GCC unroll 4
    for (v = 0; v < JUMP_AVX512_VECTORS; v++) {
            __m512d next;
            key[v] = _mm512_mullo_epi64(key[v], _mm512_set1_epi64((int64_t)JUMP_FACTOR));
            key[v] = _mm512_add_epi64(key[v], _mm512_set1_epi64(1));
            next = _mm512_add_pd(_mm512_cvtepi64_pd(_mm512_srli_epi64(key[v], 33)), one);
            next = _mm512_mul_pd(after[v], _mm512_div_pd(_mm512_set1_pd(0x1p31), next));
            next = _mm512_roundscale_pd(next, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
            going[v] = _mm512_mask_cmp_pd_mask(going[v], next, end, _CMP_LT_OQ);
            after[v] = _mm512_mask_add_pd(after[v], going[v], next, one);
            any |= going[v];
        }
    } while (any);
#pragma GCC unroll 4
    for (v = 0; v < JUMP_AVX512_VECTORS; v++)
        _mm256_storeu_si256((__m256i *)(out + JUMP_AVX512 * v), _mm512_cvtpd_epu32(_mm512_sub_pd(after[v], one)));
}

/* Writes the buckets of the first keys of `n`, among `count` buckets, 1 to 2**31. Returns the number of these keys. O(n ln count). */
static ptrdiff_t
jump_lanes(const uint64_t *keys, uint32_t *out, ptrdiff_t n, int64_t count)
{
    uint64_t rest[JUMP_MOST_LANES] = {0};
    uint32_t found[JUMP_MOST_LANES];
    ptrdiff_t done = 0, lanes;
    jump_batch *batch;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        batch = jump_avx512;
        lanes = JUMP_AVX512 * JUMP_AVX512_VECTORS;
    } else if (__builtin_cpu_supports("avx2")) {
        batch = jump_avx2;
        lanes = JUMP_AVX2 * JUMP_AVX2_VECTORS;
    } else
        return 0;
    for (; n - done >= lanes; done += lanes)
        batch(keys + done, out + done, count);
    if (n - done >= lanes / 4) { /* fewer keys are faster one by one */
        memcpy(rest, keys + done, (size_t)(n - done) * sizeof *keys);
        batch(rest, found, count);
        memcpy(out + done, found, (size_t)(n - done) * sizeof *out);
        done = n;
    }
    return done;
}

#else

static ptrdiff_t
jump_lanes(const uint64_t *keys, uint32_t *out, ptrdiff_t n, int64_t count)
{
    (void)keys, (void)out, (void)n, (void)count;
    return 0;
}

#endif
#endif
