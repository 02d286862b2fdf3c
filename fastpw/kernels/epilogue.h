/* What happens to a tile before its store: bias, residual, activation.
 *
 * The cheap activations are applied to the accumulators.  The others would
 * need the registers for their polynomials: they run over the tile right after
 * its store, while it is in the first-level cache.
 */
#ifndef FASTPW_EPILOGUE_H
#define FASTPW_EPILOGUE_H

#include "kernel_set.h"
#include "vec.h"
#include "vec_math.h"

#define MAX_VECTORS 2                       /* across the widest tile */

typedef vec tile_row[MAX_VECTORS];

/* `whole` vectors are known to have all their columns; the others have the
 * columns below n. */
INLINE vec load_columns(const char *p, int v, int whole, ptrdiff_t n)
{
    p += v * VEC_BYTES;
    return v < whole ? vec_load(p) : vec_load_lanes(p, vec_first(n - v * LANES));
}

INLINE void store_columns(char *p, vec value, int v, int whole, ptrdiff_t n)
{
    p += v * VEC_BYTES;
    if (v < whole)
        vec_store(p, value);
    else
        vec_store_lanes(p, value, vec_first(n - v * LANES));
}

INLINE void load_rows(const int rows, const int vectors, const int whole, tile_row *t, const char *p, ptrdiff_t ld,
                      ptrdiff_t n)
{
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) t[i][v] += load_columns(p + i * ld, v, whole, n);
}

INLINE void store_rows(const int rows, const int vectors, const int whole, const tile_row *t, char *p, ptrdiff_t ld,
                       ptrdiff_t n)
{
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) store_columns(p + i * ld, t[i][v], v, whole, n);
}

/* Vectors that need no mask when the panel is full; none where masks are free,
 * which spares the second path. */
INLINE int whole_vectors(const int columns) { return VEC_MASK_IS_FREE ? 0 : columns / LANES; }

INLINE void add_rows(const int rows, const int columns, tile_row *t, const char *p, ptrdiff_t ld, ptrdiff_t n)
{
    const int vectors = (columns + LANES - 1) / LANES;
    if (n == columns)
        load_rows(rows, vectors, whole_vectors(columns), t, p, ld, columns);
    else
        load_rows(rows, vectors, 0, t, p, ld, n);
}

INLINE void put_rows(const int rows, const int columns, const tile_row *t, char *p, ptrdiff_t ld, ptrdiff_t n)
{
    const int vectors = (columns + LANES - 1) / LANES;
    if (n == columns)
        store_rows(rows, vectors, whole_vectors(columns), t, p, ld, columns);
    else
        store_rows(rows, vectors, 0, t, p, ld, n);
}

INLINE vec activate(vec z, const int activation, vec alpha, vec beta)
{
    switch (activation) {
    case FASTPW_RELU: return vec_max(z, (vec){0});
    case FASTPW_CLIP: return vec_min(vec_max(z, alpha), beta);
    case FASTPW_LEAKY_RELU: return act_leaky_relu(z, alpha);
    case FASTPW_HARD_SIGMOID: return act_hard_sigmoid(z);
    case FASTPW_HARD_SWISH: return act_hard_swish(z);
    case FASTPW_SIGMOID: return act_sigmoid(z);
    case FASTPW_TANH: return act_tanh(z);
    case FASTPW_SILU: return act_silu(z);
    case FASTPW_GELU: return act_gelu(z);
    case FASTPW_GELU_TANH: return act_gelu_tanh(z);
    default: return z;
    }
}

INLINE int is_cheap(int activation) { return activation <= FASTPW_CLIP; }

INLINE void activate_registers(const int rows, const int vectors, const int activation, tile_row *t,
                               const fastpw_epilogue *e)
{
    const vec alpha = vec_set((real)e->alpha), beta = vec_set((real)e->beta);
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) t[i][v] = activate(t[i][v], activation, alpha, beta);
}

INLINE void activate_stored(const int activation, ptrdiff_t m, ptrdiff_t n, char *c, ptrdiff_t ldc,
                            const fastpw_epilogue *e)
{
    const vec alpha = vec_set((real)e->alpha), beta = vec_set((real)e->beta);
    for (ptrdiff_t i = 0; i < m; i++, c += ldc) {
        ptrdiff_t j = 0;
        for (; j + LANES <= n; j += LANES) {
            char *p = c + j * (ptrdiff_t)sizeof(real);
            vec_store(p, activate(vec_load(p), activation, alpha, beta));
        }
        if (j < n) {
            char *p = c + j * (ptrdiff_t)sizeof(real);
            const vec_lanes lanes = vec_first(n - j);
            vec_store_lanes(p, activate(vec_load_lanes(p, lanes), activation, alpha, beta), lanes);
        }
    }
}

/* act(C) in place, for the activations that are not cheap. */
NOINLINE void activate_memory(ptrdiff_t m, ptrdiff_t n, char *c, ptrdiff_t ldc, const fastpw_epilogue *e)
{
#define CASE(activation) case activation: activate_stored(activation, m, n, c, ldc, e); break
    switch (e->activation) {
        CASE(FASTPW_LEAKY_RELU);
        CASE(FASTPW_HARD_SIGMOID);
        CASE(FASTPW_HARD_SWISH);
        CASE(FASTPW_SIGMOID);
        CASE(FASTPW_TANH);
        CASE(FASTPW_SILU);
        CASE(FASTPW_GELU);
        CASE(FASTPW_GELU_TANH);
    }
#undef CASE
}

/* The accumulators' beginning, added to t: bias and residual, or the partial
 * sums in C.  The residual is read here, before anything is stored, so that it
 * may be the output itself. */
INLINE void tile_begin(const int rows, const int columns, tile_row *t, const fastpw_block *b, const char *c,
                       const char *residual)
{
    if (b->entry == FASTPW_FROM_C) {
        add_rows(rows, columns, t, c, b->ldc, b->n);
        return;
    }
    const real *bias = (const real *)b->panel;
    UNROLL for (int v = 0; v < (columns + LANES - 1) / LANES; v++) {
        const vec head = load_columns((const char *)bias, v, columns / LANES, columns);
        UNROLL for (int i = 0; i < rows; i++) t[i][v] += head;
    }
    if (residual) add_rows(rows, columns, t, residual, b->ldr, b->n);
}

INLINE void tile_end(const int rows, const int columns, tile_row *t, const fastpw_block *b, char *c, char *z)
{
    const int vectors = (columns + LANES - 1) / LANES;
    const fastpw_epilogue *e = b->epilogue;
    if (z) put_rows(rows, columns, t, z, b->ldz, b->n);
    if (e->activation == FASTPW_RELU)
        activate_registers(rows, vectors, FASTPW_RELU, t, e);
    else if (e->activation == FASTPW_CLIP)
        activate_registers(rows, vectors, FASTPW_CLIP, t, e);
    put_rows(rows, columns, t, c, b->ldc, b->n);
    if (!is_cheap(e->activation)) activate_memory(rows, b->n, c, b->ldc, e);
}

#endif
