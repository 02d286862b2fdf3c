/* The kernel sets that this library holds, and which of them this CPU runs. */
#include <string.h>

#include "kernel_set.h"

#define NAME_OF(tag, name, size) name,
const char *const fastpw_type_names[] = {FASTPW_TYPES(NAME_OF)};

#define ROW_OF(NAME, reads, act, slope) {#NAME, FASTPW_READS_##reads},
const fastpw_activation_row fastpw_activations[] = {FASTPW_ACTIVATIONS(ROW_OF)};

#define DECLARE(isa) extern const fastpw_kernel_set fastpw_##isa##_f32, fastpw_##isa##_f64
#define BOTH(isa) &fastpw_##isa##_f32, &fastpw_##isa##_f64

#if defined(__x86_64__)
DECLARE(avx512);
DECLARE(avx2);
DECLARE(baseline);
const fastpw_kernel_set *const fastpw_kernel_sets[] = {BOTH(avx512), BOTH(avx2), BOTH(baseline), NULL};

/* The compiler's builtin asks CPUID, and whether the operating system saves the registers. */
int fastpw_cpu_runs(const fastpw_kernel_set *set)
{
    __builtin_cpu_init();
    if (!strcmp(set->isa, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    if (!strcmp(set->isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return 1;
}
#elif defined(__aarch64__)
DECLARE(neon);
const fastpw_kernel_set *const fastpw_kernel_sets[] = {BOTH(neon), NULL};

int fastpw_cpu_runs(const fastpw_kernel_set *set)
{
    (void)set;
    return 1;
}
#else
#  error "fastpw has kernels for x86-64 and 64-bit ARM"
#endif
