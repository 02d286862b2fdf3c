#define ISA_NEON_DOT
#define REAL_F32
#include "integer_rows.h"

INTEGER_SET(neon_dot, neon);
