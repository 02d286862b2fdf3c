/* THE TABLE OF ACTIVATIONS.
 *
 *     ROW(NAME, reads, act, slope)
 *
 * act is y by z, and slope is dy/dz by s, for a vector at a time; their
 * functions stand in vec_math.h.  reads says what s is: Y, if y determines the
 * slope, else Z, or NOTHING where the slope is 1.  alpha and beta are the
 * caller's parameters, broadcast: the bounds of CLIP, the slope of LEAKY_RELU.
 *
 * What depends on the activation is made from this list: the codes
 * (kernel_set.h), the cases of epilogue.h, scale.h and gradient.h, and what
 * Python is told.  A row is all that an activation needs here.
 */
#ifndef FASTPW_ACTIVATIONS_H
#define FASTPW_ACTIVATIONS_H

/* Those of a few instructions, which are applied to sums in registers. */
#define FASTPW_CHEAP_ACTIVATIONS(ROW)                                                          \
    ROW(LINEAR,       NOTHING, z,                              vec_set(1))                     \
    ROW(RELU,         Y,       act_relu(z),                    grad_relu(s))                   \
    ROW(CLIP,         Y,       act_clip(z, alpha, beta),       grad_clip(s, alpha, beta))

/* Those that need registers of their own. */
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
