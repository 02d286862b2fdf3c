# distutils: language = c
"""Windows over planes of pixels as programs: stencils (one weight per channel for each tap) and pools.

    y[p, c] = act(bias[c] + sum over taps of x[tap, c] * weight[tap, c] + residual[p, c])

And, in the same module because each takes room of its own, what moves or computes rows: shuffles, Rows.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t
from libc.stdlib cimport free
from libc.string cimport memset

from fastpw.core.binding cimport Binding, describe_arrays, drop_arrays, find, find_output, may_write
from fastpw.core.forward cimport empty
from fastpw.core.kernels cimport FASTPW_MOST_INPUTS, FASTPW_MOST_OPERATIONS, fastpw_kernel_set, fastpw_operation
from fastpw.core.layout cimport Layout, place_of
from fastpw.core.machine cimport kernels_for, team, team_still
from fastpw.core.ndarray cimport axes, holds, ndarray, need_columns, shape_of, strides_of, type_of
from fastpw.core.panels cimport Matrix, copy_numbers, matrix_of, new_memory, whole_lines
from fastpw.core.pixels cimport A, C, OPERANDS, Lead, join_axes, outer_offset, outer_places, take_inner_axes
from fastpw.core.rowwise cimport MOST_MEMBERS, NORMAL, PROGRAM, SUMS, put_means, run_rowwise, tasks_of
from fastpw.core.sweep cimport run_windows, sweep_bytes
from fastpw.core.planes cimport count_taps, fill, is_countable, need_planes, set_slide
from fastpw.core.shuffle cimport Interleaved, run_interleaved
from fastpw.core.windows cimport Slide, Windows, axis_of, distance, lay_out_table, reach, whole_tiles

from numpy import dtype as numpy_dtype

from fastpw.core import bands, partition


# ---- weights -------------------------------------------------------------------------------------------------

cdef class PackedStencil:
    """The weights (taps, C) and biases of a layer, packed by vectors of channels for the kernels in use."""

    def __init__(self, ndarray weight, ndarray bias, int threads):
        cdef Matrix matrix = matrix_of(weight), biases = matrix_of(bias)
        if bias is not None and biases.columns != matrix.columns:
            raise ValueError(f"{matrix.columns} biases are needed, got an array that was changed meanwhile")
        self.type = type_of(weight)
        self.kernels, self.taps, self.n = kernels_for(self.type), matrix.rows, matrix.columns
        self.memory = new_memory(self.bytes_of(whole_vectors(self.n, self.kernels)), "packed weights")
        cdef const char *heads = place_of(bias)
        cdef const char *from_ = place_of(weight)
        cdef Py_ssize_t first
        for first in range(0, self.n, self.kernels.lanes):
            self.pack(first, from_ + first * matrix.stride, &matrix,
                      NULL if heads == NULL else heads + first * biases.stride, biases.stride)

    cdef Py_ssize_t bytes_of(self, Py_ssize_t channels) noexcept:
        return (1 + self.taps) * channels * self.kernels.b_size

    cdef void pack(self, Py_ssize_t first, const char *weight, const Matrix *matrix, const char *bias,
                   Py_ssize_t stride) noexcept:
        """One vector of channels: its biases, then its taps in order; zeros beyond the last channel."""
        cdef Py_ssize_t element = self.kernels.b_size, vector = self.kernels.lanes * element, tap
        cdef Py_ssize_t channels = min(<Py_ssize_t>self.kernels.lanes, self.n - first)
        cdef char *to = self.memory + self.bytes_of(first)
        memset(to, 0, (1 + self.taps) * vector)
        copy_numbers(to, bias, stride, channels, element)
        for tap in range(self.taps):
            copy_numbers(to + (1 + tap) * vector, weight + tap * matrix.ld, matrix.stride, channels, element)

    def __dealloc__(self):
        free(self.memory)


def lanes_for(ndarray weight):
    """Channels of a vector, if weights are packed now."""
    return kernels_for(type_of(weight)).lanes


cdef Py_ssize_t whole_vectors(Py_ssize_t channels, const fastpw_kernel_set *kernels) noexcept nogil:
    return (channels + kernels.lanes - 1) // kernels.lanes * kernels.lanes


# ---- programs ------------------------------------------------------------------------------------------------

cdef class Program:
    """What is computed for arrays laid out in one way. It does not change, and many threads may share it."""

    def __dealloc__(self):
        drop_arrays(&self.binding)

    cdef int bind(self, tuple arrays, threads) except -1:
        describe_arrays(&self.binding, arrays, threads())
        y = arrays[C]
        self.shape, self.dtype, self.threads = y.shape, numpy_dtype(y.dtype.type), threads
        return 0

    def __call__(self, x, residual, out, out_z):
        """Bind arrays and run; returns y, or None if the arrays have to be checked first.

        They fit if they are laid out as those that the program was described for, and if what is written lies apart
        from all else; the residual may be the output.
        """
        cdef char *places[OPERANDS]
        if not find(&self.binding, self.threads, x, residual, out_z, places):
            return None
        if out is None and self.binding.new_fits:
            out = empty(self.shape, self.dtype)
        if not find_output(&self.binding, out, places) or not may_write(&self.binding, out, out_z, places):
            return None
        self.run(places)
        return out

    def run_checked(self, x, residual, y, z, weight, bias):
        """Run, if the arrays have the program's layouts, and say whether they do; that y and z may be written while
        the others are read has been checked. The weights are the program's."""
        cdef char *places[OPERANDS]
        if not find(&self.binding, self.threads, x, residual, z, places):
            return False
        if not find_output(&self.binding, y, places):
            return False
        self.run(places)
        return True

    cdef int run(self, char *const *places) except -1:
        """All memory is there before anything is written."""
        cdef int members = self.most_threads
        cdef char *memory = NULL
        if members == 0:
            return 0
        if members > 1:
            members = min(members, team(members))
        if self.workspace(members):
            memory = new_memory(self.workspace(members), "the workspace")
        self.run_in(places, members, memory)
        free(memory)
        return 0

    cdef Py_ssize_t workspace(self, int members) noexcept:
        """Bytes that a team of so many needs beside the arrays."""
        return 0

    cdef int run_in(self, char *const *places, int members, char *memory) except -1:
        """With a team, and in memory, that are there."""
        raise NotImplementedError

    @property
    def room(self):
        """Bytes that a run takes beside its arrays, at most."""
        return max(self.workspace(1), self.workspace(self.most_threads)) if self.most_threads else 0


cdef class Sweep(Program):
    """A window over planes: what stencils and pools have in common."""

    def __dealloc__(self):
        free(self.memory)

    cdef int describe(self, tuple arrays, tuple views, tuple window, threads) except -1:
        """All but the weights, the fillers and the counts."""
        cdef Binding planes
        memset(&planes, 0, sizeof(planes))
        self.bind(arrays, threads)
        try:
            describe_arrays(&planes, views, 1)
            self.take_planes(&planes, window)
        finally:
            drop_arrays(&planes)
        return 0

    cdef int take_planes(self, const Binding *planes, tuple window) except -1:
        cdef Windows *w = &self.windows
        cdef const Layout *layout
        cdef int i
        need_planes(planes)
        set_slide(&w.rows, window, 0, planes)
        set_slide(&w.columns, window, 1, planes)
        if not is_countable(&w.rows, &w.columns):
            raise MemoryError(f"no memory for the pixels of a window {window}")
        w.kernels = kernels_for(planes.layouts[C].type)
        w.planes, w.n = planes.layouts[C].shape[0], planes.layouts[C].shape[3]
        for i in range(OPERANDS):
            layout = &planes.layouts[i]
            if layout.axes == 4:
                w.between[i].plane, w.between[i].row, w.between[i].pixel = (
                    layout.strides[0], layout.strides[1], layout.strides[2])
        return 0

    cdef int cut(self) except -1:
        """Into tasks, and say whether that depends on the threads."""
        cdef Windows *w = &self.windows
        if w.planes * w.rows.outputs * w.columns.outputs * w.n == 0:
            self.most_threads = 0
            return 0
        w.across = axis_of(&w.columns, whole_tiles(w.columns.outputs))
        shape = bands.Window(w.planes, w.rows.outputs, w.columns.outputs, w.n, w.rows.taps, w.columns.taps,
                             w.across.length, reach(&w.rows, 1) - w.rows.stride, w.rows.stride, w.columns.stride,
                             w.between[A].pixel, w.group)
        w.band, w.block, w.staged, self.most_threads, self.brief = bands.cut(
            shape, w.kernels.lanes, w.kernels.a_size, self.binding.asked)
        self.binding.follows = bands.cut(shape, w.kernels.lanes, w.kernels.a_size, 2).threads > 1
        w.far = distance(w, partition.CACHES.last)
        if w.whole:
            w.staged = w.workspace_bytes = 0
        else:
            w.workspace_bytes = lay_out_table(w)
        return 0

    cdef Py_ssize_t workspace(self, int members) noexcept:
        return sweep_bytes(&self.windows, members)

    cdef int run_in(self, char *const *places, int members, char *memory) except -1:
        run_windows(&self.windows, places, members, self.brief, memory)
        return 0

    @property
    def nbytes(self):
        """Bytes of the program itself, beside its weights."""
        return sizeof(Windows) + self.windows.n * self.windows.kernels.a_size

    def schedule(self):
        """How it is cut: the rows and channels of a task, and the threads."""
        return {"task_rows": self.windows.band, "task_channels": self.windows.block, "staged_rows": self.windows.staged,
                "threads": self.most_threads}


cdef class Stencil(Sweep):
    """One weight per channel for each tap.

    Parameters
    ----------
    arrays : (x, y, residual, z)
        x (N, H, W, C), the others (N, Ho, Wo, C), all with adjacent channels; the last two may be None.
    window : ((int, int), (int, int), (int, int), (int, int))
        Along both axes: the taps, the step from tap to tap, the stride from output to output, and the origin, which is
        where the first output has its first tap. It may lie outside; taps that do multiply zeros.
    weights : PackedStencil
    activation : (int, float, float)
        Code, alpha, beta (kernel_set.h).
    threads : callable
        Says how many threads a call may use.
    views : tuple, optional
        The arrays with these axes, where those of a call have others.
    group : {1, 2, 4, 8}
        So many channels go into each of theirs: there is one weight for each of them and tap, ordered by the rows of
        the window, channels of the group, and taps of a row. A vector holds whole groups.
    """

    def __init__(self, tuple arrays, tuple window, PackedStencil weights not None, tuple activation, threads,
                 tuple views=None, Py_ssize_t group=1):
        cdef Windows *w = &self.windows
        self.describe(arrays, views or arrays, window, threads)
        if (group not in (1, 2, 4, 8) or weights.kernels.lanes % group or w.n % group or weights.n != w.n
                or weights.taps != w.rows.taps * w.columns.taps * group
                or weights.type != self.binding.layouts[C].type):
            raise ValueError(f"{w.rows.taps * w.columns.taps * group} x {w.n} weights are needed, got {weights.taps} x "
                             f"{weights.n}")
        w.group = group
        self.packed, w.kernels, w.weights = weights, weights.kernels, weights.memory
        w.bytes_of_weights = weights.bytes_of(1)
        w.epilogue.activation, w.epilogue.alpha, w.epilogue.beta = activation
        self.memory = new_memory(w.n * w.kernels.a_size, "zeros")
        memset(self.memory, 0, w.n * w.kernels.a_size)
        w.filler = self.memory
        self.cut()


cdef class Pool(Sweep):
    """The largest, or the mean, of the pixels under a window.

    Parameters
    ----------
    arrays : (x, y, None, None)
        As those of a Stencil.
    window : tuple
        As that of a Stencil.
    kind : {"max", "average", "average_padded", "plane"}
        Whether a mean is that of the pixels that exist, or counts zeros for those that do not; or that of the
        pixels of a plane.
    threads : callable
        Says how many threads a call may use.
    views : tuple, optional
        As those of a Stencil.
    """

    def __init__(self, tuple arrays, tuple window, str kind, threads, tuple views=None):
        cdef Windows *w = &self.windows
        w.group = 1
        if kind not in ("max", "average", "average_padded", "plane"):
            raise ValueError(f"kind is max, average, average_padded or plane, got {kind!r}")
        self.describe(arrays, views or arrays, window, threads)
        cdef Py_ssize_t size = w.n * w.kernels.a_size, counted = whole_lines(size)
        self.memory = new_memory(counted + (w.rows.outputs + w.columns.outputs) * sizeof(int32_t), "fillers")
        w.filler = self.memory
        fill(self.memory, w.n, w.kernels.a_size, -INFINITY if kind == "max" else 0)
        if kind != "max":
            w.row_taps = count_taps(&w.rows, kind != "average_padded", <int32_t *>(self.memory + counted))
            w.column_taps = count_taps(&w.columns, kind != "average_padded", <int32_t *>w.row_taps + w.rows.outputs)
        # (of as many channels as fill a vector, taps are added as fast)
        w.whole = kind == "plane" and w.n < w.kernels.lanes
        if w.whole and not (is_whole(&w.rows) and is_whole(&w.columns)):
            raise ValueError(f"a window over all pixels is needed, got {window}")
        self.cut()


cdef bint is_whole(const Slide *s) noexcept nogil:
    return s.outputs == 1 and s.origin == 0 and s.step == 1 and s.taps == s.inputs


# ---- shuffles ------------------------------------------------------------------------------------------------

cdef class Shuffle(Program):
    """y[..., j * groups + i] = x[..., i, j]: channels of all groups, one of each in turn.

    Parameters
    ----------
    arrays : (x, y, None, None)
        Of any axes.
    views : (x, y)
        The same as (..., groups, n) and (..., n * groups), with adjacent numbers along the last axis.
    threads : callable
        Says how many threads a call may use.
    """

    def __init__(self, tuple arrays, tuple views, threads):
        cdef Interleaved *s = &self.how
        cdef ndarray x = views[A], y = views[C]
        cdef int last = axes(x) - 1
        self.bind(arrays, threads)
        if last < 1 or shape_of(x)[last - 1] < 1 or self.binding.layouts[A].type != self.binding.layouts[C].type:
            raise ValueError("groups of one type are needed, got arrays that were changed meanwhile")
        s.groups, s.n, s.group = shape_of(x)[last - 1], shape_of(x)[last], strides_of(x)[last - 1]
        need_columns(y, s.groups * s.n)
        join_axes(&self.lead, (x[..., 0, :], y))
        take_inner_axes(&self.lead, &s.pixels)
        s.kernels = kernels_for(self.binding.layouts[C].type)
        cdef Py_ssize_t size = s.pixels.m * s.groups * s.n * s.kernels.c_size
        s.brief = size * outer_places(&self.lead) < <Py_ssize_t>partition.BRIEF_WORK
        self.binding.follows = size >= <Py_ssize_t>partition.SMALL_CLEARING_BYTES
        self.most_threads = self.binding.asked if self.binding.follows else 1

    cdef int run_in(self, char *const *places, int members, char *memory) except -1:
        cdef char *at[OPERANDS]
        cdef Py_ssize_t number
        for number in range(outer_places(&self.lead)):
            at[A] = places[A] + outer_offset(&self.lead, A, number)
            at[C] = places[C] + outer_offset(&self.lead, C, number)
            run_interleaved(&self.how, at, team_still(members))
        return 0

    @property
    def nbytes(self):
        """Bytes of the program itself."""
        return sizeof(Interleaved) + sizeof(Lead)


# ---- rows ----------------------------------------------------------------------------------------------------

cdef class Rows:
    """What is computed element by element or row by row, described for arrays that stay where they are, and bound.

    Parameters
    ----------
    arrays : (x, y, second, third)
        Arrays of one shape and type with adjacent numbers along the last axis, y the result; the last two may be None.
        All but y may be broadcast along other axes. For means: (x, y) of shapes (N, ..., C), along at most three axes
        of rows, and (N, C).
    what : list, tuple, "softmax" or "means"
        A program, its operations as (operator, a, b, number, (activation, alpha, beta)): the values a and b by their
        numbers (0 to 2 are x, second and third; then what the operations give; b of -1: the number) (kernel_set.h).
        (weights, bias, epsilon), (C,) arrays: rows with mean 0 and variance 1, then scaled and moved. "softmax": that
        of each row. "means": over all axes between the first and the last; their parts are cut from the shape alone
        and added in their order.
    threads : callable
        Says how many threads a call may use.
    """

    def __init__(self, tuple arrays, what, threads):
        cdef Rowwise *r = &self.how
        cdef ndarray y = arrays[C]
        cdef ndarray array
        cdef int operand
        self.arrays, self.threads = (arrays, what), threads
        r.kernels, r.n, r.planes = kernels_for(type_of(y)), shape_of(y)[axes(y) - 1], 1
        for operand in range(<int>len(arrays)):
            array = arrays[operand]
            if array is None:
                continue
            need_columns(array, r.n)
            if not holds(array, type_of(y)) or (r.n > 1 and strides_of(array)[axes(array) - 1] != r.kernels.a_size):
                raise ValueError("rows of adjacent numbers of one type are needed")
            self.places[operand] = place_of(array)
        if isinstance(what, list):
            r.kind = PROGRAM
            self.take_operations(what)
        elif what == "means":
            r.kind = SUMS
            x = arrays[A]
            r.planes, r.plane = shape_of(x)[0], strides_of(x)[0]
            arrays = (x[0] if r.planes else x, None)
        else:
            r.kind = NORMAL
            if what != "softmax":
                weights, bias, r.epsilon = what
                r.weights, r.bias = place_of(weights), place_of(bias)
        join_axes(&self.lead, arrays)
        take_inner_axes(&self.lead, &r.pixels)
        self.cut()

    cdef int take_operations(self, list operations) except -1:
        cdef fastpw_operation *operation
        cdef Py_ssize_t i
        if len(operations) > FASTPW_MOST_OPERATIONS:
            raise ValueError(f"at most {FASTPW_MOST_OPERATIONS} operations are needed, got {len(operations)}")
        for i in range(len(operations)):
            operation = &self.how.program[i]
            operation.op, operation.a, operation.b, operation.number, activation = operations[i]
            operation.epilogue.activation, operation.epilogue.alpha, operation.epilogue.beta = activation
            if not (0 <= operation.a < FASTPW_MOST_INPUTS + i and -1 <= operation.b < FASTPW_MOST_INPUTS + i):
                raise ValueError("operations on values that are there are needed")
        self.how.operations = <int>len(operations)
        return 0

    cdef int cut(self) except -1:
        """Into tasks, from the shape alone; and how many threads that is worth."""
        cdef Rowwise *r = &self.how
        cdef Py_ssize_t element = r.kernels.a_size, size, wanted = partition.ROWWISE_TASK_BYTES // element
        r.block_columns = min(r.n, wanted) if r.kind == PROGRAM else r.n
        r.block_rows = max(wanted // max(r.block_columns, 1) // 4 * 4, 1)    # (sums take four rows at a time)
        size = r.pixels.m * outer_places(&self.lead) * r.planes * r.n * element
        r.brief = size < <Py_ssize_t>partition.ROWWISE_BRIEF_BYTES
        self.most_threads = 1 if size else 0
        if size >= <Py_ssize_t>partition.ROWWISE_SMALL_BYTES:
            self.most_threads = <int>min(tasks_of(r), <Py_ssize_t>MOST_MEMBERS)
        return 0

    def __call__(self):
        """Compute, on the threads that there are now."""
        cdef Rowwise *r = &self.how
        cdef char *at[OPERANDS]
        cdef char *sums = NULL
        cdef Py_ssize_t number
        cdef int operand, members = self.most_threads
        if members > 1:
            members = min(members, <int>self.threads())
            members = team(members) if members > 1 else 1
        if members == 0:
            return
        if r.kind == SUMS:
            sums = new_memory(tasks_of(r) * r.n * r.kernels.c_size, "sums of rows")
        for number in range(outer_places(&self.lead)):
            for operand in range(OPERANDS):
                at[operand] = self.places[operand]
                if at[operand] != NULL:
                    at[operand] += outer_offset(&self.lead, operand, number)
            run_rowwise(r, at, sums, team_still(members))
        if r.kind == SUMS:
            put_means(r, self.places[C], sums)
            free(sums)
