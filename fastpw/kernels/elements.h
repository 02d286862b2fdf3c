/* Programs of operations element by element.  Memory sets their speed, so what lies between two operations stays in the
 * first-level cache, and the last one writes to where the result belongs. */
#ifndef FASTPW_ELEMENTS_H
#define FASTPW_ELEMENTS_H

#include "epilogue.h"
#include "vec_some.h"

/* Elements of a block: what the operations of a program leave for the next. */
enum { BLOCK = 4096 / sizeof(real) };

/* Rows of two operands, and where the results go. */
typedef struct {
    ptrdiff_t m, n;
    const char *a, *b;
    ptrdiff_t lda, ldb, ldc;                 /* from row to row */
    ptrdiff_t step;                          /* of b, from vector to vector; 0: it is one number, in a vector */
    char *c;
} element_rows;

INLINE vec combine(const int operator, vec a, vec b)
{
#define CASE(NAME, value) case FASTPW_##NAME: return value;
    switch (operator) { FASTPW_OPERATORS(CASE) }
#undef CASE
    __builtin_unreachable();
}

INLINE void combine_rows(const int operator, const element_rows *rows)
{
    const element_rows r = *rows;            /* a copy, which the stores below cannot change */
    for (ptrdiff_t i = 0; i < r.m; i++) {
        const char *a = r.a + i * r.lda, *b = r.b + i * r.ldb;
        char *c = r.c + i * r.ldc;
        ptrdiff_t left = r.n;
        for (; left >= LANES; left -= LANES, a += VEC_BYTES, b += r.step, c += VEC_BYTES)
            vec_store(c, combine(operator, vec_load(a), vec_load(b)));
        if (left)
            vec_store_some(c, combine(operator, vec_load_some(a, left), vec_load_some(b, r.step ? left : LANES)), left);
    }
}

/* Activations that tiles apply in registers. */
INLINE void activate_rows(const int activation, const element_rows *rows, const fastpw_epilogue *e)
{
    const element_rows r = *rows;
    const vec alpha = vec_set((real)e->alpha), beta = vec_set((real)e->beta);
    for (ptrdiff_t i = 0; i < r.m; i++) {
        const char *a = r.a + i * r.lda;
        char *c = r.c + i * r.ldc;
        ptrdiff_t left = r.n;
        for (; left >= LANES; left -= LANES, a += VEC_BYTES, c += VEC_BYTES)
            vec_store(c, activate(vec_load(a), activation, alpha, beta));
        if (left) vec_store_some(c, activate(vec_load_some(a, left), activation, alpha, beta), left);
    }
}

NOINLINE void operate(const fastpw_operation *o, const element_rows *r)
{
#define CASE(NAME, value) case FASTPW_##NAME: combine_rows(FASTPW_##NAME, r); return;
    switch (o->op) { FASTPW_OPERATORS(CASE) }
#undef CASE
#define CASE(NAME, reads, act, slope) case FASTPW_##NAME: activate_rows(FASTPW_##NAME, r, &o->epilogue); return;
    switch (o->epilogue.activation) { FASTPW_CHEAP_ACTIVATIONS(CASE) }
#undef CASE
    const finished_sums sums = {(char *)r->a, r->lda, r->n, r->ldc, 0, &o->epilogue};
    put_costly(&sums, r->m, r->c);
}

/* A program for as many rows and columns as a block holds, of which columns from byte `at` on are computed. */
NOINLINE void run_block(const fastpw_elements_args *e, ptrdiff_t first, ptrdiff_t m, ptrdiff_t at, ptrdiff_t n)
{
    vec between[FASTPW_MOST_OPERATIONS - 1][BLOCK / LANES], number;
    const char *values[FASTPW_MOST_INPUTS + FASTPW_MOST_OPERATIONS];
    ptrdiff_t distances[FASTPW_MOST_INPUTS + FASTPW_MOST_OPERATIONS];
    for (int i = 0; i < FASTPW_MOST_INPUTS; i++) {
        values[i] = e->inputs[i] + first * e->ld[i] + at;
        distances[i] = e->ld[i];
    }
    for (int i = 0; i < e->operations; i++) {
        const fastpw_operation *o = &e->program[i];
        const int last = i == e->operations - 1, to = FASTPW_MOST_INPUTS + i;
        element_rows r = {m, n, values[o->a], (char *)&number, distances[o->a], 0, n * (ptrdiff_t)sizeof(real), 0,
                          (char *)between[i]};
        number = vec_set((real)o->number);
        if (o->b >= 0) r.b = values[o->b], r.ldb = distances[o->b], r.step = VEC_BYTES;
        if (last) r.c = e->c + first * e->ldc + at, r.ldc = e->ldc;
        values[to] = r.c, distances[to] = r.ldc;
        operate(o, &r);
    }
}

static void elements(const fastpw_elements_args *e)
{
    const ptrdiff_t columns = e->n < BLOCK ? e->n : BLOCK, rows = BLOCK / columns, size = sizeof(real);
    for (ptrdiff_t i = 0; i < e->m; i += rows)
        for (ptrdiff_t j = 0; j < e->n; j += columns)
            run_block(e, i, e->m - i < rows ? e->m - i : rows, j * size, e->n - j < columns ? e->n - j : columns);
}

/* ---- gates ---------------------------------------------------------------- */

static void gate(ptrdiff_t k, ptrdiff_t columns, ptrdiff_t step, const char *from, const char *gates, char *to)
{
    const ptrdiff_t size = sizeof(real);
    real factors[LANES];
    for (ptrdiff_t p = 0; p < k; p += step) {
        /* Depths lie in turn, so a vector's factors are those of all its vectors: a step divides LANES. */
        for (ptrdiff_t i = 0; i < LANES; i++)
            factors[i] = p + i % step < k ? real_load(gates + (p + i % step) * size) : 0;
        const vec g = vec_load(factors);
        ptrdiff_t left = columns * step;
        for (; left >= LANES; left -= LANES, from += VEC_BYTES, to += VEC_BYTES) vec_store(to, vec_load(from) * g);
        if (left) vec_store_some(to, vec_load_some(from, left) * g, left), from += left * size, to += left * size;
    }
}

#endif
