#ifndef FASTPW_VEC_SOME_H
#define FASTPW_VEC_SOME_H

#include "vec_lanes.h"

/* The lanes of the last vector of a row, out of line: where memory sets the speed, a call costs nothing. */
NOINLINE vec vec_load_some(const char *p, ptrdiff_t count) { return vec_load_lanes(p, vec_first(count)); }
NOINLINE void vec_store_some(char *p, vec v, ptrdiff_t count) { vec_store_lanes(p, v, vec_first(count)); }

#endif
