/* The floating-point state that the kernels count on.
 *
 * A program may round in another way or flush subnormals, and OpenMP's threads
 * keep the state that they were started with.  If the kernels took the state as
 * it is, results would depend on the caller and on which thread computed what.
 *
 * These functions save only the registers that vector instructions obey.  Those
 * of fenv.h save the x87's as well, which takes a hundred times as long.
 */
#include "kernel_set.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* MXCSR holds the control bits and the flags, which are its low six bits. */
enum { FLAGS = 0x3f, NEAREST_WITHOUT_TRAPS = 0x1f80 };

fastpw_float_state fastpw_enter_float_state(void)
{
    const fastpw_float_state state = {_mm_getcsr(), 0};
    if ((state.control & ~(uint64_t)FLAGS) != NEAREST_WITHOUT_TRAPS) _mm_setcsr(NEAREST_WITHOUT_TRAPS);
    return state;
}

void fastpw_leave_float_state(fastpw_float_state state) { _mm_setcsr((unsigned)state.control); }
#elif defined(__aarch64__)
static uint64_t control(void)
{
    uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}

static void set_control(uint64_t value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }

static uint64_t flags(void)
{
    uint64_t value;
    __asm__ volatile("mrs %0, fpsr" : "=r"(value));
    return value;
}

static void set_flags(uint64_t value) { __asm__ volatile("msr fpsr, %0" : : "r"(value)); }

fastpw_float_state fastpw_enter_float_state(void)
{
    const fastpw_float_state state = {control(), flags()};
    if (state.control) set_control(0);
    return state;
}

void fastpw_leave_float_state(fastpw_float_state state)
{
    if (state.control) set_control(state.control);
    set_flags(state.flags);
}
#endif
