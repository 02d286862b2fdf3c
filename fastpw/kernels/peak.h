/* The machine's limit: the speed of multiply-adds that wait for nothing. */
#ifndef FASTPW_PEAK_H
#define FASTPW_PEAK_H

#include "vec.h"

static double peak(int64_t rounds)
{
    /* These chains are enough to hide the latency of the multiply-add, and few enough for the registers. */
    enum { CHAINS = VEC_REGISTERS - 4 };
    static volatile real input = 0.5f;
    const vec scale = vec_set(input), shift = vec_set(input);
    vec acc[CHAINS];
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = shift + (real)i;
    for (int64_t r = 0; r < rounds; r++) {
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = vec_chain(acc[i], scale, shift);
    }
    vec sum = acc[0];
    UNROLL for (int i = 1; i < CHAINS; i++) sum += acc[i];
    input = sum[0] - sum[0] + 0.5f;          /* The compiler must not drop the work, so the result is used. */
    return 2.0 * LANES * CHAINS * (double)rounds;
}

#endif
