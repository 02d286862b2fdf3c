"""The kernel sets in use, and the team of threads, for the other modules."""

from fastpw.core.integers cimport fastpw_integer_set
from fastpw.core.kernels cimport fastpw_kernel_set

cdef const fastpw_kernel_set *kernels_for(int type) noexcept
cdef const fastpw_integer_set *integer_kernels() noexcept
cdef int team(int threads) noexcept nogil
cdef int team_still(int threads) noexcept nogil
cdef int team_begins(int threads) noexcept nogil
cdef int team_member() noexcept nogil
cdef void share_done() noexcept nogil
cdef void team_joined(int threads) noexcept nogil
