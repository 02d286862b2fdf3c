"""The sums of the backward walk over a block of pixels.

    dW = dz^T . x                 sums of outer products over the pixels
    db = sums of dz

A sum over the pixels is made of sums over blocks, which is more accurate than one long sum and the same for any number
of threads.
"""

from libc.string cimport memset

from fastpw.core.gradients cimport DY, S, XS, Walk, Worker, columns_of_weights, panels_of_weights
from fastpw.core.kernels cimport fastpw_forming, fastpw_outer_args
from fastpw.core.panels cimport CACHE_LINE
from fastpw.core.pixels cimport address, run_length
from fastpw.core.steps cimport OUTER_DEPTH


cdef enum:
    # Rows at a time for dW, instead of OUTER_DEPTH, of a block that a team shares: with one turn for two, dW need not
    # be read for the second. Not all that they read stays in the first-level cache; but such blocks are small.
    SHARED_DEPTH = 208
    # Panels of x at a time, if several fit into the first-level cache: dW is then written in long runs. Where a few
    # pixels meet all panels before the next (`by_depths`), the second-level cache holds the panels.
    PANELS_BYTES = 32 << 10
    DEPTHS_BYTES = 128 << 10
    # Rows of x so many bytes apart, or a multiple, lie in few sets of the first-level cache: they push each other out,
    # unless they are packed. A panel of one cache line has more rows in it than another, and is packed sooner.
    FEW_SETS = 2048
    FEW_SETS_OF_LINES = 256
    # Tiles of dW that a panel meets, one above the other, for which x need not be packed: packing reads and writes it.
    FEW_TILES = 3
    # Tiles of dW, one above the other, that meet a panel before the next; and where a few pixels meet all panels.
    SOME_TILES = 4
    TILES_BY_DEPTHS = 16


# Some rows and panels of dW, and how they are summed.
cdef struct Region:
    Py_ssize_t first, last       # rows of dW
    Py_ssize_t panel, last_panel
    Py_ssize_t pixel, m          # the first pixel, counted from the block's, and how many
    bint adds                    # to what is there
    char *to                     # dW
    char *bias                   # where sums of dz are added as it is formed; NULL: nowhere


# Both operands of the sums of dW: A by its columns, B by its panels.
cdef struct Outer:
    const char *a
    Py_ssize_t lda
    const char *b
    Py_ssize_t ldb, panel_step   # from depth to depth, from panel to panel
    # What B, which is dz, is formed from as the first rows of dW are summed; dy NULL: it is there.
    fastpw_forming forming


cdef inline bint panels_are_lines(const Walk *w) noexcept nogil:
    """Whether a row of a panel is no longer than a cache line. Tiles take long for it then, and meet all panels with
    what the first-level cache holds of the rows."""
    return w.kernels.tiles[0].nr * w.kernels.a_size <= CACHE_LINE


cdef inline Py_ssize_t depth_of_sums(const Walk *w) noexcept nogil:
    """Pixels that a tile sums before it adds to what is there."""
    return SHARED_DEPTH if w.cut.slices == 1 else OUTER_DEPTH


# ---- the operands --------------------------------------------------------------------------------------------

cdef inline void set_forming(const Worker *t, char *bias, fastpw_forming *forming) noexcept nogil:
    cdef const Walk *w = t.walk
    memset(forming, 0, sizeof(forming[0]))
    if w.sums.forms:
        forming.dy, forming.lddy = address(&w.pixels, t.r.rows, DY, t.origin), w.pixels.stride[DY][2]
        forming.s, forming.lds = address(&w.pixels, t.r.rows, S, t.origin), w.pixels.stride[S][2]
        forming.sums = bias


cdef inline void set_outer(const Worker *t, char *bias, Outer *outer) noexcept nogil:
    """A, and B where it lies."""
    cdef const Walk *w = t.walk
    cdef const char *x = address(&w.pixels, t.r.rows, XS, t.origin)
    set_forming(t, bias, &outer.forming)
    outer.panel_step = w.kernels.tiles[0].nr * w.kernels.a_size
    outer.a, outer.lda = t.space, w.block.dz_ld
    if not w.sums.across:
        outer.b, outer.ldb = x, w.pixels.stride[XS][2]
        return
    outer.b, outer.ldb = outer.a, outer.lda
    outer.a, outer.lda = t.space + w.block.x_at, w.block.x_ld
    if w.sums.x_in_place:
        outer.a, outer.lda = x, w.pixels.stride[XS][2]


cdef inline bint spreads(const Worker *t) noexcept nogil:
    """Whether a panel of x, where it lies, is no more cache lines than rows, in enough sets of the first cache."""
    cdef const Walk *w = t.walk
    cdef Py_ssize_t ld = w.pixels.stride[XS][2], lines
    if not panels_are_lines(w):
        return ld % FEW_SETS != 0
    lines = ld | <Py_ssize_t>address(&w.pixels, t.r.rows, XS, t.origin)
    return 0 < ld <= 2 * CACHE_LINE or lines % CACHE_LINE == 0 and ld % FEW_SETS_OF_LINES != 0


cdef inline Py_ssize_t panels_in_place(const Worker *t, Py_ssize_t rows) noexcept nogil:
    """How many panels are read where they lie: those of dz, whose rows are whole cache lines, and whole ones of x, if
    they stay in the first-level cache from one tile to the next, or meet few tiles."""
    cdef const Walk *w = t.walk
    if w.sums.across:
        return panels_of_weights(w)
    if w.sums.x_in_place and (rows <= FEW_TILES * w.kernels.tiles[0].mr or spreads(t)):
        return columns_of_weights(w) // w.kernels.tiles[0].nr
    return 0


cdef inline void pack_columns(const Worker *t, const Region *region) noexcept nogil:
    """Panels of x, in the order in which the weights' sums read them."""
    cdef const Walk *w = t.walk
    cdef Py_ssize_t width = w.kernels.tiles[0].nr, element = w.kernels.a_size, first = region.panel * width
    cdef Py_ssize_t n = min(region.last_panel * width, columns_of_weights(w)) - first
    cdef Py_ssize_t start = t.origin + region.pixel, row = start, stop = start + region.m, run
    while row < stop:
        run = run_length(&w.pixels, row, stop)
        w.kernels.split(run, n, address(&w.pixels, t.r.rows, XS, row) + first * element, w.pixels.stride[XS][2],
                        t.own + (row - start) * width * element, w.own.panel_bytes)
        row += run


# ---- the sums ------------------------------------------------------------------------------------------------

cdef inline void set_panel(const Worker *t, const Outer *outer, const Region *region, Py_ssize_t panel,
                           fastpw_outer_args *args) noexcept nogil:
    """The rows of one panel of dW, from the first pixel on."""
    cdef const Walk *w = t.walk
    cdef Py_ssize_t width = w.kernels.tiles[0].nr, element = w.kernels.a_size
    args.m, args.n = region.last - region.first, min(width, columns_of_weights(w) - panel * width)
    args.a, args.lda = outer.a + region.first * element, outer.lda
    args.b, args.ldb = outer.b + panel * outer.panel_step, outer.ldb
    args.c, args.ldc = region.to + region.first * w.sums.ld + panel * width * element, w.sums.ld
    args.adds, args.ahead, args.forming = region.adds, &t.ahead.runs[0], NULL


cdef inline void sum_panel(const Worker *t, const Outer *outer, const Region *region, Py_ssize_t panel) noexcept nogil:
    """The rows of one panel of dW over the pixels of a block, some at a time."""
    cdef Py_ssize_t most = depth_of_sums(t.walk), depth = 0
    cdef bint forms = outer.forming.dy != NULL and region.first == 0
    cdef fastpw_forming forming = outer.forming
    cdef fastpw_outer_args args
    set_panel(t, outer, region, panel, &args)
    if forms:
        args.forming = &forming
        forming.dy += panel * outer.panel_step
        forming.s += panel * outer.panel_step
        if forming.sums != NULL:
            forming.sums += panel * outer.panel_step
    while depth < region.m:
        args.k = min(most, region.m - depth)
        forming.dz = <char *>args.b
        t.walk.kernels.outer(&args)
        args.adds = True
        args.a += args.k * args.lda
        args.b += args.k * args.ldb
        if forms:
            forming.dy += args.k * forming.lddy
            forming.s += args.k * forming.lds
        depth += args.k


cdef inline void sum_panels(const Worker *t, const Outer *outer, const Region *all_) noexcept nogil:
    """The same of some panels: a few rows at a time through them."""
    cdef Py_ssize_t rows = all_.last - all_.first, panel
    cdef Region region = all_[0]
    if all_.last_panel - all_.panel > 1:
        rows = (TILES_BY_DEPTHS if panels_are_lines(t.walk) else SOME_TILES) * t.walk.kernels.tiles[0].mr
    while region.first < all_.last:
        region.last = min(region.first + rows, all_.last)
        for panel in range(all_.panel, all_.last_panel):
            sum_panel(t, outer, &region, panel)
        region.first = region.last


cdef inline void sum_pixels(const Worker *t, const Outer *outer, const Region *all_, bint packs) noexcept nogil:
    """The same over all pixels of the block: some of them at a time through all panels, where the walk says so. The
    order of the additions is the same either way."""
    cdef Py_ssize_t step = t.walk.sums.pixels
    cdef Outer some = outer[0]
    cdef Region region = all_[0]
    while region.pixel < all_.m:
        region.m = min(step, all_.m - region.pixel)
        if packs:
            pack_columns(t, &region)
        sum_panels(t, &some, &region)
        some.a += step * some.lda
        if not packs:
            some.b += step * some.ldb
        if some.forming.dy != NULL:
            some.forming.dy += step * some.forming.lddy
            some.forming.s += step * some.forming.lds
        region.pixel += region.m
        region.adds = True


cdef inline void add_columns(const Worker *t, const Region *region, const char *x) noexcept nogil:
    """Sums of columns of dz, those from `first` on, or of their products with those of x, where each has a weight of
    its own."""
    cdef const Walk *w = t.walk
    cdef Py_ssize_t offset = region.first * w.kernels.a_size, n = region.last - region.first
    if not region.adds:
        memset(region.to + offset, 0, n * w.kernels.a_size)
    w.kernels.column_sums(region.m, n, t.space + offset, w.block.dz_ld, x + offset if x != NULL else NULL,
                          w.block.x_ld, region.to + offset)


cdef inline void sum_weights(const Worker *t, const Region *all_) noexcept nogil:
    """Rows and panels of dW; where they form dz, its sums are added to db."""
    cdef const Walk *w = t.walk
    cdef Py_ssize_t width = w.kernels.tiles[0].nr, whole
    cdef Outer outer
    cdef Region region = all_[0]
    if w.diagonal:
        region.first, region.last = all_.panel * width, min(all_.last_panel * width, w.outputs)
        add_columns(t, &region, t.space + w.block.x_at)
        return
    set_outer(t, all_.bias, &outer)
    region.pixel = 0
    whole = min(all_.last_panel, panels_in_place(t, all_.last - all_.first))
    if region.panel < whole:
        region.last_panel = whole
        sum_pixels(t, &outer, &region, False)
        region.panel = whole
    outer.ldb, outer.panel_step = width * w.kernels.a_size, w.own.panel_bytes
    while region.panel < all_.last_panel:
        region.last_panel = min(region.panel + w.own.some_panels, all_.last_panel)
        outer.b = t.own - region.panel * w.own.panel_bytes
        sum_pixels(t, &outer, &region, True)
        region.panel = region.last_panel


cdef inline void sum_bias(const Worker *t, const Region *region) noexcept nogil:
    add_columns(t, region, NULL)
