#define ISA_NEON
#define REAL_F64
#include "rows.h"

KERNEL_SET(neon, f64);
