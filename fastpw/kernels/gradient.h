/* What the backward pass fuses: dz = dy * act'(z), and sums over pixels. */
#ifndef FASTPW_GRADIENT_H
#define FASTPW_GRADIENT_H

#include "kernel_set.h"
#include "vec.h"
#include "vec_math.h"

/* s is y or z, as fastpw/activations.py says for each. */
INLINE vec derivative(vec s, const int activation, vec alpha, vec beta)
{
    switch (activation) {
    case FASTPW_RELU: return grad_relu(s);
    case FASTPW_CLIP: return grad_clip(s, alpha, beta);
    case FASTPW_LEAKY_RELU: return grad_leaky_relu(s, alpha);
    case FASTPW_HARD_SIGMOID: return grad_hard_sigmoid(s);
    case FASTPW_HARD_SWISH: return grad_hard_swish(s);
    case FASTPW_SIGMOID: return grad_sigmoid(s);
    case FASTPW_TANH: return grad_tanh(s);
    case FASTPW_SILU: return grad_silu(s);
    case FASTPW_GELU: return grad_gelu(s);
    case FASTPW_GELU_TANH: return grad_gelu_tanh(s);
    default: return vec_set(1);
    }
}

INLINE void gradient_rows(const int activation, const fastpw_gradient *g)
{
    const vec alpha = vec_set((real)g->epilogue->alpha), beta = vec_set((real)g->epilogue->beta);
    const vec_lanes rest = vec_first(g->n % LANES);
    for (ptrdiff_t i = 0; i < g->m; i++) {
        const char *dy = g->dy + i * g->lddy, *s = g->s + i * g->lds;
        char *dz = g->dz + i * g->lddz;
        ptrdiff_t j = g->n;
        for (; j >= LANES; j -= LANES, dy += VEC_BYTES, s += VEC_BYTES, dz += VEC_BYTES)
            vec_store(dz, vec_load(dy) * derivative(vec_load(s), activation, alpha, beta));
        if (j) {
            const vec d = derivative(vec_load_lanes(s, rest), activation, alpha, beta);
            vec_store_lanes(dz, vec_load_lanes(dy, rest) * d, rest);
        }
    }
}

static void gradient(const fastpw_gradient *g)
{
#define CASE(activation) case activation: gradient_rows(activation, g); break
    switch (g->epilogue->activation) {
        CASE(FASTPW_RELU);
        CASE(FASTPW_CLIP);
        CASE(FASTPW_LEAKY_RELU);
        CASE(FASTPW_HARD_SIGMOID);
        CASE(FASTPW_HARD_SWISH);
        CASE(FASTPW_SIGMOID);
        CASE(FASTPW_TANH);
        CASE(FASTPW_SILU);
        CASE(FASTPW_GELU);
        CASE(FASTPW_GELU_TANH);
    default:
        for (ptrdiff_t i = 0; i < g->m; i++)
            memcpy(g->dz + i * g->lddz, g->dy + i * g->lddy, (size_t)g->n * sizeof(real));
    }
#undef CASE
}

/* Down the rows with a few vectors of sums in registers. */
INLINE void sum_columns(const int vectors, ptrdiff_t m, const char *a, ptrdiff_t lda, const char *b, ptrdiff_t ldb,
                        char *sums, vec_lanes last)
{
    vec total[4];
    UNROLL for (int v = 0; v < vectors; v++) total[v] = (vec){0};
    for (ptrdiff_t i = 0; i < m; i++, a += lda) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const int at = v * VEC_BYTES, whole = v + 1 < vectors;
            const vec x = whole ? vec_load(a + at) : vec_load_lanes(a + at, last);
            if (b)
                total[v] += x * (whole ? vec_load(b + at) : vec_load_lanes(b + at, last));
            else
                total[v] += x;
        }
        if (b) b += ldb;
    }
    UNROLL for (int v = 0; v < vectors; v++) {
        char *to = sums + v * VEC_BYTES;
        if (v + 1 < vectors)
            vec_store(to, vec_load(to) + total[v]);
        else
            vec_store_lanes(to, vec_load_lanes(to, last) + total[v], last);
    }
}

static void column_sums(ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, const char *b, ptrdiff_t ldb,
                        char *sums)
{
    const vec_lanes all = vec_first(LANES);
    const ptrdiff_t step = 4 * VEC_BYTES;
    for (; n >= 4 * LANES; n -= 4 * LANES, a += step, sums += step) {
        sum_columns(4, m, a, lda, b, ldb, sums, all);
        if (b) b += step;
    }
    for (; n > 0; n -= LANES, a += VEC_BYTES, sums += VEC_BYTES) {
        sum_columns(1, m, a, lda, b, ldb, sums, vec_first(n));
        if (b) b += VEC_BYTES;
    }
}

#endif
