/* The activations and their derivatives, a vector at a time.
 *
 * One instruction set always gives the same bits.  So there are no branches, no
 * tables and no libm, and no sum of two rounded products, of which the compiler
 * could fuse either.  bench/fit_polynomials.py finds and prints the coefficients.
 *
 * Everywhere, NaN gives NaN, infinities give the limits, and no subnormal is
 * flushed.  A derivative is a function of y = act(z) where y determines it, and
 * of z otherwise.  At a kink it is the derivative of the outer piece: 0 for relu
 * at 0, 1 for hard_swish at 3, the slope for leaky_relu at 0.
 */
#ifndef FASTPW_VEC_MATH_H
#define FASTPW_VEC_MATH_H

#include "vec.h"

/* exp(x) * 2^LIFT stays a normal number wherever the result of an activation still rounds to a subnormal one. The last
 * operation drops 2^LIFT again. */
#ifdef REAL_F32
#  define MANTISSA_BITS 23
#  define EXPONENT_BIAS 127
#  define LIFT 63
#  define DROPPED(c) ((c##f) * 0x1p-63f)
#  define R(c) (c##f)
#else
#  define MANTISSA_BITS 52
#  define EXPONENT_BIAS 1023
#  define LIFT 511
#  define DROPPED(c) ((c) * 0x1p-511)
#  define R(c) (c)
#endif

#ifdef REAL_F32
/* ln 2 in two parts. The first is so short that n * LN2_HIGH is exact for every n that occurs. */
static const real LN2_HIGH = 0x1.62e4p-1f, LN2_LOW = 0x1.7f7d1cp-20f;
/* P(r) = (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2. The relative error of r + r^2 P(r) as exp(r) - 1 is 1.3e-8. */
static const real EXP[] = {
    4.99999982e-1f, 1.66665437e-1f, 4.16671997e-2f, 8.36651401e-3f, 1.38825209e-3f};
/* P / Q = exp(a^2 / 2) (1 - Phi(a)) 2^-LIFT for 0 <= a <= TAIL_END. The relative error is 5.9e-9. */
static const real TAIL_P[] = {
    DROPPED(5.00000003e-1), DROPPED(4.38294984e-1), DROPPED(1.83235167e-1), DROPPED(4.06332377e-2),
    DROPPED(4.11631116e-3)};
static const real TAIL_Q[] = {
    1.0f, 1.67447495f, 1.20250325f, 4.69470708e-1f, 1.0185887e-1f, 1.03179422e-2f};
/* The ends of the ranges that are computed.  sigmoid(z) rounds to 0 below LOWEST, and z (1 - sigmoid(z)) vanishes
 * beside 1 above HIGHEST.  tanh rounds to 1 above TANH_END, and 1 - Phi to 0 above TAIL_END.  The sigmoid in gelu_tanh
 * does the same beyond GELU_TANH_LOWEST and GELU_TANH_HIGHEST. */
static const real LOWEST = -104, HIGHEST = 22, TANH_END = 10, TAIL_END = 14.5f;
static const real GELU_TANH_LOWEST = -10.75f, GELU_TANH_HIGHEST = 5.75f;
#else
static const real LN2_HIGH = 0x1.62e42fefa38p-1, LN2_LOW = 0x1.ef35793c76730p-45;
static const real EXP[] = {                                  /* relative error 1.8e-17 */
    5.0000000000000052e-1, 1.6666666666666589e-1, 4.1666666666576827e-2, 8.3333333333895062e-3,
    1.3888888931539248e-3, 1.9841269719076991e-4, 2.4801505306622539e-5, 2.7557407514829108e-6,
    2.7626024135580669e-7, 2.5053770957771428e-8};
static const real TAIL_P[] = {                               /* relative error 5.1e-17 */
    DROPPED(4.9999999999999997e-1), DROPPED(7.7488096266949372e-1), DROPPED(5.9405679389458219e-1),
    DROPPED(2.8934037201303349e-1), DROPPED(9.7702920890295115e-2), DROPPED(2.3623546467855764e-2),
    DROPPED(4.0895582103313176e-3), DROPPED(4.9045373466250712e-4), DROPPED(3.7257560231545823e-5),
    DROPPED(1.3858580666301441e-6)};
static const real TAIL_Q[] = {
    1.0, 2.3476464861418427, 2.5612644733051618, 1.7144124006018101, 7.8206041894881083e-1,
    2.5496911283606538e-1, 6.0437887485399816e-2, 1.0344393083501395e-2, 1.2328590299170881e-3,
    9.3390853918026162e-5, 3.473831014450879e-6};
static const real LOWEST = -746, HIGHEST = 42, TANH_END = 20, TAIL_END = 39;
static const real GELU_TANH_LOWEST = -21.6, GELU_TANH_HIGHEST = 7.75;
#endif

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* The polynomial with coefficients c[0], c[1], ... at x.  Horner's rule takes the fewest instructions. */
INLINE vec polynomial(const real *c, int count, vec x)
{
    vec sum = vec_set(c[count - 1]);
    UNROLL for (int i = count - 2; i >= 0; i--)
        sum = sum * x + c[i];
    return sum;
}

/* ---- exp ----------------------------------------------------------------
 * exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2) / 2 (Cody & Waite,
 * Software Manual for the Elementary Functions, 1980, chapter 6). */

/* Returns r, and sets scale to 2^(n + lift).  Adding 1.5 * 2^MANTISSA_BITS rounds to an integer and leaves it in the
 * low bits.  Shifted up, these bits are the exponent of a power of two. */
INLINE vec exp_reduce(vec x, int lift, vec *scale)
{
    const real rounder = R(1.5) * (real)((integer)1 << MANTISSA_BITS) + (real)(EXPONENT_BIAS + lift);
    const vec shifted = x * R(1.4426950408889634) + rounder;
    const vec n = shifted - rounder;
    *scale = (vec)((ivec)shifted << MANTISSA_BITS);
    return x - n * LN2_HIGH - n * LN2_LOW;
}

/* (exp(r) - 1) / r.  exp(r) is 1 + r times this, and a tiny exp(r) - 1 is r times this with all its digits. */
INLINE vec exp_slope(vec r) { return polynomial(EXP, COUNT(EXP), r) * r + 1; }

/* ---- activations --------------------------------------------------------
 * Error bounds, |error| <= rel * |result| + abs: see fastpw/_activations.py. */

/* exp(-z) / 2^LIFT for LOWEST <= z <= HIGHEST. */
INLINE vec dropped_exp_minus(vec z)
{
    vec scale;
    const vec r = exp_reduce(-z, -LIFT, &scale);
    return (1 + r * exp_slope(r)) * scale;
}

/* exp(x) * 2^LIFT for LOWEST <= x <= 0. */
INLINE vec lifted_exp(vec x)
{
    vec scale;
    const vec r = exp_reduce(x, LIFT, &scale);
    return (1 + r * exp_slope(r)) * scale;
}

/* 1 / (1 + exp(-z)).  The sum is brought down by 2^LIFT, because exp(-z) would overflow where the result is
 * subnormal. */
INLINE vec sigmoid_in_range(vec z) { return DROPPED(1.0) / (dropped_exp_minus(z) + DROPPED(1.0)); }

INLINE vec act_sigmoid(vec z) { return sigmoid_in_range(vec_min(vec_max(z, vec_set(LOWEST)), vec_set(HIGHEST))); }

/* z * sigmoid(z) (Elfwing, Uchibe & Doya 2018; Hendrycks & Gimpel 2016). */
INLINE vec act_silu(vec z)
{
    z = vec_max(z, vec_set(LOWEST));                         /* because -inf * 0 would be NaN */
    return z * sigmoid_in_range(vec_min(z, vec_set(HIGHEST)));
}

/* tanh(a) = e / (e + 2) with e = exp(2 a) - 1, which is exact for tiny a.  The sign is copied, so tanh is odd. */
INLINE vec act_tanh(vec z)
{
    const vec a = vec_min(vec_abs(z), vec_set(TANH_END));
    const ivec sign = (ivec)z & ~(ivec)vec_abs(z);
    vec scale;
    const vec r = exp_reduce(a + a, 0, &scale);
    const vec e = (scale * r) * exp_slope(r) + (scale - 1);
    return (vec)((ivec)(e / (e + 2)) | sign);
}

/* exp(-a^2 / 2) * 2^LIFT for 0 <= a <= TAIL_END.  It is right to a few ulp although a^2 is large, because the leading
 * half of a has an exact square, and the rest joins after the reduction. */
INLINE vec lifted_bell(vec a)
{
    const integer half_mantissa = ((integer)1 << ((MANTISSA_BITS + 2) / 2)) - 1;
    const vec head = (vec)((ivec)a & ~half_mantissa);
    vec scale;
    vec r = exp_reduce(head * (head * R(-0.5)), LIFT, &scale);
    r += (a - head) * (head * R(-0.5) - a * R(0.5));
    return (1 + r * exp_slope(r)) * scale;
}

/* (1 - Phi(a)) / lifted_bell(a), where Phi is the normal distribution (Mills' ratio; Abramowitz & Stegun 26.2). */
INLINE vec tail_ratio(vec a)
{
    return polynomial(TAIL_P, COUNT(TAIL_P), a) / polynomial(TAIL_Q, COUNT(TAIL_Q), a);
}

/* z * Phi(z) (Hendrycks & Gimpel 2016).  It is written max(z, 0) - |z| * (1 - Phi(|z|)), where nothing cancels, so the
 * left tail is as accurate as the right one. */
INLINE vec act_gelu(vec z)
{
    const vec a = vec_min(vec_abs(z), vec_set(TAIL_END));
    return vec_max(z, vec_set(0)) - a * (tail_ratio(a) * lifted_bell(a));
}

/* z / 2 * (1 + tanh(u)) = z * sigmoid(2 u) with u = sqrt(2 / pi) (z + 0.044715 z^3) (Hendrycks & Gimpel 2016). */
static const real GELU_TANH_1 = R(1.5957691216057308), GELU_TANH_3 = R(0.071354816272600248);
INLINE vec act_gelu_tanh(vec z)
{
    z = vec_max(z, vec_set(GELU_TANH_LOWEST));
    const vec t = vec_min(z, vec_set(GELU_TANH_HIGHEST));
    return z * sigmoid_in_range(t * (t * t * GELU_TANH_3 + GELU_TANH_1));
}

/* min(max(z + 3, 0), 6) / 6 (Howard et al. 2019).  z + 3 is exact near -3, where z / 6 + 1 / 2 would cancel. */
INLINE vec act_hard_sigmoid(vec z)
{
    return vec_min(vec_max(z + 3, vec_set(0)), vec_set(6)) * (R(1.0) / 6);
}

INLINE vec act_hard_swish(vec z)
{
    z = vec_max(z, vec_set(-3));                             /* because -inf * 0 would be NaN */
    return z * (vec_min(z + 3, vec_set(6)) * (R(1.0) / 6));
}

INLINE vec act_relu(vec z) { return vec_max(z, vec_set(0)); }
INLINE vec act_clip(vec z, vec low, vec high) { return vec_min(vec_max(z, low), high); }
INLINE vec act_leaky_relu(vec z, vec slope) { return vec_max(z, vec_set(0)) + slope * vec_min(z, vec_set(0)); }

/* ---- derivatives, from y = act(z) --------------------------------------- */

INLINE vec grad_sigmoid(vec y) { return y * (1 - y); }
INLINE vec grad_tanh(vec y) { return 1 - y * y; }

/* `value` between the bounds, 0 elsewhere, NaN where y is NaN.  The bounds are applied one after the other: given both
 * masks at once, GCC 12 takes float64 out of its vectors on SSE2. */
INLINE vec value_between(vec low, vec high, vec value, vec y)
{
    return vec_or_nan(vec_where(vec_less(low, y), vec_where(vec_less(y, high), value)), y);
}

INLINE vec grad_relu(vec y) { return vec_step(y); }
INLINE vec grad_clip(vec y, vec low, vec high) { return value_between(low, high, vec_set(1), y); }
INLINE vec grad_hard_sigmoid(vec y) { return value_between(vec_set(0), vec_set(1), vec_set(R(1.0) / 6), y); }
INLINE vec grad_leaky_relu(vec y, vec slope)
{
    return vec_or_nan(vec_select(vec_less(vec_set(0), y), vec_set(1), slope), y);
}

/* ---- derivatives, from z ------------------------------------------------ */

/* (2 z + 3) / 6 between -3 and 3. z + 1.5 is exact near its zero. */
INLINE vec grad_hard_swish(vec z)
{
    const vec slope = (z + R(1.5)) * (R(1.0) / 3);
    return vec_select(vec_at_most(vec_set(3), z), vec_set(1), vec_where(~vec_at_most(z, vec_set(-3)), slope));
}

/* s (1 + z (1 - s) slope) for s = sigmoid(v), which is the derivative of z sigmoid(v(z)) if slope is v'(z).  1 - s is
 * computed as exp(-v) s and not subtracted, because near s = 1 it is multiplied by a large z. */
INLINE vec grad_gated(vec z, vec v, vec slope)
{
    const vec e = dropped_exp_minus(v);
    const vec lifted_sigmoid = 1 / (e + DROPPED(1.0));
    return lifted_sigmoid * DROPPED(1.0) * (z * slope * (e * lifted_sigmoid) + 1);
}

INLINE vec grad_silu(vec z)
{
    z = vec_min(vec_max(z, vec_set(LOWEST)), vec_set(HIGHEST));
    return grad_gated(z, z, vec_set(1));
}

/* Phi(z) + z phi(z).  On the left it is the tail at a = |z| less a phi(a), and on the right it is one less the same. */
INLINE vec grad_gelu(vec z)
{
    const vec a = vec_min(vec_abs(z), vec_set(TAIL_END));
    const vec left = lifted_bell(a) * (tail_ratio(a) - a * DROPPED(0.3989422804014327));  /* 1 / sqrt(2 pi) */
    return vec_select(vec_less(z, vec_set(0)), left, 1 - left);
}

INLINE vec grad_gelu_tanh(vec z)
{
    z = vec_min(vec_max(z, vec_set(GELU_TANH_LOWEST)), vec_set(GELU_TANH_HIGHEST));
    const vec square = z * z;
    return grad_gated(z, z * (square * GELU_TANH_3 + GELU_TANH_1), square * (3 * GELU_TANH_3) + GELU_TANH_1);
}

#undef MANTISSA_BITS
#undef EXPONENT_BIAS
#undef LIFT
#undef DROPPED
#undef R
#undef COUNT
#endif
