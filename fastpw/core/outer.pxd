"""The sums of the backward walk over a block of pixels.

    dW = dz^T . x                 sums of outer products over the pixels
    db = sums of dz

A sum over the pixels is made of sums over blocks, which is more accurate than
one long sum and the same for any number of threads.
"""

from libc.string cimport memset

from fastpw.core.ahead cimport Ahead
from fastpw.core.kernels cimport fastpw_forming, fastpw_outer_args
from fastpw.core.pixels cimport address, run_length
from fastpw.core.steps cimport DY, OUTER_DEPTH, S, XS, Walk, columns_of_weights


# Rows at a time for dW, instead of OUTER_DEPTH, of a block that a team shares. Not all that they read stays in the
# first-level cache; but such blocks are small, and with one turn for two dW need not be read for the second (14 x 14,
# 1024 -> 256: 1.03 of the speed, in the mean 1.01).
cdef enum:
    SHARED_DEPTH = 208

# Panels of x at a time, if several fit into the first-level cache: dW is then written in long runs.
cdef enum:
    PANELS_BYTES = 32 << 10

# Rows of x so many bytes apart, or a multiple, lie in few sets of the first-level cache: they push each other out,
# unless they are packed, which costs 3 % elsewhere (56 x 56, 256 -> 64).
cdef enum:
    FEW_SETS = 2048

# Tiles of dW that a panel meets, one above the other, for which x need not be packed: packing reads and writes it.
cdef enum:
    FEW_TILES = 3

# Tiles of dW, one above the other, that meet a panel before the next.
cdef enum:
    SOME_TILES = 4


cdef inline Py_ssize_t weight_panels(const Walk *w) noexcept nogil:
    cdef Py_ssize_t width = w.kernels.tiles[0].nr
    return (columns_of_weights(w) + width - 1) // width


cdef inline bint spreads(Py_ssize_t ld) noexcept nogil:
    """Whether rows so far apart use enough sets of the first-level cache."""
    return ld % FEW_SETS != 0


# `origin` is the first row of the block whose buffers lie at `space`; what is needed besides is at `own`.

cdef inline void pack_columns(const Walk *w, Py_ssize_t origin, Py_ssize_t m, Py_ssize_t first, Py_ssize_t last,
                              char *panels) noexcept nogil:
    """Panels first..last-1 of x, in the order in which the weights' sums read them."""
    cdef Py_ssize_t width = w.kernels.tiles[0].nr, element = w.kernels.a_size
    cdef Py_ssize_t at = first * width * element, n = min(last * width, columns_of_weights(w)) - first * width
    cdef Py_ssize_t row = origin, stop = origin + m, run
    while row < stop:
        run = run_length(&w.pixels, row, stop)
        w.kernels.split(run, n, address(&w.pixels, XS, row) + at, w.pixels.rows[XS].stride[2],
                        panels + (row - origin) * width * element, w.panel_bytes)
        row += run


# Both operands of the sums of dW: A by its columns, B by its panels.
cdef struct Outer:
    const char *a
    Py_ssize_t lda
    const char *b
    Py_ssize_t ldb, panel_step   # from depth to depth, from panel to panel
    # What B, which is dz, is formed from as the first rows of dW are summed; dy NULL: it is there.
    fastpw_forming forming


cdef inline void sum_panel(const Walk *w, const Outer *outer, Py_ssize_t m, Py_ssize_t first, Py_ssize_t last,
                           Py_ssize_t panel, bint adds, char *to, Ahead *ahead) noexcept nogil:
    """Rows first..last-1 of one panel of dW over the m rows of a block."""
    cdef Py_ssize_t width = w.kernels.tiles[0].nr, element = w.kernels.a_size, depth = 0
    cdef Py_ssize_t most = SHARED_DEPTH if w.slices == 1 else OUTER_DEPTH
    cdef fastpw_outer_args b
    cdef fastpw_forming forming = outer.forming
    cdef bint forms = forming.dy != NULL and first == 0
    b.m, b.n = last - first, min(width, columns_of_weights(w) - panel * width)
    b.a, b.lda, b.b, b.ldb = outer.a + first * element, outer.lda, outer.b + panel * outer.panel_step, outer.ldb
    b.c, b.ldc = to + first * w.weights_ld + panel * width * element, w.weights_ld
    b.adds = adds
    b.forming = &forming if forms else NULL
    if forms:
        forming.dy += panel * outer.panel_step
        forming.s += panel * outer.panel_step
        if forming.sums != NULL:
            forming.sums += panel * outer.panel_step
    while depth < m:
        b.k = min(most, m - depth)
        b.ahead, forming.dz = &ahead.runs[0], <char *>b.b
        w.kernels.outer(&b)
        b.adds = True
        b.a += b.k * b.lda
        b.b += b.k * b.ldb
        if forms:
            forming.dy += b.k * forming.lddy
            forming.s += b.k * forming.lds
        depth += b.k


cdef inline void sum_panels(const Walk *w, const Outer *outer, Py_ssize_t m, Py_ssize_t first, Py_ssize_t last,
                            Py_ssize_t panel, Py_ssize_t last_panel, bint adds, char *to,
                            Ahead *ahead) noexcept nogil:
    """The same of some panels: a few rows at a time through them."""
    cdef Py_ssize_t row = first, rows = last - first, j
    if last_panel - panel > 1:
        rows = SOME_TILES * w.kernels.tiles[0].mr
    while row < last:
        for j in range(panel, last_panel):
            sum_panel(w, outer, m, row, min(row + rows, last), j, adds, to, ahead)
        row += rows


cdef inline fastpw_forming no_forming() noexcept nogil:
    cdef fastpw_forming forming
    forming.dy = forming.s = forming.dz = forming.sums = NULL
    forming.lddy = forming.lds = 0
    return forming


cdef inline fastpw_forming forming_of(const Walk *w, Py_ssize_t origin, char *bias) noexcept nogil:
    cdef fastpw_forming forming = no_forming()
    if w.forms:
        forming.dy, forming.lddy = address(&w.pixels, DY, origin), w.pixels.rows[DY].stride[2]
        forming.s, forming.lds = address(&w.pixels, S, origin), w.pixels.rows[S].stride[2]
        forming.sums = bias
    return forming


cdef inline Outer outer_of(const Walk *w, Py_ssize_t origin, const char *space, char *bias) noexcept nogil:
    """A, and B where it lies."""
    cdef Outer outer
    outer.forming = forming_of(w, origin, bias)
    outer.panel_step = w.kernels.tiles[0].nr * w.kernels.a_size
    outer.a, outer.lda = space, w.dz_ld
    if not w.across:
        outer.b, outer.ldb = address(&w.pixels, XS, origin), w.pixels.rows[XS].stride[2]
        return outer
    outer.b, outer.ldb = outer.a, outer.lda
    outer.a, outer.lda = space + w.x_at, w.x_ld
    if w.x_in_place:
        outer.a, outer.lda = address(&w.pixels, XS, origin), w.pixels.rows[XS].stride[2]
    return outer


cdef inline Py_ssize_t panels_in_place(const Walk *w, Py_ssize_t rows) noexcept nogil:
    """How many panels are read where they lie: those of dz, whose rows are whole cache lines, and whole ones of x, if
    they stay in the first-level cache from one tile to the next, or meet few tiles."""
    if w.across:
        return weight_panels(w)
    if w.x_in_place and (spreads(w.pixels.rows[XS].stride[2])
                         or rows <= FEW_TILES * w.kernels.tiles[0].mr):
        return columns_of_weights(w) // w.kernels.tiles[0].nr
    return 0


cdef inline void add_columns(const Walk *w, Py_ssize_t m, Py_ssize_t first, Py_ssize_t last, bint adds, char *to,
                             const char *dz, const char *x) noexcept nogil:
    """Sums of columns of dz, or of their products with those of x, where each has a weight of its own."""
    cdef Py_ssize_t at = first * w.kernels.a_size
    if not adds:
        memset(to + at, 0, (last - first) * w.kernels.a_size)
    w.kernels.column_sums(m, last - first, dz + at, w.dz_ld, x + at if x != NULL else NULL, w.x_ld, to + at)


cdef inline void sum_weights(const Walk *w, Py_ssize_t origin, Py_ssize_t m, Py_ssize_t first, Py_ssize_t last,
                             Py_ssize_t panel, Py_ssize_t last_panel, bint adds, char *to, const char *space,
                             char *own, char *bias, Ahead *ahead) noexcept nogil:
    """Rows and panels of dW; where they form dz, its sums are added to `bias`, if that is not NULL."""
    cdef Py_ssize_t width = w.kernels.tiles[0].nr, whole, stop
    cdef Outer outer
    if w.diagonal:
        add_columns(w, m, panel * width, min(last_panel * width, w.outputs), adds, to, space, space + w.x_at)
        return
    outer = outer_of(w, origin, space, bias)
    whole = min(last_panel, panels_in_place(w, last - first))
    if panel < whole:
        sum_panels(w, &outer, m, first, last, panel, whole, adds, to, ahead)
        panel = whole
    outer.ldb, outer.panel_step = width * w.kernels.a_size, w.panel_bytes
    while panel < last_panel:
        stop = min(panel + w.some_panels, last_panel)
        outer.b = own - panel * w.panel_bytes
        pack_columns(w, origin, m, panel, stop, own)
        sum_panels(w, &outer, m, first, last, panel, stop, adds, to, ahead)
        panel = stop


cdef inline void sum_bias(const Walk *w, Py_ssize_t m, Py_ssize_t first, Py_ssize_t last, bint adds, char *to,
                          const char *space) noexcept nogil:
    add_columns(w, m, first, last, adds, to, space, NULL)
