/* The K-quant searches for one vector width; _kernels.c includes this once per instruction set.
 *
 * Wants: NAME(f) (decorates a name), VECTOR_BYTES (16, 32 or 64), UNROLL (vectors worked on side by side, which hides
 * the latency of the sums). One SIMD lane is one sub-block; a "pack" is UNROLL vectors, PACK lanes.
 */

#define LANES (VECTOR_BYTES / 4)
#define PACK (LANES * UNROLL)

#define vf NAME(vf)
#define vi NAME(vi)
typedef float vf __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES)));

/* Lane loops that compilers turn into one instruction; C has no operator for them on vectors. */
#define LANE_LOOP for (int k = 0; k < LANES; k++)

static inline vf NAME(select_f)(vi mask, vf yes, vf no) {
    vf r;
    LANE_LOOP r[k] = mask[k] ? yes[k] : no[k];
    return r;
}

static inline vf NAME(sqrt_f)(vf a) {
    vf r;
    LANE_LOOP r[k] = __builtin_sqrtf(a[k]);
    return r;
}

static inline vf NAME(abs_f)(vf a) { return (vf)((vi)a & 0x7fffffff); }

static inline vf NAME(all)(float a) { return a - (vf){0}; }

/* ggml's nearest_int (round half to even by adding 1.5 * 2^23), then a clamp: the same integer operations, so that
 * even infinities and NaN become what they become there. */
static inline vi NAME(nearest)(vf v, int low, int high) {
    vi i = ((vi)(v + MAGIC) & 0x007fffff) - 0x00400000;
    LANE_LOOP i[k] = i[k] < high ? i[k] : high;
    LANE_LOOP i[k] = i[k] > low ? i[k] : low;
    return i;
}

static inline vf NAME(to_float)(vi i) { return __builtin_convertvector(i, vf); }

#define select_f NAME(select_f)
#define sqrt_f NAME(sqrt_f)
#define abs_f NAME(abs_f)
#define all NAME(all)
#define nearest NAME(nearest)
#define to_float NAME(to_float)
#define EACH for (int u = 0; u < UNROLL; u++)

/* Transpose PACK sub-blocks of n floats: element l of sub-block k goes to lane k of row l. */
static inline void NAME(load)(int n, const float *src, vf (*restrict rows)[UNROLL]) {
    float *restrict out = (float *)rows;
    for (int k = 0; k < PACK; k++)
        for (int l = 0; l < n; l++) out[l * PACK + k] = src[k * n + l];
}

/* Scale and minimum of sub-blocks of 32 for Q4_K and Q5_K: ggml's make_qkx2_quants and make_qkx3_quants, which differ
 * only in their parameters. x and w are [32][UNROLL]; scale and the_min receive one float per lane. */
static inline void NAME(search_scale_and_min)(vf (*restrict x)[UNROLL], vf (*restrict w)[UNROLL], struct search s,
                                              float *restrict scale_out, float *restrict min_out) {
    vf min[UNROLL], max[UNROLL], sum_w[UNROLL], sum_x[UNROLL], scale[UNROLL], best[UNROLL];
    vi flat[UNROLL];
    EACH {
        min[u] = max[u] = x[0][u];
        sum_w[u] = w[0][u];
        sum_x[u] = w[0][u] * x[0][u];
    }
    for (int l = 1; l < 32; l++) EACH {
        min[u] = select_f(x[l][u] < min[u], x[l][u], min[u]);
        max[u] = select_f(x[l][u] > max[u], x[l][u], max[u]);
        sum_w[u] += w[l][u];
        sum_x[u] += w[l][u] * x[l][u];
    }
    EACH {
        min[u] = select_f(min[u] > 0.0f, all(0.0f), min[u]);
        flat[u] = max[u] <= min[u];
        scale[u] = select_f(flat[u], all(0.0f), 1.0f / ((float)s.nmax / (max[u] - min[u])));
        best[u] = all(0.0f);
    }
    vf flat_min[UNROLL], iscale[UNROLL];
    EACH {
        flat_min[u] = min[u];
        iscale[u] = (float)s.nmax / (max[u] - min[u]);
    }
    for (int l = 0; l < 32; l++) EACH {
        vf q = to_float(nearest(iscale[u] * (x[l][u] - min[u]), 0, s.nmax));
        vf diff = scale[u] * q + min[u] - x[l][u];
        best[u] += w[l][u] * (diff * diff);
    }
    vf levels[32][UNROLL];
    for (int step = 0; step <= s.nstep; step++) {
        float numerator = s.rmin + s.rdelta * step + s.nmax;
        vf sum_l[UNROLL], sum_l2[UNROLL], sum_xl[UNROLL], error[UNROLL], new_scale[UNROLL], new_min[UNROLL];
        vi solvable[UNROLL];
        EACH {
            iscale[u] = numerator / (max[u] - min[u]);
            sum_l[u] = sum_l2[u] = sum_xl[u] = error[u] = all(0.0f);
        }
        for (int l = 0; l < 32; l++) EACH {
            vf q = to_float(nearest(iscale[u] * (x[l][u] - min[u]), 0, s.nmax));
            levels[l][u] = q;
            vf wq = w[l][u] * q;
            sum_l[u] += wq;
            sum_l2[u] += wq * q;
            sum_xl[u] += wq * x[l][u];
        }
        EACH {
            vf D = sum_w[u] * sum_l2[u] - sum_l[u] * sum_l[u];
            solvable[u] = D > 0.0f;
            vf this_scale = (sum_w[u] * sum_xl[u] - sum_x[u] * sum_l[u]) / D;
            vf this_min = (sum_l2[u] * sum_x[u] - sum_l[u] * sum_xl[u]) / D;
            vi positive = this_min > 0.0f;
            new_min[u] = select_f(positive, all(0.0f), this_min);
            new_scale[u] = select_f(positive, sum_xl[u] / sum_l2[u], this_scale);
        }
        for (int l = 0; l < 32; l++) EACH {
            vf diff = new_scale[u] * levels[l][u] + new_min[u] - x[l][u];
            error[u] += w[l][u] * (diff * diff);
        }
        EACH {
            vi better = solvable[u] & (error[u] < best[u]);
            best[u] = select_f(better, error[u], best[u]);
            scale[u] = select_f(better, new_scale[u], scale[u]);
            min[u] = select_f(better, new_min[u], min[u]);
        }
    }
    EACH {
        vf s_out = select_f(flat[u], all(0.0f), scale[u]);
        vf m_out = -select_f(flat[u], flat_min[u], min[u]);
        LANE_LOOP {
            scale_out[u * LANES + k] = s_out[k];
            min_out[u * LANES + k] = m_out[k];
        }
    }
}

/* Scale of sub-blocks of 16 for Q6_K: ggml's make_qx_quants with nmax 32 and rmse_type 1. */
static inline void NAME(search_scale)(vf (*restrict x)[UNROLL], vf (*restrict w)[UNROLL], float *restrict scale_out) {
    vf max[UNROLL], amax[UNROLL], sumlx[UNROLL], suml2[UNROLL], scale[UNROLL], best[UNROLL], iscale[UNROLL];
    vf wx[16][UNROLL];
    EACH max[u] = amax[u] = all(0.0f);
    for (int l = 0; l < 16; l++) EACH {
        vf ax = abs_f(x[l][u]);
        vi larger = ax > amax[u];
        amax[u] = select_f(larger, ax, amax[u]);
        max[u] = select_f(larger, x[l][u], max[u]);
        wx[l][u] = w[l][u] * x[l][u];
    }
    for (int is = -10; is <= 9; is++) {
        /* The first round (is -10) is ggml's start with -nmax / max; round 0 is left out, as there. */
        if (is == 0) continue;
        float numerator = is == -10 ? -32.0f : -(32 + 0.1f * is);
        EACH {
            iscale[u] = numerator / max[u];
            sumlx[u] = suml2[u] = all(0.0f);
        }
        for (int l = 0; l < 16; l++) EACH {
            vf q = to_float(nearest(iscale[u] * x[l][u], -32, 31));
            sumlx[u] += wx[l][u] * q;
            suml2[u] += (w[l][u] * q) * q;
        }
        EACH {
            vf ratio = sumlx[u] / suml2[u];
            if (is == -10) {
                scale[u] = select_f(suml2[u] != 0.0f, ratio, all(0.0f));
                best[u] = scale[u] * sumlx[u];
            } else {
                vi better = (suml2[u] > 0.0f) & (sumlx[u] * sumlx[u] > best[u] * suml2[u]);
                scale[u] = select_f(better, ratio, scale[u]);
                best[u] = select_f(better, scale[u] * sumlx[u], best[u]);
            }
        }
    }
    EACH {
        vf out = select_f(amax[u] < GROUP_MAX_EPS, all(0.0f), scale[u]);
        LANE_LOOP scale_out[u * LANES + k] = out[k];
    }
}

/* Quantize n elements of PACK sub-blocks with their final scale and minimum: levels is [PACK][n] bytes. */
static inline void NAME(final_levels)(int n, vf (*restrict x)[UNROLL], const float *d, const float *dm, int low, int high,
                                      int bias, uint8_t *restrict levels) {
    vf vd[UNROLL], vm[UNROLL];
    memcpy(vd, d, sizeof vd);
    memcpy(vm, dm, sizeof vm);
    for (int l = 0; l < n; l++) EACH {
        vi q = nearest((x[l][u] + vm[u]) / vd[u], low, high) + bias;
        LANE_LOOP levels[l * PACK + u * LANES + k] = (uint8_t)q[k];
    }
}

/* CHUNK super-blocks of Q4_K or Q5_K; x has CHUNK * 256 floats; imatrix (or NULL) likewise. */
static void NAME(chunk_k45)(const float *x, const float *imatrix, struct search s, struct k45 *restrict out) {
    vf rows[32][UNROLL], weights[32][UNROLL];
    float sigma2[CHUNK * 8];
    if (imatrix) {
        float sums[CHUNK] = {0};
        for (int l = 0; l < 256; l++)
            for (int b = 0; b < CHUNK; b++) sums[b] += x[b * 256 + l] * x[b * 256 + l];
        for (int k = 0; k < CHUNK * 8; k++) sigma2[k] = 2 * sums[k / 8] / 256;
    }
    for (int first = 0; first < CHUNK * 8; first += PACK) {
        NAME(load)(32, x + first * 32, rows);
        if (imatrix) {
            NAME(load)(32, imatrix + first * 32, weights);
            vf s2[UNROLL], sum_w[UNROLL];
            memcpy(s2, sigma2 + first, sizeof s2);
            EACH sum_w[u] = all(0.0f);
            for (int l = 0; l < 32; l++) EACH {
                weights[l][u] *= sqrt_f(s2[u] + rows[l][u] * rows[l][u]);
                sum_w[u] += weights[l][u];
            }
            memcpy(out->weight + first, sum_w, sizeof sum_w);
        } else {
            vf sum_x2[UNROLL];
            EACH sum_x2[u] = all(0.0f);
            for (int l = 0; l < 32; l++) EACH sum_x2[u] += rows[l][u] * rows[l][u];
            EACH sum_x2[u] = sqrt_f(sum_x2[u] / 32.0f);
            for (int l = 0; l < 32; l++) EACH weights[l][u] = sum_x2[u] + abs_f(rows[l][u]);
        }
        NAME(search_scale_and_min)(rows, weights, s, out->scale + first, out->min + first);
    }
    finish_scales_k45(out, imatrix != NULL);
    for (int first = 0; first < CHUNK * 8; first += PACK) {
        NAME(load)(32, x + first * 32, rows);
        uint8_t levels[32 * PACK];
        NAME(final_levels)(32, rows, out->d + first, out->dm + first, 0, s.nmax, 0, levels);
        for (int k = 0; k < PACK; k++)
            for (int l = 0; l < 32; l++) out->levels[(first + k) * 32 + l] = levels[l * PACK + k];
    }
}

/* CHUNK super-blocks of Q6_K. */
static void NAME(chunk_k6)(const float *x, const float *imatrix, struct k6 *restrict out) {
    vf rows[16][UNROLL], weights[16][UNROLL];
    static const float zero[PACK];
    for (int first = 0; first < CHUNK * 16; first += PACK) {
        NAME(load)(16, x + first * 16, rows);
        if (imatrix)
            NAME(load)(16, imatrix + first * 16, weights);
        else
            for (int l = 0; l < 16; l++) EACH weights[l][u] = rows[l][u] * rows[l][u];
        NAME(search_scale)(rows, weights, out->scale + first);
    }
    finish_scales_k6(out);
    for (int first = 0; first < CHUNK * 16; first += PACK) {
        NAME(load)(16, x + first * 16, rows);
        uint8_t levels[16 * PACK];
        NAME(final_levels)(16, rows, out->d + first, zero, -32, 31, 32, levels);
        for (int k = 0; k < PACK; k++)
            for (int l = 0; l < 16; l++) out->levels[(first + k) * 16 + l] = levels[l * PACK + k];
    }
}

#undef LANES
#undef PACK
#undef vf
#undef vi
#undef LANE_LOOP
#undef EACH
#undef select_f
#undef sqrt_f
#undef abs_f
#undef all
#undef nearest
#undef to_float
#undef NAME
#undef VECTOR_BYTES
#undef UNROLL
