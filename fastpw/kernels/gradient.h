/* What the backward pass computes in one go: dz = dy * act'(z), and sums over pixels. */
#ifndef FASTPW_GRADIENT_H
#define FASTPW_GRADIENT_H

#include "kernel_set.h"
#include "vec_lanes.h"
#include "vec_math.h"

/* act'(z), from s, which is y or z as the table of activations says. */
INLINE vec derivative(vec s, const int activation, vec alpha, vec beta)
{
#define CASE(NAME, reads, act, slope) case FASTPW_##NAME: return slope;
    switch (activation) { FASTPW_ACTIVATIONS(CASE) }
#undef CASE
    __builtin_unreachable();
}

/* Adds one row to the sums: a row of a, or of its products with b.  The row has whole vectors, or some lanes of one. */
INLINE void sum_row(const int vectors, const int whole, const int products, vec *total, const char *a, const char *b,
                    vec_lanes lanes)
{
#define LOAD(p) (whole ? vec_load(p) : vec_load_lanes(p, lanes))
    UNROLL for (int v = 0; v < vectors; v++) {
        const int at = v * VEC_BYTES;
        total[v] += products ? LOAD(a + at) * LOAD(b + at) : LOAD(a + at);
    }
#undef LOAD
}

/* So many vectors of columns are summed together, because their additions need not wait for each other. */
enum { SUM_VECTORS = 4 };

/* Adds what one pass summed to the sums in memory. Only the last vector may have fewer than all lanes. */
INLINE void add_totals(const int vectors, const int whole, const vec *total, char *sums, vec_lanes lanes)
{
    UNROLL for (int v = 0; v < vectors; v++) {
        char *to = sums + v * VEC_BYTES;
        if (whole || v < vectors - 1)
            vec_store(to, vec_load(to) + total[v]);
        else
            vec_store_lanes(to, vec_load_lanes(to, lanes) + total[v], lanes);
    }
}

INLINE void sum_columns(const int vectors, const int whole, const int products, ptrdiff_t m, const char *a,
                        ptrdiff_t lda, const char *b, ptrdiff_t ldb, char *sums, vec_lanes lanes)
{
    vec total[SUM_VECTORS] = {0};
    for (; m > 0; m--, a += lda, b += ldb) sum_row(vectors, whole, products, total, a, b, lanes);
    add_totals(vectors, whole, total, sums, lanes);
}

INLINE void sum_all_columns(const int products, ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, const char *b,
                            ptrdiff_t ldb, char *sums)
{
    for (int vectors; n > 0; n -= vectors * LANES) {
        const vec_lanes lanes = vec_first(n);
        vectors = n >= SUM_VECTORS * LANES ? SUM_VECTORS : 1;
        if (vectors == SUM_VECTORS)
            sum_columns(SUM_VECTORS, 1, products, m, a, lda, b, ldb, sums, lanes);
        else if (n >= LANES)
            sum_columns(1, 1, products, m, a, lda, b, ldb, sums, lanes);
        else
            sum_columns(1, 0, products, m, a, lda, b, ldb, sums, lanes);
        a += vectors * VEC_BYTES, b += vectors * VEC_BYTES, sums += vectors * VEC_BYTES;
    }
}

static void column_sums(ptrdiff_t m, ptrdiff_t n, const char *a, ptrdiff_t lda, const char *b, ptrdiff_t ldb,
                        char *sums)
{
    if (b)
        sum_all_columns(1, m, n, a, lda, b, ldb, sums);
    else
        sum_all_columns(0, m, n, a, lda, a, lda, sums);
}

/* dz row by row. g.s is NULL for an activation whose slope reads nothing. */
INLINE void gradient_rows(const int activation, const int reads, const fastpw_gradient_args *gradient)
{
#define SLOPES(s) derivative(reads ? (s) : vec_set(0), activation, alpha, beta)
    const fastpw_gradient_args g = *gradient;         /* a copy, which the stores below cannot change */
    const vec alpha = vec_set((real)g.epilogue->alpha), beta = vec_set((real)g.epilogue->beta);
    const vec_lanes rest = vec_first(g.n % LANES);
    for (ptrdiff_t i = 0; i < g.m; i++) {
        const char *dy = g.dy + i * g.lddy, *s = g.s + i * g.lds;
        char *dz = g.dz + i * g.lddz;
        ptrdiff_t j = g.n;
        for (; j >= LANES; j -= LANES, dy += VEC_BYTES, s += VEC_BYTES, dz += VEC_BYTES)
            vec_store(dz, vec_load(dy) * SLOPES(vec_load(s)));
        if (j) vec_store(dz, vec_load_lanes(dy, rest) * SLOPES(vec_load_lanes(s, rest)));
    }
#undef SLOPES
}

/* relu's dz and its sums in one pass, for rows of few vectors: their sums stay in registers. */
INLINE void gradient_of_narrow_rows(const int vectors, const int whole, const fastpw_gradient_args *gradient)
{
    const fastpw_gradient_args g = *gradient;
    const vec_lanes rest = vec_first(g.n - (vectors - 1) * LANES);
    const char *dy = g.dy, *s = g.s;
    char *dz = g.dz;
    vec total[SUM_VECTORS] = {0};
#define LOAD(p, v) (whole || v < vectors - 1 ? vec_load(p + v * VEC_BYTES) : vec_load_lanes(p + v * VEC_BYTES, rest))
    for (ptrdiff_t i = 0; i < g.m; i++, dy += g.lddy, s += g.lds, dz += g.lddz)
        UNROLL for (int v = 0; v < vectors; v++) {
            const vec z = LOAD(dy, v) * grad_relu(LOAD(s, v));
            vec_store(dz + v * VEC_BYTES, z);
            total[v] += z;
        }
    add_totals(vectors, whole, total, g.sums, rest);
#undef LOAD
}

INLINE void gradient_of_few_columns(const fastpw_gradient_args *g)
{
    const int whole = g->n % LANES == 0;
#define NARROW(vectors)                                                                                \
    case vectors:                                                                                      \
        if (whole) gradient_of_narrow_rows(vectors, 1, g);                                             \
        else gradient_of_narrow_rows(vectors, 0, g);                                                   \
        break
    switch ((g->n + LANES - 1) / LANES) {
        NARROW(1);
        NARROW(2);
        NARROW(3);
        NARROW(4);
    }
#undef NARROW
}

static void gradient(const fastpw_gradient_args *g)
{
    if (g->epilogue->activation == FASTPW_RELU && g->sums && g->n <= SUM_VECTORS * LANES) {
        gradient_of_few_columns(g);
        return;
    }
#define CASE(NAME, reads, act, slope)                                                                  \
    case FASTPW_##NAME: gradient_rows(FASTPW_##NAME, FASTPW_READS_##reads != FASTPW_READS_NOTHING, g); break;
    switch (g->epilogue->activation) { FASTPW_ACTIVATIONS(CASE) }
#undef CASE
    if (g->sums) column_sums(g->m, g->n, g->dz, g->lddz, NULL, 0, g->sums);
}

#endif
