/* Panels.  A panel holds the columns of B that a tile reads together, one step of depths after the other. */
#ifndef FASTPW_PACK_H
#define FASTPW_PACK_H

#include "vec_lanes.h"

/* A panel begins with its head, which holds the biases of its columns. Its weights follow. */
#define HEAD_BYTES(columns) ((columns) * (int)sizeof(real))

/* Where B lies: element (p, j) is at base + p * stride_k + j * stride_n. */
typedef struct {
    const char *base;
    ptrdiff_t n, k, stride_n, stride_k;
} pack_source;

/* Transpositions take four columns and four depths at a time. */
typedef real quad __attribute__((vector_size(4 * sizeof(real))));
typedef real quad_unaligned __attribute__((vector_size(4 * sizeof(real)), aligned(1), may_alias));

INLINE void transpose_quads(const char *from, ptrdiff_t ld, char *to, ptrdiff_t ldto)
{
#define ROW(i) ((quad) * (const quad_unaligned *)(from + (i) * ld))
#define STORE(i, ...) (*(quad_unaligned *)(to + (i) * ldto) = (quad_unaligned)__builtin_shufflevector(__VA_ARGS__))
    const quad a = ROW(0), b = ROW(1), c = ROW(2), d = ROW(3);
    const quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    STORE(0, ab_low, cd_low, 0, 1, 4, 5);
    STORE(1, ab_low, cd_low, 2, 3, 6, 7);
    STORE(2, ab_high, cd_high, 0, 1, 4, 5);
    STORE(3, ab_high, cd_high, 2, 3, 6, 7);
#undef ROW
#undef STORE
}

/* to[j][i] = from[i][j], for m rows and n columns. */
static void transpose(ptrdiff_t m, ptrdiff_t n, const char *from, ptrdiff_t ld, char *to, ptrdiff_t ldto)
{
    const ptrdiff_t whole_m = m / 4 * 4, whole_n = n / 4 * 4;
    for (ptrdiff_t j = 0; j < whole_n; j += 4)
        for (ptrdiff_t i = 0; i < whole_m; i += 4)
            transpose_quads(from + i * ld + j * (int)sizeof(real), ld, to + j * ldto + i * (int)sizeof(real), ldto);
    for (ptrdiff_t i = 0; i < m; i++)
        for (ptrdiff_t j = i < whole_m ? whole_n : 0; j < n; j++)
            memcpy(to + j * ldto + i * (int)sizeof(real), from + i * ld + j * (int)sizeof(real), sizeof(real));
}

/* Packs one element after the other, from column j0 and depth p0 on, in steps of `step` depths. Columns and depths that
 * B does not have become zeros. */
INLINE void pack_rest(const int columns, const int step, real *panel, const pack_source *b, ptrdiff_t j0,
                      ptrdiff_t p0)
{
    for (ptrdiff_t p = p0; p < b->k; p += step) {
        real *to = panel + p * columns;
        for (ptrdiff_t j = j0; j < columns; j++)
            for (int d = 0; d < step; d++) {
                const int present = j < b->n && p + d < b->k;
                to[j * step + d] =
                    present ? real_load(b->base + j * b->stride_n + (p + d) * b->stride_k) : 0;
            }
    }
}

/* Packs a B whose neighbouring columns are adjacent: a depth is copied as it is. */
INLINE void pack_depths(const int columns, real *panel, const pack_source *b)
{
    for (ptrdiff_t p = 0; p < b->k; p++, panel += columns)
        for (int v = 0; v < columns; v += LANES)
            vec_store(panel + v, vec_load_lanes(b->base + p * b->stride_k + v * (int)sizeof(real),
                                                vec_first(b->n - v)));
}

/* Packs a B whose neighbouring depths are adjacent, by transposing it. It takes so many depths at a time that their
 * part of the panel stays in the first-level cache. */
INLINE void pack_columns(const int columns, real *panel, const pack_source *b)
{
    enum { DEPTHS = 64 };
    const ptrdiff_t whole_n = b->n / 4 * 4, whole_k = b->k / 4 * 4;
    for (ptrdiff_t p0 = 0; p0 < whole_k; p0 += DEPTHS)
        for (ptrdiff_t j = 0; j < whole_n; j += 4)
            for (ptrdiff_t p = p0; p < p0 + DEPTHS && p < whole_k; p += 4)
                transpose_quads(b->base + j * b->stride_n + p * (int)sizeof(real), b->stride_n,
                                (char *)(panel + p * columns + j), columns * (int)sizeof(real));
    pack_rest(columns, 1, panel, b, whole_n, 0);
    pack_rest(columns, 1, panel, b, 0, whole_k);
}

INLINE void pack_panel(const int columns, const int step, char *panel, ptrdiff_t n, ptrdiff_t k, const char *b,
                       ptrdiff_t stride_n, ptrdiff_t stride_k, const char *bias, ptrdiff_t stride_bias)
{
    const pack_source source = {b, n, k, stride_n, stride_k};
    real *head = (real *)panel, *to = (real *)(panel + HEAD_BYTES(columns));
    for (int j = 0; j < columns; j++) head[j] = bias && j < n ? real_load(bias + j * stride_bias) : 0;
    if (step == 1 && columns % LANES == 0 && stride_n == sizeof(real))
        pack_depths(columns, to, &source);
    else if (step == 1 && stride_k == sizeof(real))
        pack_columns(columns, to, &source);
    else
        pack_rest(columns, step, to, &source, 0, 0);
}

#endif
