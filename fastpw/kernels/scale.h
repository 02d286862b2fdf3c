/* One weight per channel: the whole of B is one row.  Bound by memory. */
#ifndef FASTPW_SCALE_H
#define FASTPW_SCALE_H

#include "epilogue.h"

typedef struct {
    const char *x, *residual;
    char *y, *z;
} scale_place;

/* LANES channels from byte `at` on, or the first `lanes` of them. */
INLINE void scale_vector(const int activation, const int whole, const fastpw_scale_args *s, const scale_place *row,
                         ptrdiff_t at, vec_lanes lanes, vec alpha, vec beta)
{
#define LOAD(p) (whole ? vec_load((p) + at) : vec_load_lanes((p) + at, lanes))
#define STORE(p, v) (whole ? vec_store((p) + at, v) : vec_store_lanes((p) + at, v, lanes))
    vec t = LOAD(s->bias);
    if (row->residual) t += LOAD(row->residual);
    if (row->x) t += LOAD(row->x) * LOAD(s->weights);
    if (row->z) STORE(row->z, t);
    STORE(row->y, activate(t, activation, alpha, beta));
#undef LOAD
#undef STORE
}

INLINE void scale_rows(const int activation, const fastpw_scale_args *s)
{
    const fastpw_output *out = &s->out;
    const vec alpha = vec_set((real)out->epilogue->alpha), beta = vec_set((real)out->epilogue->beta);
    const vec_lanes all = vec_first(LANES), rest = vec_first(s->n % LANES);
    for (ptrdiff_t i = 0; i < s->m; i++) {
        const scale_place row = {
            s->a ? s->a + i * s->lda : NULL, out->residual ? out->residual + i * out->ldr : NULL,
            out->c + i * out->ldc, out->z ? out->z + i * out->ldz : NULL,
        };
        ptrdiff_t j = 0;
        for (; j + LANES <= s->n; j += LANES)
            scale_vector(activation, 1, s, &row, j * (ptrdiff_t)sizeof(real), all, alpha, beta);
        if (j < s->n) scale_vector(activation, 0, s, &row, j * (ptrdiff_t)sizeof(real), rest, alpha, beta);
    }
}

static void scale(const fastpw_scale_args *s)
{
#define CASE(NAME, reads, act, slope) case FASTPW_##NAME: scale_rows(FASTPW_##NAME, s); return;
    switch (s->out.epilogue->activation) { FASTPW_CHEAP_ACTIVATIONS(CASE) }
#undef CASE
    /* Row by row, so that the second look at y finds it in the cache. */
    fastpw_scale_args row = *s;
    row.m = 1;
    for (ptrdiff_t i = 0; i < s->m; i++) {
        scale_rows(FASTPW_LINEAR, &row);
        activate_memory(1, s->n, row.out.c, s->out.ldc, s->out.epilogue);
        if (row.a) row.a += s->lda;
        row.out.c += s->out.ldc;
        if (row.out.residual) row.out.residual += s->out.ldr;
        if (row.out.z) row.out.z += s->out.ldz;
    }
}

#endif
