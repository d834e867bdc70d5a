/* K-quants in SIMD lanes, bit for bit what ggml's reference quantizers give.
 *
 * The algorithms are those of ggml-quants.c (ggml, MIT licence, https://github.com/ggml-org/ggml). ggml searches one
 * sub-block at a time in scalar code; here every SIMD lane searches a sub-block of its own with the same operations in
 * the same order, so that all scales, minima and levels come out bit-equal. Build with -ffp-contract=off: a fused
 * multiply-add rounds once where ggml's x86-64 build rounds twice.
 *
 * Super-blocks with a zero scale after rounding keep levels from the search in ggml; they are rare, so they are handed
 * to ggml itself through the function pointer that the caller passes.
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CHUNK 4 /* super-blocks worked on together: 32 sub-blocks of Q4_K, 64 of Q6_K */
#define MAGIC 12582912.0f /* 1.5 * 2^23 */
#define GROUP_MAX_EPS 1e-15f

/* The parameters of make_qkx2_quants and make_qkx3_quants. */
struct search {
    int nmax;
    float rmin, rdelta;
    int nstep;
};

/* What the lanes find out about CHUNK super-blocks of Q4_K or Q5_K, and what is packed from it. */
struct k45 {
    float scale[CHUNK * 8], min[CHUNK * 8], weight[CHUNK * 8];
    float d[CHUNK * 8], dm[CHUNK * 8]; /* as a reader of the packed block will see them */
    uint16_t block_d[CHUNK], block_min[CHUNK];
    uint8_t packed[CHUNK][12];
    uint8_t levels[CHUNK * 256];
    uint8_t zero_scale[CHUNK];
};

struct k6 {
    float scale[CHUNK * 16], d[CHUNK * 16];
    uint16_t block_d[CHUNK];
    int8_t scales[CHUNK][16];
    uint8_t levels[CHUNK * 256];
    uint8_t zero_scale[CHUNK];
};

typedef size_t (*quantize_chunk_fn)(int type, const float *src, void *dst, int64_t start, int64_t rows, int64_t columns,
                                    const float *imatrix);

static inline int nearest_int(float v) {
    float shifted = v + MAGIC;
    int32_t i;
    memcpy(&i, &shifted, sizeof i);
    return (i & 0x007fffff) - 0x00400000;
}

/* IEEE half precision, round half to even; NaN becomes a quiet NaN. */
static uint16_t half_from_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* rounds to 65536 or more */
    if (magnitude < 0x38800000) {                                  /* subnormal: steps of 2^-24 */
        float absolute;
        memcpy(&absolute, &magnitude, sizeof absolute);
        absolute = absolute + 0.5f; /* a float near 0.5 has steps of 2^-24, so this rounds as wanted */
        memcpy(&magnitude, &absolute, sizeof magnitude);
        return (uint16_t)(sign | (magnitude - 0x3f000000));
    }
    magnitude += 0xc8000fff + ((magnitude >> 13) & 1); /* rebias the exponent by -112, round half to even */
    return (uint16_t)(sign | (magnitude >> 13));
}

static float float_from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff, bits;
    float f;
    if (magnitude >= 0x7c00) {
        bits = sign | 0x7f800000 | (magnitude & 0x3ff) << 13;
        memcpy(&f, &bits, sizeof f);
        return f;
    }
    if (magnitude < 0x400) { /* subnormal */
        f = (float)magnitude * 0x1p-24f;
        return sign ? -f : f;
    }
    bits = sign | ((magnitude << 13) + 0x38000000);
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* ggml's make_qp_quants for 8 sub-blocks: levels of the scales (or minima) under the sub-blocks' weights. */
static float weighted_scale_levels(const float *x, uint8_t *levels, const float *weights) {
    const int n = 8, nmax = 63;
    float max = 0;
    for (int i = 0; i < n; i++) max = max > x[i] ? max : x[i];
    if (max < GROUP_MAX_EPS) {
        memset(levels, 0, n);
        return 0.0f;
    }
    float iscale = nmax / max;
    for (int i = 0; i < n; i++) levels[i] = (uint8_t)nearest_int(iscale * x[i]);
    float scale = 1 / iscale, best = 0;
    for (int i = 0; i < n; i++) {
        float diff = x[i] - scale * levels[i];
        best += weights[i] * diff * diff;
    }
    for (int is = -4; is <= 4; is++) {
        if (is == 0) continue;
        float trial = (0.1f * is + nmax) / max, trial_scale = 1 / trial, error = 0;
        for (int i = 0; i < n; i++) {
            int l = nearest_int(trial * x[i]);
            l = l < nmax ? l : nmax;
            float diff = x[i] - trial_scale * l;
            error += weights[i] * diff * diff;
        }
        if (error < best) {
            best = error;
            iscale = trial;
        }
    }
    float sumlx = 0, suml2 = 0;
    for (int i = 0; i < n; i++) {
        int l = nearest_int(iscale * x[i]);
        l = l < nmax ? l : nmax;
        levels[i] = (uint8_t)l;
        sumlx += weights[i] * x[i] * l;
        suml2 += weights[i] * l * l;
    }
    for (int sweep = 0; sweep < 5; sweep++) {
        int changed = 0;
        for (int i = 0; i < n; i++) {
            float w = weights[i];
            float slx = sumlx - w * x[i] * levels[i], sl2 = suml2 - w * levels[i] * levels[i];
            if (!(slx > 0 && sl2 > 0)) continue;
            int l = nearest_int(x[i] * sl2 / slx);
            l = l < nmax ? l : nmax;
            if (l == levels[i]) continue;
            slx += w * x[i] * l;
            sl2 += w * l * l;
            if (slx * slx * suml2 > sumlx * sumlx * sl2) {
                levels[i] = (uint8_t)l;
                sumlx = slx;
                suml2 = sl2;
                changed = 1;
            }
        }
        if (!changed) break;
    }
    return suml2 > 0.0f ? sumlx / suml2 : 0.0f;
}

/* Six-bit scales and minima, and the half-precision super-block scales, of CHUNK super-blocks. */
static void finish_scales_k45(struct k45 *c, int weighted) {
    for (int b = 0; b < CHUNK; b++) {
        const float *scale = c->scale + b * 8, *min = c->min + b * 8;
        uint8_t ls[8], lm[8];
        float d, dm;
        if (weighted) {
            d = weighted_scale_levels(scale, ls, c->weight + b * 8);
            dm = weighted_scale_levels(min, lm, c->weight + b * 8);
        } else {
            float max_scale = 0, max_min = 0;
            for (int j = 0; j < 8; j++) {
                if (scale[j] > max_scale) max_scale = scale[j];
                if (min[j] > max_min) max_min = min[j];
            }
            float inv_scale = max_scale > 0 ? 63.0f / max_scale : 0.0f;
            float inv_min = max_min > 0 ? 63.0f / max_min : 0.0f;
            for (int j = 0; j < 8; j++) {
                ls[j] = (uint8_t)nearest_int(inv_scale * scale[j]);
                lm[j] = (uint8_t)nearest_int(inv_min * min[j]);
                ls[j] = ls[j] < 63 ? ls[j] : 63;
                lm[j] = lm[j] < 63 ? lm[j] : 63;
            }
            d = max_scale / 63.0f;
            dm = max_min / 63.0f;
        }
        uint8_t *p = c->packed[b];
        for (int j = 0; j < 4; j++) {
            p[j] = (uint8_t)(ls[j] | (ls[j + 4] >> 4) << 6);
            p[j + 4] = (uint8_t)(lm[j] | (lm[j + 4] >> 4) << 6);
            p[j + 8] = (uint8_t)((ls[j + 4] & 15) | (lm[j + 4] & 15) << 4);
        }
        c->block_d[b] = half_from_float(d);
        c->block_min[b] = half_from_float(dm);
        float stored_d = float_from_half(c->block_d[b]), stored_min = float_from_half(c->block_min[b]);
        c->zero_scale[b] = 0;
        for (int j = 0; j < 8; j++) {
            c->d[b * 8 + j] = stored_d * ls[j];
            c->dm[b * 8 + j] = stored_min * lm[j];
            c->zero_scale[b] |= c->d[b * 8 + j] == 0.0f;
        }
    }
}

static void finish_scales_k6(struct k6 *c) {
    for (int b = 0; b < CHUNK; b++) {
        const float *scale = c->scale + b * 16;
        float max = 0, max_abs = 0;
        for (int j = 0; j < 16; j++) {
            if (fabsf(scale[j]) > max_abs) {
                max_abs = fabsf(scale[j]);
                max = scale[j];
            }
        }
        c->zero_scale[b] = max_abs < GROUP_MAX_EPS;
        float iscale = -128.0f / max;
        c->block_d[b] = half_from_float(1 / iscale);
        float stored_d = float_from_half(c->block_d[b]);
        for (int j = 0; j < 16; j++) {
            int l = nearest_int(iscale * scale[j]);
            c->scales[b][j] = (int8_t)(l < 127 ? l : 127);
            c->d[b * 16 + j] = stored_d * c->scales[b][j];
            c->zero_scale[b] |= c->d[b * 16 + j] == 0.0f;
        }
    }
}

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

#define NAME(f) JOIN(f, base)
#define VECTOR_BYTES 16
#define UNROLL 4
#include "_kernels_lanes.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define NAME(f) JOIN(f, avx2)
#define VECTOR_BYTES 32
#define UNROLL 4
#include "_kernels_lanes.h"
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#endif
#define NAME(f) JOIN(f, avx512)
#define VECTOR_BYTES 64
#define UNROLL 2
#include "_kernels_lanes.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

enum level { BASELINE, AVX2, AVX512 };

/* The best instruction set that this CPU (and operating system) has: an enum level. */
int localqwen_cpu_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return AVX512;
    if (__builtin_cpu_supports("avx2")) return AVX2;
#endif
    return BASELINE;
}

static void chunk_k45(int level, const float *x, const float *imatrix, struct search s, struct k45 *c) {
#if defined(__x86_64__)
    if (level == AVX512) {
        chunk_k45_avx512(x, imatrix, s, c);
        return;
    }
    if (level == AVX2) {
        chunk_k45_avx2(x, imatrix, s, c);
        return;
    }
#endif
    chunk_k45_base(x, imatrix, s, c);
}

static void chunk_k6(int level, const float *x, const float *imatrix, struct k6 *c) {
#if defined(__x86_64__)
    if (level == AVX512) {
        chunk_k6_avx512(x, imatrix, c);
        return;
    }
    if (level == AVX2) {
        chunk_k6_avx2(x, imatrix, c);
        return;
    }
#endif
    chunk_k6_base(x, imatrix, c);
}

/* Block layouts: struct block_q4_K (144 bytes), block_q5_K (176) and block_q6_K (210) of ggml-common.h. */

static void pack_q4(uint8_t *restrict dst, const struct k45 *c, int b) {
    const uint8_t *restrict levels = c->levels + b * 256;
    memcpy(dst, &c->block_d[b], 2);
    memcpy(dst + 2, &c->block_min[b], 2);
    memcpy(dst + 4, c->packed[b], 12);
    for (int j = 0; j < 4; j++)
        for (int l = 0; l < 32; l++)
            dst[16 + j * 32 + l] = (uint8_t)(levels[j * 64 + l] | levels[j * 64 + 32 + l] << 4);
}

static void pack_q5(uint8_t *restrict dst, const struct k45 *c, int b) {
    const uint8_t *restrict levels = c->levels + b * 256;
    memcpy(dst, &c->block_d[b], 2);
    memcpy(dst + 2, &c->block_min[b], 2);
    memcpy(dst + 4, c->packed[b], 12);
    uint8_t *high = dst + 16, *low = dst + 48;
    memset(high, 0, 32);
    for (int j = 0; j < 4; j++)
        for (int l = 0; l < 32; l++) {
            uint8_t first = levels[j * 64 + l], second = levels[j * 64 + 32 + l];
            low[j * 32 + l] = (uint8_t)((first & 15) | (second & 15) << 4);
            high[l] |= (uint8_t)((first >> 4 | (second >> 4) << 1) << 2 * j);
        }
}

static void pack_q6(uint8_t *restrict dst, const struct k6 *c, int b) {
    for (int j = 0; j < 2; j++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *q = c->levels + b * 256 + j * 128 + l;
            dst[j * 64 + l] = (uint8_t)((q[0] & 15) | (q[64] & 15) << 4);
            dst[j * 64 + 32 + l] = (uint8_t)((q[32] & 15) | (q[96] & 15) << 4);
            dst[128 + j * 32 + l] = (uint8_t)(q[0] >> 4 | (q[32] >> 4) << 2 | (q[64] >> 4) << 4 | (q[96] >> 4) << 6);
        }
    memcpy(dst + 192, c->scales[b], 16);
    memcpy(dst + 208, &c->block_d[b], 2);
}

enum ggml_type { GGML_TYPE_Q4_K = 12, GGML_TYPE_Q5_K = 13, GGML_TYPE_Q6_K = 14 };

/* Quantize rows * columns floats (columns a multiple of 256) to type at dst, as ggml_quantize_chunk does.
 *
 * imatrix: columns floats, or NULL. level: at most what localqwen_cpu_level() returns. fallback: ggml_quantize_chunk.
 * Returns the number of super-blocks that were handed to fallback, or -1 for a type that is not done here. Touches no
 * shared state, so threads may call it at the same time. */
int64_t localqwen_quantize(int type, const float *src, uint8_t *dst, int64_t rows, int64_t columns,
                           const float *imatrix, int level, quantize_chunk_fn fallback) {
    size_t size = type == GGML_TYPE_Q4_K ? 144 : type == GGML_TYPE_Q5_K ? 176 : type == GGML_TYPE_Q6_K ? 210 : 0;
    if (!size || columns % 256) return -1;
    struct search s;
    if (imatrix)
        s = (struct search){type == GGML_TYPE_Q4_K ? 15 : 31, -0.9f, 0.05f, 36};
    else if (type == GGML_TYPE_Q4_K)
        s = (struct search){15, -1.0f, 0.1f, 20};
    else
        s = (struct search){31, -0.5f, 0.1f, 15};
    int64_t per_row = columns / 256, total = rows * per_row, handed_over = 0;
    float x[CHUNK * 256], w[CHUNK * 256];
    union {
        struct k45 k45;
        struct k6 k6;
    } c;
    for (int64_t first = 0; first < total; first += CHUNK) {
        int count = total - first < CHUNK ? (int)(total - first) : CHUNK;
        const float *in = src + first * 256;
        if (count < CHUNK) { /* the last ones are filled up with a copy, whose result is dropped */
            for (int b = 0; b < CHUNK; b++) memcpy(x + b * 256, in + (b < count ? b : 0) * 256, 256 * sizeof *x);
            in = x;
        }
        if (imatrix)
            for (int b = 0; b < CHUNK; b++)
                memcpy(w + b * 256, imatrix + (first + b) % per_row * 256, 256 * sizeof *w);
        const uint8_t *zero_scale;
        if (type == GGML_TYPE_Q6_K) {
            chunk_k6(level, in, imatrix ? w : NULL, &c.k6);
            zero_scale = c.k6.zero_scale;
        } else {
            chunk_k45(level, in, imatrix ? w : NULL, s, &c.k45);
            zero_scale = c.k45.zero_scale;
        }
        for (int b = 0; b < count; b++) {
            uint8_t *block = dst + (first + b) * size;
            if (zero_scale[b]) {
                fallback(type, src + (first + b) * 256, block, 0, 1, 256, imatrix ? w + b * 256 : NULL);
                handed_over++;
            } else if (type == GGML_TYPE_Q4_K)
                pack_q4(block, &c.k45, b);
            else if (type == GGML_TYPE_Q5_K)
                pack_q5(block, &c.k45, b);
            else
                pack_q6(block, &c.k6, b);
        }
    }
    return handed_over;
}

/* Never called: the package's build wants an extension module's entry point, and Python's headers, which not every
 * machine has, are not needed for it. The functions above are called through ctypes, which releases the GIL. */
void *PyInit__kernels(void) { return NULL; }
