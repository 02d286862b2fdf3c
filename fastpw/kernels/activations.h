/* THE TABLE OF ACTIVATIONS.
 *
 *     ROW(NAME, reads, act, slope)
 *
 * act computes y from z, and slope computes dy/dz from s, a vector at a time.
 * Their functions are in vec_math.h.  reads says what s is: Y if y determines
 * the slope, else Z, or NOTHING where the slope is 1.  alpha and beta are the
 * caller's parameters, broadcast to vectors: the bounds of CLIP, the slope of
 * LEAKY_RELU.
 *
 * All that depends on the activation is made from this list: the codes in
 * kernel_set.h, the cases of epilogue.h, scale.h and gradient.h, and the list
 * that Python reads.  A row here is all that an activation needs.
 */
#ifndef FASTPW_ACTIVATIONS_H
#define FASTPW_ACTIVATIONS_H

/* The cheap ones take a few instructions, and tiles apply them to sums in registers. */
#define FASTPW_CHEAP_ACTIVATIONS(ROW)                                                          \
    ROW(LINEAR,       NOTHING, z,                              vec_set(1))                     \
    ROW(RELU,         Y,       act_relu(z),                    grad_relu(s))                   \
    ROW(CLIP,         Y,       act_clip(z, alpha, beta),       grad_clip(s, alpha, beta))

/* The costly ones need registers of their own, and tiles leave their sums in a buffer for them. */
#define FASTPW_COSTLY_ACTIVATIONS(ROW)                                                         \
    ROW(LEAKY_RELU,   Y,       act_leaky_relu(z, alpha),       grad_leaky_relu(s, alpha))      \
    ROW(HARD_SIGMOID, Y,       act_hard_sigmoid(z),            grad_hard_sigmoid(s))           \
    ROW(HARD_SWISH,   Z,       act_hard_swish(z),              grad_hard_swish(s))             \
    ROW(SIGMOID,      Y,       act_sigmoid(z),                 grad_sigmoid(s))                \
    ROW(TANH,         Y,       act_tanh(z),                    grad_tanh(s))                   \
    ROW(SILU,         Z,       act_silu(z),                    grad_silu(s))                   \
    ROW(GELU,         Z,       act_gelu(z),                    grad_gelu(s))                   \
    ROW(GELU_TANH,    Z,       act_gelu_tanh(z),               grad_gelu_tanh(s))

#define FASTPW_ACTIVATIONS(ROW) FASTPW_CHEAP_ACTIVATIONS(ROW) FASTPW_COSTLY_ACTIVATIONS(ROW)

#endif
