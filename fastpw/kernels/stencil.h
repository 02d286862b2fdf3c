/* Depthwise convolution: rows of outputs, tile by tile, and their costly activations. */
#ifndef FASTPW_STENCIL_H
#define FASTPW_STENCIL_H

#include "stencil_groups.h"
#include "stencil_two_rows.h"

/* Computes all rows, tile by tile.  With a costly activation, a tile leaves its sums in the buffer, and put_costly
 * takes them to C. */
INLINE void stencil_rows(stencil_function *tile, const fastpw_stencil_args *s, const finished_sums *costly)
{
    const fastpw_output *out = &s->out;
    const ptrdiff_t ldc = costly ? costly->ldc : out->ldc;
    for (ptrdiff_t p = 0; p < s->rows; p++) {
        char *c = out->c + p * s->row_ldc;
        stencil_place at;
        at.pixels = s->window.pixels + p * s->window.row_stride * s->window.ld;
        at.residual = out->residual ? out->residual + p * s->row_ldr : NULL;
        at.z = out->z ? out->z + p * s->row_ldz : NULL;
        for (ptrdiff_t left = s->columns; left > 0; left -= TILE_COLUMNS, c += TILE_COLUMNS * ldc) {
            at.columns = left < TILE_COLUMNS ? left : TILE_COLUMNS;
            at.c = costly ? costly->sums : c;
            tile(s, &at);
            if (s->n % LANES && s->group == 1) stencil_rest(s, &at);
            if (costly) put_costly(costly, at.columns, c);
            at.pixels += TILE_COLUMNS * s->window.column_stride;
            if (at.residual) at.residual += TILE_COLUMNS * out->ldr;
            if (at.z) at.z += TILE_COLUMNS * out->ldz;
        }
    }
}

/* The buffer holds a tile's sums for so many vectors of channels, which is 8 KiB of them. */
enum { COSTLY_VECTORS = 8192 / (TILE_COLUMNS * VEC_BYTES) };

/* Computes all rows for so many channels at a time as the buffer holds. */
NOINLINE void stencil_costly(stencil_function *tile, const fastpw_stencil_args *s)
{
    enum { BYTES = COSTLY_VECTORS * VEC_BYTES };
    vec sums[TILE_COLUMNS * COSTLY_VECTORS];
    fastpw_stencil_args some = *s;
    finished_sums costly = {(char *)sums, 0, 0, s->out.ldc, 0, s->out.epilogue};
    for (ptrdiff_t v = 0, left = s->n; left > 0; v += COSTLY_VECTORS, left -= some.n, some.at += BYTES) {
        some.n = costly.n = left < COSTLY_VECTORS * LANES ? left : COSTLY_VECTORS * LANES;
        some.out.ldc = costly.lds = some.n * (ptrdiff_t)sizeof(real);
        some.weights = weights_of_vector(s, v);
        stencil_rows(tile, &some, &costly);
        some.out.c += BYTES;
        if (s->out.residual) some.out.residual += BYTES;
        if (s->out.z) some.out.z += BYTES;
    }
}

/* Pixels with more channels than the buffer holds are computed row by row.  Otherwise, all rows of pixels would be read
 * again for each part of the channels. */
INLINE void stencil_costly_rows(stencil_function *tile, const fastpw_stencil_args *s)
{
    const ptrdiff_t rows = s->n <= COSTLY_VECTORS * LANES ? s->rows : 1;
    fastpw_stencil_args some = *s;
    some.rows = rows;
    for (ptrdiff_t p = 0; p < s->rows; p += rows) {
        stencil_costly(tile, &some);
        some.window.pixels += s->window.row_stride * s->window.ld;
        some.out.c += s->row_ldc;
        if (s->out.residual) some.out.residual += s->row_ldr;
        if (s->out.z) some.out.z += s->row_ldz;
    }
}

/* Computes an odd last row, and of the other rows the channels that fill no vector. */
static void rest_of_two_rows(stencil_function *tile, const fastpw_stencil_args *s)
{
    const ptrdiff_t pairs = s->rows / 2 * 2, whole = s->n / LANES;
    fastpw_stencil_args some = *s;
    if (s->n % LANES && pairs) {
        some.rows = pairs, some.n = s->n % LANES;
        some.at += whole * VEC_BYTES, some.out.c += whole * VEC_BYTES;
        some.weights = weights_of_vector(s, whole);
        stencil_rows(tile, &some, NULL);
    }
    if (pairs == s->rows) return;
    some = *s;
    some.rows = 1;
    some.window.pixels += pairs * s->window.row_stride * s->window.ld;
    some.out.c += pairs * s->row_ldc;
    stencil_rows(tile, &some, NULL);
}

static void stencil(const fastpw_stencil_args *s)
{
    stencil_function *const tile = s->group > 1 ? group_tile : function_for(&s->window);
    if (takes_both(s)) {
        rows_by_two(s);
        rest_of_two_rows(tile, s);
    } else if (is_cheap(s->out.epilogue->activation)) {
        stencil_rows(tile, s, NULL);
    } else {
        stencil_costly_rows(tile, s);
    }
}

#endif
