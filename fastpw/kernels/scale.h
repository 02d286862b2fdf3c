/* One weight per channel: y = act(x * scale + bias + residual).  Bound by memory. */
#ifndef FASTPW_SCALE_H
#define FASTPW_SCALE_H

#include "epilogue.h"

INLINE vec optional_lanes(const char *p, ptrdiff_t offset, vec_lanes lanes)
{
    return p ? vec_load_lanes(p + offset, lanes) : (vec){0};
}

INLINE vec optional(const char *p, ptrdiff_t offset) { return p ? vec_load(p + offset) : (vec){0}; }

INLINE void scale_row(const int activation, ptrdiff_t n, const char *x, const char *scale, const char *bias,
                      const char *residual, char *z, char *y, vec alpha, vec beta)
{
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        const ptrdiff_t at = j * (ptrdiff_t)sizeof(real);
        vec t = optional(bias, at) + optional(residual, at);
        if (x) t += vec_load(x + at) * vec_load(scale + at);
        if (z) vec_store(z + at, t);
        vec_store(y + at, activate(t, activation, alpha, beta));
    }
    if (j < n) {
        const ptrdiff_t at = j * (ptrdiff_t)sizeof(real);
        const vec_lanes lanes = vec_first(n - j);
        vec t = optional_lanes(bias, at, lanes) + optional_lanes(residual, at, lanes);
        if (x) t += vec_load_lanes(x + at, lanes) * vec_load_lanes(scale + at, lanes);
        if (z) vec_store_lanes(z + at, t, lanes);
        vec_store_lanes(y + at, activate(t, activation, alpha, beta), lanes);
    }
}

INLINE void scale_rows(const int activation, ptrdiff_t m, ptrdiff_t n, const char *x, ptrdiff_t ldx,
                       const char *scale, const char *bias, const char *residual, ptrdiff_t ldr, char *z,
                       ptrdiff_t ldz, char *y, ptrdiff_t ldy, const fastpw_epilogue *e)
{
    const vec alpha = vec_set((real)e->alpha), beta = vec_set((real)e->beta);
    for (ptrdiff_t i = 0; i < m; i++)
        scale_row(activation, n, x ? x + i * ldx : NULL, scale, bias, residual ? residual + i * ldr : NULL,
                  z ? z + i * ldz : NULL, y + i * ldy, alpha, beta);
}

static void scale_block(ptrdiff_t m, ptrdiff_t n, const char *x, ptrdiff_t ldx, const char *scale, const char *bias,
                        const char *residual, ptrdiff_t ldr, char *z, ptrdiff_t ldz, char *y, ptrdiff_t ldy,
                        const fastpw_epilogue *e)
{
    const int32_t activation = e->activation;
    if (is_cheap(activation)) {
#define CASE(a) case a: scale_rows(a, m, n, x, ldx, scale, bias, residual, ldr, z, ldz, y, ldy, e); break
        switch (activation) {
            CASE(FASTPW_LINEAR);
            CASE(FASTPW_RELU);
            CASE(FASTPW_CLIP);
        }
#undef CASE
        return;
    }
    /* Row by row, so that the second look at y finds it in the cache. */
    for (ptrdiff_t i = 0; i < m; i++) {
        scale_rows(FASTPW_LINEAR, 1, n, x ? x + i * ldx : NULL, ldx, scale, bias,
                   residual ? residual + i * ldr : NULL, ldr, z ? z + i * ldz : NULL, ldz, y + i * ldy, ldy, e);
        activate_memory(1, n, y + i * ldy, ldy, e);
    }
}

#endif
