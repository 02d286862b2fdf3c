"""Random calls of fastpw's public functions: what is called depends on seed and number, on no build.

make(seed, number) draws a call: its shapes, options, threads, and how its arrays lie in memory. Its run()
fills them with numbers, makes the call, and returns what was written, by name: the whole memory that an
output lies in, so that a byte written beside it is noticed.
"""

import math

import numpy as np
from layouts import READ, SUMMED, TIDY, WRITTEN, Draw, Memory, layout, numbers

import fastpw

MOST_WORK = 1 << 25  # multiply-adds, but for the calls that stream
STREAMS_EVERY = 250  # one call in so many touches 28 MiB and more, and goes past the caches

READ_FROM_Z = ("hard_swish", "silu", "gelu", "gelu_tanh")
WITH_PARAMETERS = (("clip", -1.5, 2.25), ("clip", -0.25, 0.25), ("leaky_relu", 0.125), ("leaky_relu", 2.0))
ACTIVATIONS = (None, None, "relu", "relu", "relu", "relu6", "hard_sigmoid", "sigmoid", "tanh")
ACTIVATIONS += WITH_PARAMETERS + READ_FROM_Z
SPECIALS = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-40, -1e-310, 3e38)
WEIGHT_AXES = ("OI", "OIHW", "HWIO", "OHWI")
WRT = ("x", "weight", "bias", "residual")


# ---- sizes -----------------------------------------------------------------------------------------------


def sizes(draw, streams):
    """Rows, C and K: all widths around the tiles, few and many rows, weights within a cache and beyond."""
    if streams:
        return draw.choice(((110000, 16, 96), (70000, 64, 64), (130000, 40, 30), (60000, 20, 130)))
    kind = draw.pick({"tiles": 40, "wide": 12, "tall": 25, "narrow": 13, "square": 10})
    if kind == "tiles":
        return draw.randint(1, 40), draw.randint(1, 90), draw.randint(1, 140)
    if kind == "narrow":
        return draw.log(500, 30000), draw.randint(1, 20), draw.randint(1, 20)
    if kind == "wide":
        rows, C, K = draw.log(1, 300), draw.log(64, 2048), draw.log(64, 2048)
    elif kind == "tall":
        rows, C, K = draw.log(100, 6000), draw.log(1, 300), draw.log(1, 300)
    else:
        rows, C, K = draw.log(100, 1500), draw.log(150, 700), draw.log(150, 700)
    return max(1, min(rows, MOST_WORK // (C * K))), C, K


def leading(draw, rows):
    """Up to four axes of about so many rows."""
    axes = draw.pick({0: 1, 1: 8, 2: 8, 3: 10, 4: 4})
    shape = [draw.log(1, max(1, rows ** (1 / axes))) for _ in range(axes - 1)]
    shape += [max(1, rows // math.prod(shape))] if axes else []
    draw.shuffle(shape)
    return shape


def in_groups(draw, C, K):
    """C, K and the groups that divide them."""
    kind = draw.pick({"one": 75, "some": 13, "each": 12})
    if kind == "one":
        return C, K, 1
    if kind == "each":
        return C, C, C
    groups = draw.choice((2, 3, 4, 8))
    return groups * -(-C // groups), groups * -(-K // groups), groups


def paddings(draw):
    """A padding in each of its forms."""

    def side():
        return draw.choice((0, 0, 1, 2, 3))

    return draw.choice((0, 1, "same", "valid", (side(), side()), ((side(), side()), (side(), side()))))


def output_sizes(shape, stride, padding):
    """The leading axes of the result."""
    steps, borders = pair(stride), pair(0 if isinstance(padding, str) else padding)
    sizes = [size + sum(pair(border)) for size, border in zip(shape[-2:], borders, strict=True)]
    return [*shape[:-2], *((size - 1) // step + 1 for size, step in zip(sizes, steps, strict=True))]


def pair(value):
    return (value, value) if isinstance(value, int) else value


# ---- calls -----------------------------------------------------------------------------------------------


class Call:
    """What all calls have: options, and the layouts of x, weight and bias."""

    repeats = 1

    def __init__(self, draw, seed, number):
        self.draw, self._key = draw, f"{seed} {number}"
        self.dtype = np.dtype(draw.pick({"float32": 3, "float64": 1}))
        self.threads = draw.choice((1, 2, 3))
        self.streams = number % STREAMS_EVERY == STREAMS_EVERY - 1
        self.tidy = draw.often(0.8 if self.streams else 0.35)
        self._draw_problem(*sizes(draw, self.streams))
        self.special = draw.often(0.1)
        self.shared = None  # names of an input and an output in the same memory, and where in it each begins
        self.layouts = {
            "x": self._lies(self.x_shape, READ),
            "weight": self._lies(self.weight_shape, {**READ, "scattered": 10}),
        }
        if draw.often(0.7):
            self.layouts["bias"] = self._lies((self.K,), {**READ, "scattered": 10})

    def _draw_problem(self, rows, C, K):
        draw = self.draw
        C = K if draw.often(0.15) else C
        C, K, groups = (C, K, 1) if self.streams else in_groups(draw, C, K)
        shape = leading(draw, rows) or [rows] * self.streams
        if draw.often(0.02) and not self.streams:
            empty, groups = draw.randrange(len(shape) + 2), 1
            *shape, C, K = (0 if axis == empty else size for axis, size in enumerate((*shape, C, K)))
        self.options = {
            "groups": groups,
            "activation": draw.choice(ACTIVATIONS),
            "weight_layout": draw.choice(WEIGHT_AXES),
        }
        outputs = shape
        if len(shape) in (2, 3) and draw.often(0.5):
            stride, padding = draw.choice((1, 1, 2, 3, (1, 2), (3, 1))), paddings(draw)
            outputs = output_sizes(shape, stride, padding)
            self.options |= {"stride": stride, "padding": padding}
        self.K, self.x_shape, self.y_shape = K, (*shape, C), (*outputs, K)
        sizes_of = {"O": K, "I": C // groups, "H": 1, "W": 1}
        self.weight_shape = tuple(sizes_of[axis] for axis in self.options["weight_layout"])
        stride, padding = self.options.get("stride", 1), self.options.get("padding", 0)
        self.plain = stride == 1 and padding in (0, "same", "valid")

    def _lies(self, shape, weights):
        return layout(self.draw, shape, TIDY if self.tidy else weights, self.dtype)

    def _share(self, inputs, outputs):
        """Sometimes lets an input and an output lie in the same memory, exactly or not quite."""
        inputs = [name for name in inputs if name in self.layouts]
        outputs = [name for name in outputs if name in self.layouts]
        if inputs and outputs and self.draw.often(0.15):
            exactly = self.draw.often(0.4)
            starts = (0, 0) if exactly else (self.draw.randrange(30), self.draw.randrange(30))
            self.shared = self.draw.choice(inputs), self.draw.choice(outputs), *starts

    def arrays(self, repeat):
        """Memory by name; other numbers for each repeat."""
        draw = Draw(f"{self._key} {repeat}")
        made = {name: lies.make(draw, self.dtype) for name, lies in self.layouts.items()}
        if self.shared:
            *names, first, second = self.shared
            one, other = (self.layouts[name].shape for name in names)
            a, b = slice(first, first + math.prod(one)), slice(second, second + math.prod(other))
            flat = numbers(draw, max(a.stop, b.stop), self.dtype)
            made[names[0]] = Memory(flat[a].reshape(one), flat)
            made[names[1]] = Memory(flat[b].reshape(other), flat)
        made["weight"].flat[...] *= 1 / math.sqrt(max(1, self.x_shape[-1]) if draw.often(0.7) else 1)
        if self.special:
            self._plant(draw, made)
        return made

    def _plant(self, draw, made):
        """NaN, infinities, zeros, subnormals here and there."""
        with np.errstate(over="ignore"):
            for memory in made.values():
                for _ in range(draw.randrange(4) if memory.flat.size else 0):
                    memory.flat[draw.randrange(memory.flat.size)] = draw.choice(SPECIALS)

    def run(self, threads=None):
        """Makes the call, on its own number of threads or another; what it wrote, by name."""
        with fastpw.num_threads(threads or self.threads):
            return dict(self._results())

    def __str__(self):
        said = [type(self).__name__, f"x {self.x_shape}", f"weight {self.weight_shape}", str(self.dtype)]
        said += [f"{key} {value}" for key, value in self.options.items()]
        said += [f"{lies.name} {name}" for name, lies in self.layouts.items()]
        said += (
            ["x None"] * ("x" not in self.layouts)
            + [f"shared {self.shared}"] * bool(self.shared)
            + ["specials"] * self.special
        )
        return ", ".join([*said, f"threads {self.threads}"])


class Function(Call):
    """conv1x1."""

    may_have_z = True

    def __init__(self, *key):
        super().__init__(*key)
        draw = self.draw
        for name, weights in (("residual", READ), ("out", WRITTEN), ("out_z", WRITTEN)):
            if draw.often(0.6 if name == "out" else 0.35) and (name != "out_z" or self.may_have_z):
                self.layouts[name] = self._lies(self.y_shape, weights)
        self.in_place = {"residual", "out"} <= self.layouts.keys() and draw.often(0.4)
        if self.in_place:
            self.layouts["residual"] = self.layouts["out"]._replace(name="in place")
        else:
            self._share(("x", "residual"), ("out",))

    def arrays(self, repeat):
        made = super().arrays(repeat)
        return made | {"residual": made["out"]} if self.in_place else made

    def _results(self):
        made = self.arrays(0)
        given = {name: memory.array for name, memory in made.items()}
        inputs = given.pop("x"), given.pop("weight"), given.pop("bias", None)
        y = fastpw.conv1x1(*inputs, **given, **self.options)
        yield "y", made["out"].flat if "out" in made else y
        if "out_z" in made:
            yield "z", made["out_z"].flat


class Layer(Function):
    """Conv1x1, called again with arrays that lie alike."""

    may_have_z = False
    repeats = 3

    def _results(self):
        first = self.arrays(0)
        weights = first["weight"].array, first["bias"].array if "bias" in first else None
        layer = fastpw.Conv1x1(*weights, **self.options)
        for repeat in range(self.repeats):
            made = self.arrays(repeat)
            given = {name: made[name].array for name in ("residual", "out") if name in made}
            y = layer(made["x"].array, **given)
            yield f"y of call {repeat}", made["out"].flat if "out" in made else y


class Gradients(Call):
    """conv1x1_backward, called again with arrays that lie alike."""

    repeats = 2

    def __init__(self, *key):
        super().__init__(*key)
        draw = self.draw
        wrt = tuple(name for name in WRT if draw.often(0.3 if name == "residual" else 0.75))
        self.options |= {"wrt": wrt, "accumulate": draw.often(0.1 if self.tidy else 0.5)}
        self.layouts["dy"] = self._lies(self.y_shape, READ)
        for name in ("y", "z", "residual"):
            if draw.often(0.5):
                self.layouts[name] = self._lies(self.y_shape, READ)
        if self.options["activation"] in READ_FROM_Z and not {"z", "bias"} & self.layouts.keys():
            self.layouts.pop("y", None)  # which alone is refused
        if self._reads_no_x() and draw.often(0.5):
            del self.layouts["x"]
        shapes = dict(zip(WRT, (self.x_shape, self.weight_shape, (self.K,), self.y_shape), strict=True))
        given = draw.choice((0, 0.6, 1))
        self.outputs = [f"d{name}" for name in wrt if draw.often(given)]
        for name in self.outputs:
            weights = WRITTEN if name in ("dx", "dresidual") else SUMMED
            self.layouts[name] = self._lies(shapes[name[1:]], weights)
        self._share(("dy", "x", "y", "z", "residual", "weight"), self.outputs)

    def _reads_no_x(self):
        activation = self.options["activation"]
        from_y = "y" in self.layouts and activation not in READ_FROM_Z
        enough = activation is None or "z" in self.layouts or from_y
        return self.plain and enough and "weight" not in self.options["wrt"]

    def _results(self):
        for repeat in range(self.repeats):
            made = self.arrays(repeat)
            given = {name: made[name].array for name in ("y", "z", "residual") if name in made}
            if self.outputs:
                given["out"] = tuple(made[f"d{name}"].array if f"d{name}" in made else None for name in WRT)
            inputs = (made[name].array if name in made else None for name in ("dy", "x", "weight", "bias"))
            grads = fastpw.conv1x1_backward(*inputs, **given, **self.options)
            for name, grad in zip(grads._fields, grads, strict=True):
                if grad is not None:
                    yield f"{name} of call {repeat}", made[name].flat if name in made else grad


def make(seed, number):
    """The call of that number."""
    draw = Draw(f"{seed} {number}")
    return draw.pick({Function: 4, Layer: 2, Gradients: 4})(draw, seed, number)
