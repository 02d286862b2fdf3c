#define ISA_BASELINE
#define REAL_F32
#include "rows.h"

KERNEL_SET(baseline, f32);
