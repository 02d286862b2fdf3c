/* One weight per channel, so the whole of B is one row.  Memory sets the speed here, not arithmetic. */
#ifndef FASTPW_SCALE_H
#define FASTPW_SCALE_H

#include "epilogue.h"

/* Where one row of the operands begins. x, residual and z may be NULL. */
typedef struct {
    const char *x, *residual;
    char *y, *z;
} scale_place;

/* The channels of one vector, from byte `at` on: all of them, or those of `lanes`. */
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

/* Computes as many rows and columns at a time as the buffer holds.  A larger buffer means fewer calls of put_costly,
 * and it has to stay in the first-level cache together with what is read. */
NOINLINE void scale_costly(const fastpw_scale_args *s)
{
    enum { VECTORS = 8192 / VEC_BYTES };
    const ptrdiff_t size = sizeof(real), columns = s->n < VECTORS * LANES ? s->n : VECTORS * LANES;
    const ptrdiff_t rows = VECTORS * LANES / columns;
    vec sums[VECTORS];
    finished_sums finished = {(char *)sums, columns * size, columns, s->out.ldc, 0, s->out.epilogue};
    for (ptrdiff_t i = 0; i < s->m; i += rows)
        for (ptrdiff_t j = 0; j < s->n; j += columns) {
            fastpw_scale_args some = *s;
            some.m = s->m - i < rows ? s->m - i : rows;
            some.n = finished.n = s->n - j < columns ? s->n - j : columns;
            if (s->a) some.a += i * s->lda + j * size, some.weights += j * size;
            some.bias += j * size;
            if (s->out.residual) some.out.residual += i * s->out.ldr + j * size;
            if (s->out.z) some.out.z += i * s->out.ldz + j * size;
            some.out.c = (char *)sums, some.out.ldc = finished.lds;
            scale_rows(FASTPW_LINEAR, &some);
            put_costly(&finished, some.m, s->out.c + i * s->out.ldc + j * size);
        }
}

static void scale(const fastpw_scale_args *s)
{
#define CASE(NAME, reads, act, slope) case FASTPW_##NAME: scale_rows(FASTPW_##NAME, s); return;
    switch (s->out.epilogue->activation) { FASTPW_CHEAP_ACTIVATIONS(CASE) }
#undef CASE
    scale_costly(s);
}

#endif
