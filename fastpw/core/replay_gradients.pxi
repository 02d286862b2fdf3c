# Gradients that were found before, of other numbers: as replay.pxi, for the backward pass.

cdef enum:
    INPUTS = 7                   # dy, x, weight, bias, y, z, residual
    OUTPUTS = 4                  # dx, dweight, dbias, dresidual


cdef bint all_fit(const Layout *layouts, tuple arrays, char **places, bint written) noexcept:
    """Whether arrays are laid out as they were (ndim -1: None), and may be written if they are to be; and where."""
    cdef int i
    for i in range(<int>len(arrays)):
        array = arrays[i]
        places[i] = NULL
        if array is None or layouts[i].ndim < 0:
            if array is not None or layouts[i].ndim >= 0:
                return False
            continue
        if not fits(&layouts[i], array) or written and not may_be_written(<ndarray>array):
            return False
        places[i] = first_byte(<ndarray>array)
    return True


cdef bint lie_apart(const Layout *layouts, char *const *places) noexcept:
    """Whether the outputs, which come after the inputs, lie apart from each other and from all inputs."""
    cdef int one, other
    cdef const char *a
    cdef const char *b
    for one in range(INPUTS, INPUTS + OUTPUTS):
        for other in range(one):
            a, b = places[one], places[other]
            if (a != NULL and b != NULL and a + layouts[one].low < b + layouts[other].high
                    and b + layouts[other].low < a + layouts[one].high):
                return False
    return True


cdef class GradientsReplay:
    """``replay(inputs, out)``: the four gradients of a call like the one recorded; None if it is another.

    Parameters
    ----------
    inputs : tuple
        dy, x, weight, bias, y, z, residual: arrays as the caller gave them, or None.
    outputs : tuple
        dx, dweight, dbias, dresidual: those that it gave, all laid out as new ones would be; None where not wanted.
    matrix, dmatrix : ndarray
        weight and dweight as (outputs, inputs), which begin where they do; dmatrix may be None.
    pixels, dpixels : ndarray
        The pixels of x and dx that are not skipped, from the first on; dpixels may be None.
    stride : (int, int)
        How far apart those are.
    reads, activation
        As for `backward`, where nothing is recomputed.
    threads : callable
        Says how many threads a call may use.
    """

    cdef Walk walk
    cdef char busy               # whether a call is using it
    cdef Skipped skipped         # of dx; no pixels if none are
    cdef Layout layouts[INPUTS + OUTPUTS]
    cdef tuple shapes
    cdef object dtype, threads
    cdef bint follows            # as in Replay
    cdef int asked, team
    cdef bint s_is_z

    def __init__(self, tuple inputs, tuple outputs, matrix, dmatrix, pixels, dpixels, tuple stride, reads,
                 tuple activation, threads):
        cdef int i
        dy, _, _, _, y, z, _ = inputs
        dx, _, dbias, dresidual = outputs
        describe_walk(&self.walk, dy, pixels, matrix, None, None, y if reads == "y" else None, z, None, dpixels,
                      dmatrix, dbias, dresidual, False, reads, activation)
        if dx is not None and stride != (1, 1):
            describe_skipped(&self.skipped, dx, (0, 0), stride)
        self.walk.apart = True
        self.s_is_z = reads == "z" or y is None
        self.dtype, self.threads = dy.dtype, threads
        self.shapes = tuple([None if array is None else array.shape for array in outputs])
        self.follows = team_of(&self.walk, 2) > 1
        self.asked = threads()
        self.team = team_of(&self.walk, self.asked)
        lay_out_walk(&self.walk, self.team)
        for i, array in enumerate((*inputs, *outputs)):
            self.layouts[i].ndim = -1
            if array is not None:
                self.layouts[i] = layout_of(array)

    def __call__(self, tuple inputs, out):
        cdef char *places[INPUTS + OUTPUTS]
        if self.walk.kernels != chosen[0 if self.layouts[0].type == FLOAT32 else 1]:
            return None
        if self.follows and self.threads() != self.asked:
            return None
        if not all_fit(self.layouts, inputs, places, False):
            return None
        outputs = self.outputs(out)
        if outputs is None or not all_fit(self.layouts + INPUTS, outputs, places + INPUTS, True):
            return None
        if not lie_apart(self.layouts, places):
            return None
        self.run(places)
        return outputs

    cdef tuple outputs(self, out):
        """The caller's arrays, and new ones for what else is wanted; None if it is another call."""
        cdef int i
        cdef list arrays = [None] * OUTPUTS
        if out is not None:
            if not isinstance(out, tuple) or len(out) != OUTPUTS:
                return None
            arrays[:] = out
        for i in range(OUTPUTS):
            shape = self.shapes[i]
            if shape is not None and arrays[i] is None:
                arrays[i] = empty(shape, self.dtype)
        return tuple(arrays)

    cdef int run(self, char *const *places) except -1:
        """What was recorded, in its place (as Replay), or a copy if that is busy or the team another."""
        cdef Walk copy
        cdef int threads = team(self.team)
        if threads != self.team or test_and_set(&self.busy, ACQUIRE):
            copy = self.walk
            lay_out_walk(&copy, threads)
            self.walk_at(&copy, places, threads)
            return 0
        try:
            self.walk_at(&self.walk, places, threads)
        finally:
            clear(&self.busy, RELEASE)
        return 0

    cdef int walk_at(self, Walk *w, char *const *places, int threads) except -1:
        """With other arrays."""
        cdef Skipped skipped = self.skipped
        cdef char *const *outputs = places + INPUTS
        cdef bint streams
        point(&w.pixels.rows[DY].base, places[0])
        if w.source != NOT_NEEDED:
            point(&w.pixels.rows[S].base, places[5 if self.s_is_z else 4])
        if w.wants_weights:
            point(&w.pixels.rows[XS].base, places[1])
        if w.wants_data:
            point(<char **>&w.data.b.base, places[2])
            point(&w.data.pixels.rows[A].base, outputs[0])
            point(&w.data.pixels.rows[C].base, outputs[0])
            streams = w.data.large and fills_lines(&w.data)
            if w.data.streams != streams:
                w.data.streams = streams
        point(&w.dweight.base, outputs[1])
        point(&w.dbias.base, outputs[2])
        point(&w.pixels.rows[DRESIDUAL].base, outputs[3])
        if skipped.pixels.m:
            skipped.pixels.rows[0].base = outputs[0]
            with nogil:
                zero_skipped(&skipped, threads)
        walk(w, threads)
        return 0
