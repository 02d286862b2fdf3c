# distutils: language = c
"""The backward pass as a program: every gradient that is wanted, in one walk over the pixels.

A program consists of walks, one for each group of channels and each box of pixels, all over the same arrays.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastpw.core.clear cimport Cleared, clear
from fastpw.core.forward cimport empty, weights_of
from fastpw.core.gemm cimport Bound, Gemm, fills_lines
from fastpw.core.gradients cimport (DRESIDUAL, DY, FROM_Z, GIVEN, NOT_NEEDED, RECOMPUTED, S, XS, BoundWalk, Team, Walk)
from fastpw.core.kernels cimport (FASTPW_FROM_BIAS, FASTPW_FROM_C, FASTPW_FROM_ZERO, FASTPW_LINEAR, fastpw_epilogue)
from fastpw.core.layout cimport Layout, coincide, drop_layout, fits, lie_apart, place_of, set_layout
from fastpw.core.machine cimport kernels_for, team
from fastpw.core.ndarray cimport axes, bytes_of_number, may_be_written, ndarray, need_columns, shape_of, type_of
from fastpw.core.outer cimport panels_are_lines
from fastpw.core.panels cimport matrix_of, new_memory
from fastpw.core.pixels cimport A, AXES, C, Lead, Pixels, join_axes, lay_out_rows, take_inner_axes
from fastpw.core.steps cimport DATA_DEPTH, DATA_MANY_ROWS, DATA_PACKED_DEPTH, DATA_PANELS, DATA_STEP
from fastpw.core.walk_layout cimport (lay_out_block, lay_out_own, lay_out_sums, may_form, odd_lines, packs_panels,
                                      row_bytes)
from fastpw.core.weights cimport Weights, pack_weights
from fastpw.core.workspace cimport walk, workspace_bytes

from numpy import dtype, zeros

from fastpw.core import partition


# ---- what a walk computes ------------------------------------------------------------------------------------

# The arrays of a call: what is read, then the gradients.
cdef enum:
    OF_DY
    OF_X
    OF_WEIGHT
    OF_BIAS
    OF_Y
    OF_Z
    OF_RESIDUAL
    INPUTS
    OF_DX = INPUTS
    OF_DWEIGHT
    OF_DBIAS
    OF_DRESIDUAL
    ARRAYS


cdef int source_of(reads, y, z) except -1:
    if reads is None:
        return NOT_NEEDED
    if (z if reads == "z" else y) is not None:
        return GIVEN
    return FROM_Z if z is not None else RECOMPUTED


cdef int lay_out_pixels(Pixels *pixels, tuple operands) except -1:
    """The rows of operands, which lie along at most three axes after joining."""
    cdef Lead lead
    join_axes(&lead, operands)
    if lead.count > AXES:
        raise ValueError(f"the pixels of all arrays along at most {AXES} axes are needed, got {lead.count}")
    take_inner_axes(&lead, pixels)
    return 0


def along_few_axes(tuple arrays):
    """Whether the pixels of arrays (None aside) lie along as few axes as a walk can go, after joining."""
    cdef Lead lead
    join_axes(&lead, arrays)
    return lead.count <= AXES


cdef int cut_into_slices(Walk *w) except -1:
    """By the shape alone, which decides the order of the additions; and which way the weights are summed, which does
    not."""
    cdef Py_ssize_t inputs = max(w.inputs, 1)
    cdef int width = w.kernels.tiles[0].nr
    cdef bint forms = w.kernels.outer_forms != 0 and partition.weights_across(w.outputs, inputs, width, True)
    w.cut.slices, w.cut.slice_rows, w.cut.block_rows = partition.slices(
        w.pixels.m, w.outputs, inputs, w.kernels.tiles[0].mr, w.kernels.c_size, forms)
    w.sums.across = partition.weights_across(w.outputs, inputs, width, w.cut.slices > 1 and may_form(w))
    return 0


cdef int describe_data(Walk *w, weight, dx) except -1:
    """dx = dz . W. W is packed first if each panel is needed often, else read in place if its columns are adjacent."""
    cdef Gemm *g = &w.data
    cdef Weights b
    lay_out_pixels(&g.pixels, (None, dx, dx if w.accumulates else None, None))
    lay_out_rows(&g.pixels, A, w.block.dz_ld)
    w.packs_first = w.cut.slices > 1 and weight.ndim > 1
    w.data_depth = partition.even(w.outputs, DATA_DEPTH, DATA_STEP)
    if weight.ndim == 1:
        b = weights_of(weight[:, None], None, w.outputs, 1)
    else:
        b = weights_of(weight.T, None, 1, 1)
    g.stride_n, g.stride_k = b.matrix.ld, b.matrix.stride
    if not b.b.diagonal and not w.packs_first and g.stride_n == b.b.kernels.b_size:
        if packs_panels(w):
            w.data_panels = DATA_PANELS
            if w.pixels.m < DATA_MANY_ROWS and w.outputs >= DATA_DEPTH:
                w.data_depth = partition.even(w.outputs, DATA_PACKED_DEPTH, DATA_STEP)
        else:
            g.unpacked = b.b.n // b.b.kernels.tiles[0].nr
    g.b, g.epilogue = b.b, w.linear
    g.entry = FASTPW_FROM_C if w.accumulates else FASTPW_FROM_ZERO
    # (where it is added to, it is read, too)
    w.data_is_large = (w.cut.slices > 1 and not w.accumulates
                       and partition.leaves_caches(dx.nbytes, w.pixels.m * row_bytes(w)))
    return 0


cdef int describe_recompute(Walk *w, const Weights *weights, x, dy, residual, bint to_z) except -1:
    cdef Gemm *g = &w.recompute
    lay_out_pixels(&g.pixels, (x, dy, residual, None))
    lay_out_rows(&g.pixels, C, w.block.dz_ld)
    g.b, g.entry, g.epilogue = weights.b, FASTPW_FROM_BIAS, w.linear if to_z else w.epilogue
    if x is None:
        g.b.k = 0
    return 0


cdef int describe_walk(Walk *w, tuple views, const Weights *weights, bint accumulate, reads,
                       fastpw_epilogue epilogue) except -1:
    """Over views of a call's arrays; those that are not read or written are None."""
    dy, x, weight, _, y, z, residual, dx, dweight, dbias, dresidual = views
    cdef int last = axes(dy) - 1
    memset(w, 0, sizeof(w[0]))
    w.kernels = kernels_for(type_of(dy))
    w.epilogue, w.linear.activation = epilogue, FASTPW_LINEAR
    w.outputs, w.inputs = shape_of(dy)[last], 0 if x is None else shape_of(x)[last]
    for view in (y, z, residual, dresidual):
        need_columns(view, w.outputs)
    if x is not None:
        need_columns(dx, w.inputs)
    w.wants_data, w.wants_weights, w.wants_bias = dx is not None, dweight is not None, dbias is not None
    w.wants_residual = dresidual is not None
    w.diagonal = w.wants_weights and dweight.ndim == 1
    w.accumulates = w.adds_bias = accumulate
    w.source = source_of(reads, y, z)
    w.dweight, w.dbias = matrix_of(dweight), matrix_of(dbias)
    lay_out_pixels(&w.pixels, (dy, z if reads == "z" or y is None else y, x if w.wants_weights else None, dresidual))
    cut_into_slices(w)
    w.block.dz_ld, w.block.x_ld = odd_lines(w.outputs * w.kernels.a_size), odd_lines(w.inputs * w.kernels.a_size)
    if w.source == RECOMPUTED:
        describe_recompute(w, weights, x, dy, residual, reads == "z")
    if w.wants_data:
        describe_data(w, weight, dx)
    lay_out_sums(w)
    lay_out_block(w)
    lay_out_own(w)
    return 0


# ---- what a team needs ---------------------------------------------------------------------------------------

# A core fetches ahead of rows that it reads one after the other. What a thread writes and reads so often lies in one
# piece, with a gap behind it, or it would take from other cores what they write.
cdef enum:
    GAP_ROWS = 32
    MOST_GAP_BYTES = 256 << 10


cdef int threads_of(const Walk *w, int threads) except -1:
    """So many threads at most."""
    cdef Py_ssize_t work = w.pixels.m * w.outputs * max(w.inputs, 1) * max(w.wants_data + w.wants_weights, 1)
    return 1 if work < partition.SMALL_WORK else threads


cdef int lay_out_team(const Walk *w, Team *t, int threads) except -1:
    t.threads, t.groups = threads, partition.TASKS_PER_THREAD
    if threads == 1 and panels_are_lines(w):
        t.groups = 1                 # (all panels meet some rows before the next)
    t.copies = threads if w.cut.slices > 1 or threads <= partition.MOST_COPIES else 1
    t.member_bytes = w.own.size
    if threads > 1:
        t.member_bytes += min(<Py_ssize_t>GAP_ROWS * w.block.dz_ld, <Py_ssize_t>MOST_GAP_BYTES)
    if t.copies > 1:
        t.member_bytes += w.block.size
    t.adding_threads = 1 if w.sums.weights_bytes < partition.SMALL_SUMS_BYTES else threads
    return 0


# ---- the program ---------------------------------------------------------------------------------------------

cdef struct Part:
    Walk walk
    Team team
    Py_ssize_t offsets[ARRAYS]       # of the part's first element, from the array's
    bint used[ARRAYS]
    Py_ssize_t packed_offset


cdef class Backward:
    """A backward pass over arrays laid out in one way. It does not change, and many threads may share it.

    Parameters
    ----------
    arrays : (dy, x, weight, bias, y, z, residual, dx, dweight, dbias, dresidual)
        Arrays of any number of axes, pixels with adjacent channels; None where there is none.
    parts : sequence of (views, group, adds_bias)
        What each walk reads and writes: views of `arrays`, in their order. x is None where pixels meet no input. weight
        and dweight are (outputs, inputs), or (outputs,) where each channel has one weight. The walks after the first
        add to dbias if `adds_bias` says so.
    cleared : sequence of arrays
        Views of dx that get zeros before.
    how : (matrix, groups, reads, activation, accumulate, in_place)
        The weight as (K, C // groups); its groups; "y", "z" or None, what the derivative of the activation is read
        from; the activation's code, alpha and beta (kernel_set.h); whether to add to the gradients' arrays; whether
        dx may lie exactly on dy, y, z or the residual.
    threads : callable
        Says how many threads a call may use.
    """

    cdef Layout layouts[ARRAYS]
    cdef Weights weights
    cdef Part *parts
    cdef Cleared *cleared
    cdef int count, cleared_count, clearing_threads
    cdef bint recomputes, reads_x, accumulates, in_place
    cdef tuple shapes
    cdef object dtype, threads
    cdef bint follows                # whether the call would use more than one thread
    cdef int asked                   # how many it may use
    cdef int most_threads            # how many it uses at most

    def __cinit__(self):
        self.parts, self.cleared = NULL, NULL

    def __init__(self, tuple arrays, parts, cleared, how, threads):
        cdef int i
        cdef fastpw_epilogue epilogue
        matrix, groups, reads, activation, self.accumulates, self.in_place = how
        epilogue.activation, epilogue.alpha, epilogue.beta = activation
        for i in range(ARRAYS):
            set_layout(&self.layouts[i], arrays[i])
        self.shapes = tuple([None if array is None else array.shape for array in arrays[INPUTS:]])
        self.dtype, self.threads, self.asked = dtype(arrays[OF_DY].dtype.type), threads, threads()
        self.weights = weights_of(matrix, arrays[OF_BIAS], groups, self.asked)
        self.parts = <Part *>malloc(len(parts) * sizeof(Part) + 1)
        self.cleared = <Cleared *>malloc(len(cleared) * sizeof(Cleared) + 1)
        if self.parts == NULL or self.cleared == NULL:
            raise MemoryError(f"no memory for a program of {len(parts)} parts")
        for views, group, adds_bias in parts:
            self.add(&self.parts[self.count], views, arrays, reads, epilogue)
            self.parts[self.count].packed_offset = group * self.weights.packed_bytes
            if adds_bias:
                self.parts[self.count].walk.adds_bias = True
            self.count += 1
        if self.recomputes:
            self.most_threads = max(self.most_threads, self.weights.threads)
            self.follows = self.follows or weights_of(matrix, arrays[OF_BIAS], groups, 2).threads > 1
        for view in cleared:
            self.add_cleared(view, arrays[OF_DX])

    def __dealloc__(self):
        cdef int i
        for i in range(ARRAYS):
            drop_layout(&self.layouts[i])
        free(self.parts)
        free(self.cleared)

    cdef int add(self, Part *part, tuple views, tuple arrays, reads, fastpw_epilogue epilogue) except -1:
        cdef Walk *w = &part.walk
        cdef int i
        describe_walk(w, views, &self.weights, self.accumulates, reads, epilogue)
        lay_out_team(w, &part.team, threads_of(w, self.asked))
        self.most_threads = max(self.most_threads, part.team.threads)
        self.follows = self.follows or threads_of(w, 2) > 1
        self.recomputes = self.recomputes or w.source == RECOMPUTED
        self.reads_x = self.reads_x or w.wants_weights or w.source == RECOMPUTED
        for i in range(ARRAYS):
            part.used[i] = views[i] is not None and arrays[i] is not None
            part.offsets[i] = place_of(views[i]) - place_of(arrays[i]) if part.used[i] else 0
        return 0

    cdef int add_cleared(self, view, dx) except -1:
        cdef Cleared *c = &self.cleared[self.cleared_count]
        lay_out_pixels(&c.pixels, (view,))
        c.offset = place_of(view) - place_of(dx)
        c.bytes_of_pixel = shape_of(view)[axes(view) - 1] * bytes_of_number(view)
        self.cleared_count += 1
        self.most_threads = max(self.most_threads, 1 if dx.nbytes < partition.SMALL_CLEARING_BYTES else self.asked)
        self.clearing_threads = 1 if dx.nbytes < partition.SMALL_CLEARING_BYTES else self.asked
        self.follows = self.follows or dx.nbytes >= partition.SMALL_CLEARING_BYTES
        return 0

    def __call__(self, tuple inputs, out):
        """Bind arrays and run: the gradients as a tuple, or None if the arrays have to be checked first.

        They fit if they are laid out as those that the program was described for, and if what is written lies apart
        from all else, or exactly on what may be written over.
        """
        cdef char *places[ARRAYS]
        cdef bint apart = False
        if self.follows and self.threads() != self.asked or not self.find(inputs, places, 0):
            return None
        outputs = self.outputs(out)
        if outputs is None or not self.find(outputs, places, INPUTS):
            return None
        if not self.may_write(places, &apart):
            return None
        self.run(places, apart)
        return outputs

    def run_checked(self, tuple inputs, tuple outputs):
        """Run, if the arrays have the program's layouts, and say whether they do; that the outputs may be written while
        the inputs are read has been checked."""
        cdef char *places[ARRAYS]
        cdef bint apart = False
        if self.follows and self.threads() != self.asked:
            return False
        if not self.find(inputs, places, 0) or not self.find(outputs, places, INPUTS):
            return False
        self.may_write(places, &apart)
        self.run(places, apart)
        return True

    cdef bint find(self, tuple arrays, char **places, int first) noexcept:
        """Where arrays lie, if they are laid out as they should be; those to be written may be."""
        cdef int i
        for i in range(<int>len(arrays)):
            array = arrays[i]
            if not fits(&self.layouts[first + i], array):
                return False
            if first and array is not None and not may_be_written(<ndarray>array):
                return False
            places[first + i] = place_of(array)
        # Layers that were made for another instruction set are none of this program's.
        return self.weights.b.kernels == kernels_for(self.layouts[OF_DY].type)

    cdef tuple outputs(self, out):
        """The caller's arrays, and new ones for what else is wanted; None if it is another call."""
        cdef int i
        cdef list arrays = [None] * (ARRAYS - INPUTS)
        if out is not None:
            if len(out) != ARRAYS - INPUTS:
                return None
            arrays[:] = out
        for i in range(ARRAYS - INPUTS):
            shape = self.shapes[i]
            if shape is not None and arrays[i] is None:
                arrays[i] = zeros(shape, self.dtype) if self.accumulates else empty(shape, self.dtype)
        return tuple(arrays)

    cdef bint may_write(self, char *const *places, bint *apart) noexcept:
        """Whether outputs lie apart from each other and, but where that is allowed, from what is read; `apart` without
        exception."""
        cdef int one, other
        apart[0] = True
        for one in range(INPUTS, ARRAYS):
            for other in range(one):
                if other == OF_X and not self.reads_x:
                    continue
                if lie_apart(&self.layouts[one], places[one], &self.layouts[other], places[other]):
                    continue
                apart[0] = False
                if not (self.may_lie_on(one, other) and coincide(&self.layouts[one], places[one], &self.layouts[other],
                                                                 places[other])):
                    return False
        return True

    cdef bint may_lie_on(self, int output, int read) noexcept:
        """Each pixel of these is read before the same pixel of the output is written."""
        return ((output == OF_DRESIDUAL or output == OF_DX and self.in_place)
                and read in (OF_DY, OF_Y, OF_Z, OF_RESIDUAL))

    cdef int run(self, char *const *places, bint apart) except -1:
        """All memory is there before anything is written."""
        cdef int members = team(self.most_threads)
        cdef Py_ssize_t packed_bytes = self.weights.groups * self.weights.packed_bytes if self.recomputes else 0
        cdef char *memory = new_memory(packed_bytes + self.bytes_for(members), "the workspace")
        with nogil:
            if self.cleared_count:
                clear(self.cleared, self.cleared_count, places[OF_DX], min(members, self.clearing_threads))
            if self.recomputes:
                pack_weights(&self.weights, places[OF_WEIGHT], places[OF_BIAS], memory,
                             min(members, self.weights.threads))
        self.run_parts(places, apart, memory, members)
        free(memory)
        return 0

    cdef Py_ssize_t bytes_for(self, int members) except -1:
        """The workspace of the part that needs most."""
        cdef Py_ssize_t most = 0
        cdef Team smaller
        cdef int number
        for number in range(self.count):
            most = max(most, workspace_bytes(&self.parts[number].walk, self.team_of(number, members, &smaller)))
        return most

    cdef const Team *team_of(self, int number, int members, Team *smaller) except NULL:
        """Of a part, where so many threads are there."""
        cdef const Part *part = &self.parts[number]
        if members >= part.team.threads:
            return &part.team
        lay_out_team(&part.walk, smaller, members)
        return smaller

    cdef int run_parts(self, char *const *places, bint apart, char *memory, int members) except -1:
        cdef const Part *part
        cdef Team smaller
        cdef BoundWalk r
        cdef char *at[ARRAYS]
        cdef char *workspace = memory
        cdef int number, i
        if self.recomputes:
            workspace += self.weights.groups * self.weights.packed_bytes
        for number in range(self.count):
            part = &self.parts[number]
            for i in range(ARRAYS):
                at[i] = places[i] + part.offsets[i] if part.used[i] else NULL
            r.walk, r.team, r.apart = &part.walk, self.team_of(number, members, &smaller), apart
            bind(&r, at)
            r.packed = memory + part.packed_offset
            with nogil:
                walk(&r, workspace)
        return 0

    @property
    def nbytes(self):
        """Bytes of the program itself."""
        return self.count * sizeof(Part) + self.cleared_count * sizeof(Cleared)


cdef void bind(BoundWalk *r, char *const *at) noexcept:
    """Where a walk's operands lie."""
    cdef const Walk *w = r.walk
    cdef Bound data
    r.rows[DY], r.rows[DRESIDUAL] = at[OF_DY], at[OF_DRESIDUAL]
    r.rows[S] = at[OF_Z] if at[OF_Y] == NULL else at[OF_Y]
    r.rows[XS] = at[OF_X] if w.wants_weights else NULL
    r.x, r.residual, r.weight = at[OF_X], at[OF_RESIDUAL], at[OF_WEIGHT]
    r.dx, r.dweight, r.dbias = at[OF_DX], at[OF_DWEIGHT], at[OF_DBIAS]
    r.streams = False
    if w.data_is_large:
        data.rows[C] = r.dx
        r.streams = fills_lines(&w.data, &data)
