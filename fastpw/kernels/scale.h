/* One weight per channel: the whole of B is one row.  Bound by memory. */
#ifndef FASTPW_SCALE_H
#define FASTPW_SCALE_H

#include "epilogue.h"

typedef struct {
    const char *x, *residual;
    char *y, *z;
} scale_place;

/* LANES channels from byte `at` on, or the first `lanes` of them. */
INLINE void scale_vector(const int activation, const int whole, const fastpw_block *b, const scale_place *row,
                         ptrdiff_t at, vec_lanes lanes, vec alpha, vec beta)
{
#define LOAD(p) (whole ? vec_load((p) + at) : vec_load_lanes((p) + at, lanes))
#define STORE(p, v) (whole ? vec_store((p) + at, v) : vec_store_lanes((p) + at, v, lanes))
    vec t = LOAD(b->panel);
    if (row->residual) t += LOAD(row->residual);
    if (row->x) t += LOAD(row->x) * LOAD(b->panel + b->n * (ptrdiff_t)sizeof(real));
    if (row->z) STORE(row->z, t);
    STORE(row->y, activate(t, activation, alpha, beta));
#undef LOAD
#undef STORE
}

INLINE void scale_rows(const int activation, const fastpw_block *b)
{
    const vec alpha = vec_set((real)b->epilogue->alpha), beta = vec_set((real)b->epilogue->beta);
    const vec_lanes all = vec_first(LANES), rest = vec_first(b->n % LANES);
    for (ptrdiff_t i = 0; i < b->m; i++) {
        const scale_place row = {
            b->k ? b->a + i * b->lda : NULL, b->residual ? b->residual + i * b->ldr : NULL,
            b->c + i * b->ldc, b->z ? b->z + i * b->ldz : NULL,
        };
        ptrdiff_t j = 0;
        for (; j + LANES <= b->n; j += LANES)
            scale_vector(activation, 1, b, &row, j * (ptrdiff_t)sizeof(real), all, alpha, beta);
        if (j < b->n) scale_vector(activation, 0, b, &row, j * (ptrdiff_t)sizeof(real), rest, alpha, beta);
    }
}

static void scale_block(const fastpw_block *b)
{
    switch (b->epilogue->activation) {
    case FASTPW_RELU: scale_rows(FASTPW_RELU, b); return;
    case FASTPW_CLIP: scale_rows(FASTPW_CLIP, b); return;
    case FASTPW_LINEAR: scale_rows(FASTPW_LINEAR, b); return;
    }
    /* Row by row, so that the second look at y finds it in the cache. */
    fastpw_block row = *b;
    row.m = 1;
    for (ptrdiff_t i = 0; i < b->m; i++) {
        scale_rows(FASTPW_LINEAR, &row);
        activate_memory(1, b->n, row.c, b->ldc, b->epilogue);
        row.a += b->lda;
        row.c += b->ldc;
        if (row.residual) row.residual += b->ldr;
        if (row.z) row.z += b->ldz;
    }
}

#endif
