/* The channels of several groups, one of each in turn: a channel shuffle; or the pixels of several planes, which
 * become channels-last.  Memory sets the speed. */
#ifndef FASTPW_INTERLEAVE_H
#define FASTPW_INTERLEAVE_H

#include "pack.h"

#define QUAD(p) ((quad) * (const quad_unaligned *)(p))
#define PUT_QUAD(p, ...) (*(quad_unaligned *)(p) = (quad_unaligned)__builtin_shufflevector(__VA_ARGS__))
enum { QUAD_BYTES = 4 * sizeof(real) };

/* Interleaves four channels of each group, where groups begin `group` bytes apart. */
INLINE void interleave_two(const char *from, ptrdiff_t group, char *to)
{
    const quad a = QUAD(from), b = QUAD(from + group);
    PUT_QUAD(to, a, b, 0, 4, 1, 5);
    PUT_QUAD(to + QUAD_BYTES, a, b, 2, 6, 3, 7);
}

INLINE void interleave_three(const char *from, ptrdiff_t group, char *to)
{
    const quad a = QUAD(from), b = QUAD(from + group), c = QUAD(from + 2 * group);
    const quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), bc = __builtin_shufflevector(b, c, 1, 5, 2, 6);
    PUT_QUAD(to, ab, c, 0, 1, 4, 2);
    PUT_QUAD(to + QUAD_BYTES, bc, a, 0, 1, 6, 2);
    PUT_QUAD(to + 2 * QUAD_BYTES, c, __builtin_shufflevector(a, b, 3, 7, 3, 7), 2, 4, 5, 3);
}

INLINE void interleave_row(const int groups, ptrdiff_t n, const char *from, ptrdiff_t group, char *to)
{
    const ptrdiff_t whole = n / 4 * 4;
    for (ptrdiff_t j = 0; j < whole; j += 4) {
        const char *p = from + j * (int)sizeof(real);
        char *q = to + j * groups * (int)sizeof(real);
        if (groups == 2)
            interleave_two(p, group, q);
        else
            interleave_three(p, group, q);
    }
    for (ptrdiff_t j = whole; j < n; j++)
        for (int g = 0; g < groups; g++)
            memcpy(to + (j * groups + g) * (int)sizeof(real), from + g * group + j * (int)sizeof(real), sizeof(real));
}

static void interleave(ptrdiff_t m, ptrdiff_t groups, ptrdiff_t n, const char *from, ptrdiff_t ld, ptrdiff_t group,
                       char *to, ptrdiff_t ldto)
{
    for (ptrdiff_t i = 0; i < m; i++, from += ld, to += ldto) {
        if (groups == 2)
            interleave_row(2, n, from, group, to);
        else if (groups == 3)
            interleave_row(3, n, from, group, to);
        else
            transpose(groups, n, from, group, to, groups * (int)sizeof(real));
    }
}

#endif
