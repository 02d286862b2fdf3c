/* Panels: the columns of B that a tile reads together, one step of depth after the other. */
#ifndef FASTPW_PACK_H
#define FASTPW_PACK_H

#include "vec.h"

/* Within a step of `step` depths, columns come in groups of QUAD, each with its depths side by side;
 * with step 1 that is simply one column after the other. */
INLINE void pack_panel(const int columns, const int step, char *panel, ptrdiff_t n, ptrdiff_t k, const char *b,
                       ptrdiff_t stride_n, ptrdiff_t stride_k, const char *bias, ptrdiff_t stride_bias)
{
    real *to = (real *)panel;
    for (int j = 0; j < columns; j++) *to++ = bias && j < n ? real_load(bias + j * stride_bias) : 0;
    for (ptrdiff_t p = 0; p < k; p += step, to += columns * step) {
        for (int j = 0; j < columns; j++)
            for (int d = 0; d < step; d++)
                to[j * step + d] = j < n && p + d < k ? real_load(b + j * stride_n + (p + d) * stride_k) : 0;
    }
}

#endif
