#define ISA_NEON
#define REAL_F32
#include "rows.h"

KERNEL_SET(neon, f32);
