# distutils: language = c
"""What the gradients of a window need beside windows themselves: sums for its weights, and dz.

    dweight[i, j, c] (+)= sum over p of dz[p, c] * x[pixel under tap (i, j) of p, c]
"""

from libc.stdlib cimport free
from libc.string cimport memset

from fastpw.core.binding cimport Binding, describe_arrays, drop_arrays, find, find_output
from fastpw.core.forming cimport Forming, form_all, forming_bytes
from fastpw.core.kernels cimport FASTPW_LINEAR
from fastpw.core.layout cimport Layout, place_of
from fastpw.core.machine cimport kernels_for, team
from fastpw.core.ndarray cimport axes, ndarray, shape_of, type_of
from fastpw.core.panels cimport new_memory
from fastpw.core.pixels cimport A, C, OPERANDS, RESIDUAL
from fastpw.core.planes cimport need_planes, set_slide
from fastpw.core.shares cimport Share
from fastpw.core.tap_sums cimport BoundSums, TapSums, run_tap_sums, tap_sums_bytes
from fastpw.core.windows cimport Distances, reach

from fastpw.core import sums


cdef class StencilGradient:
    """The gradient of a Stencil's weights. It does not change, and many threads may share it.

    Parameters
    ----------
    arrays : (x, dz, dweight)
        x (N, H, W, C) and dz (N, Ho, Wo, C) with adjacent channels; dweight (taps of a line, taps, C) of any strides.
    window : tuple
        As that of a Stencil.
    accumulate : bool
        Add to dweight.
    threads : callable
        Says how many threads a call may use.
    """

    cdef Binding binding
    cdef TapSums sums
    cdef object threads
    cdef int most_threads
    cdef bint brief

    def __init__(self, tuple arrays, tuple window, bint accumulate, threads):
        cdef TapSums *s = &self.sums
        x, dz, dweight = arrays
        self.threads = threads
        describe_arrays(&self.binding, (x, dz, dweight, None), threads())
        self.take_planes(x, dz, window)
        cdef const Layout *to = &self.binding.layouts[RESIDUAL]
        if (to.axes != 3 or to.type != self.binding.layouts[C].type or to.shape[0] != s.rows.taps
                or to.shape[1] != s.columns.taps or to.shape[2] != s.n):
            raise ValueError(f"sums for {s.rows.taps} x {s.columns.taps} x {s.n} weights are needed")
        s.line, s.place, s.channel, s.adds = to.strides[0], to.strides[1], to.strides[2], accumulate
        if s.planes * s.rows.outputs * s.columns.outputs * s.n == 0:
            raise ValueError("there is nothing to sum")
        shape = sums.Outputs(s.planes, s.rows.outputs, s.columns.outputs, s.n, s.rows.taps, s.columns.taps,
                             reach(&s.columns, s.columns.outputs), s.rows.stride)
        s.step, s.bands, s.block, self.most_threads, self.brief = sums.cut(
            shape, s.kernels.lanes, s.kernels.a_size, self.binding.asked)
        self.binding.follows = sums.cut(shape, s.kernels.lanes, s.kernels.a_size, 2).threads > 1

    def __dealloc__(self):
        drop_arrays(&self.binding)

    cdef int take_planes(self, x, dz, tuple window) except -1:
        cdef TapSums *s = &self.sums
        cdef Binding planes
        memset(&planes, 0, sizeof(planes))
        try:
            describe_arrays(&planes, (x, dz, None, None), 1)
            need_planes(&planes)
            set_slide(&s.rows, window, 0, &planes)
            set_slide(&s.columns, window, 1, &planes)
            s.kernels = kernels_for(planes.layouts[C].type)
            s.planes, s.n = planes.layouts[C].shape[0], planes.layouts[C].shape[3]
            set_distances(&s.of_x, &planes.layouts[A])
            set_distances(&s.of_dz, &planes.layouts[C])
        finally:
            drop_arrays(&planes)
        return 0

    def run_checked(self, x, dz, dweight):
        """Run, if the arrays have the program's layouts, and say whether they do; that dweight may be written while the
        others are read has been checked."""
        cdef char *places[OPERANDS]
        cdef BoundSums r
        if not find(&self.binding, self.threads, x, dweight, None, places):
            return False
        if not find_output(&self.binding, dz, places) or self.sums.kernels != kernels_for(type_of(dz)):
            return False
        cdef int members = team(self.most_threads) if self.most_threads > 1 else 1
        cdef char *memory = new_memory(tap_sums_bytes(&self.sums, members), "sums")
        r.sums, r.x, r.dz, r.dweight = &self.sums, places[A], places[C], places[RESIDUAL]
        run_tap_sums(&r, members, self.brief, memory)
        free(memory)
        return True

    @property
    def nbytes(self):
        """Bytes of the program itself."""
        return sizeof(TapSums)


cdef void set_distances(Distances *to, const Layout *layout) noexcept:
    to.plane, to.row, to.pixel = layout.strides[0], layout.strides[1], layout.strides[2]


def form(ndarray dy, ndarray s, ndarray dz, ndarray total, tuple activation, threads):
    """dz = dy * act'(s), and its sums by channels.

    Parameters
    ----------
    dy, dz : (..., C) arrays
        Contiguous; dz is None where it is dy.
    s : array
        What the activation's derivative is read from; None where it is 1.
    total : (C,) array or None
        Contiguous; not dz's sums, if it is None.
    activation : (int, float, float)
        Code, alpha, beta (kernel_set.h).
    threads : int
        How many threads may be used.
    """
    cdef Forming f
    cdef int axis, members
    cdef char *memory
    memset(&f, 0, sizeof(f))
    for array in (dy, s, dz, total):
        if array is not None and (not array.flags.c_contiguous or array.dtype.type is not dy.dtype.type):
            raise ValueError("contiguous arrays are needed, got one that was changed meanwhile")
    for array in (s, dz):
        if array is not None and array.size != dy.size:
            raise ValueError("arrays of one shape are needed, got one that was changed meanwhile")
    f.kernels = kernels_for(type_of(dy))
    f.m, f.n = 1, shape_of(dy)[axes(dy) - 1]
    for axis in range(axes(dy) - 1):
        f.m *= shape_of(dy)[axis]
    if f.m * f.n == 0 or total is not None and total.size != f.n:
        raise ValueError("channels to sum are needed, got an array that was changed meanwhile")
    f.epilogue.activation, f.epilogue.alpha, f.epilogue.beta = activation
    f.dy, f.s, f.dz, f.sums = place_of(dy), place_of(s), place_of(dz), place_of(total)
    if (f.s == NULL) != (f.dz == NULL) or f.s == NULL and f.epilogue.activation != FASTPW_LINEAR:
        raise ValueError("an activation whose derivative is not 1 is read from an array")
    f.rows, f.bands, members = sums.formed(f.m, f.n, f.kernels.c_size, threads)
    members = team(members) if members > 1 else 1
    memory = new_memory(forming_bytes(&f, members), "sums")
    f.shares, f.memory = <Share *>memory, memory + members * sizeof(Share)
    with nogil:
        form_all(&f, members)
    free(memory)
