"""torch: its own convolution, oneDNN's with packed weights and fused ReLU, and two ways to the gradients."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray

from fastpw.bench.arrays import Arrays
from fastpw.bench.problem import Backward, Forward
from fastpw.bench.windowed_problem import WindowedBackward

ONE, NONE = [1, 1], [0, 0]  # dilation; output padding


def start(problem: Arrays) -> None:
    """Set the threads; gradients are not recorded."""
    torch.set_num_threads(problem.setting.threads)
    torch.set_grad_enabled(False)


def tensor(image: NDArray[Any]) -> torch.Tensor:
    """The (N, H, W, channels) array as torch's (N, channels, H, W), channels_last: the same memory."""
    return torch.from_numpy(image).permute(0, 3, 1, 2)


def array(result: torch.Tensor) -> NDArray[Any]:
    """The way back."""
    return result.permute(0, 2, 3, 1).numpy()


class _Convolution:
    """The layer's geometry, as torch is given it.

    "same" puts an odd pixel of padding behind the image, and torch as many before it as behind. Before the
    mirrored image they are in place, and those behind it meet no window: so it computes that, with mirrored
    kernels, which is as much work.
    """

    def __init__(self, problem):
        sides = problem.layer.sides
        self._problem, self._mirrored = problem, any(before != after for before, after in sides)
        self.padding = [after for _, after in sides]
        self.stride = [problem.layer.stride] * 2
        self.groups = problem.groups
        kernel = self.turned(problem.as_kernel(problem.weight))
        self.weight = tensor(kernel).contiguous(memory_format=torch.channels_last)
        self.bias = torch.from_numpy(problem.bias)

    def turned(self, image):
        """Of an image or a kernel the one that is computed with, and the way back."""
        return self._problem.copy(image[:, ::-1, ::-1]) if self._mirrored else image

    def timed(self, compute, arrays, results, back):
        """`compute` takes the arrays' tensors; `results` makes NumPy's arrays of what it returns."""
        arrays = [self.turned(image) for image in arrays]
        if self._problem.setting.new_arrays:

            def run():
                return results(compute(*map(tensor, arrays)))

            return run, lambda: back(run())
        tensors = [*map(tensor, arrays)]
        return lambda: compute(*tensors), lambda: back(results(compute(*tensors)))

    def forward(self, compute):
        return self.timed(compute, [self._problem.x], array, self.turned)


def eager(problem: Forward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """conv2d on channels_last, ReLU in place."""
    start(problem)
    layer = _Convolution(problem)
    weight, bias, rest = layer.weight, layer.bias, (layer.stride, layer.padding, ONE, layer.groups)
    return layer.forward(lambda x: torch.conv2d(x, weight, bias, *rest).relu_())


def onednn(problem: Forward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What torch.compile calls: one primitive, with its weight reordered beforehand."""
    start(problem)
    layer = _Convolution(problem)
    bias, rest = layer.bias, (layer.padding, layer.stride, ONE, layer.groups)
    reorder = torch._C._nn.mkldnn_reorder_conv2d_weight
    weight = reorder(layer.weight.to_mkldnn(), *rest, list(tensor(problem.x).shape))
    convolution = torch.ops.mkldnn._convolution_pointwise.default
    return layer.forward(lambda x: convolution(x, weight, bias, *rest, "relu", [], ""))


def convolution_backward(
    problem: Backward | WindowedBackward,
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What autograd calls for ReLU and for a convolution (here oneDNN), without autograd's own account."""
    start(problem)
    layer = _Convolution(problem)
    gradient = torch.ops.aten.convolution_backward.default
    weight, wanted = layer.weight, [True, True, True]
    rest = [weight.shape[0]], layer.stride, layer.padding, ONE, False, NONE, layer.groups, wanted

    def compute(dy, y, x):
        return gradient(torch.ops.aten.threshold_backward(dy, y, 0), x, weight, *rest)

    def results(gradients):
        dx, dweight, dbias = gradients
        return array(dx), array(dweight), dbias.numpy()

    def back(gradients):
        dx, dweight, dbias = gradients
        return layer.turned(dx), problem.as_weight(layer.turned(dweight)), dbias

    return layer.timed(compute, [problem.dy, problem.y, problem.x], results, back)


def matmul_backward(problem: Backward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The same as two products over all pixels (MKL), into tensors of its own: often torch's faster way."""
    start(problem)
    layer, weight = problem.layer, torch.from_numpy(problem.weight)
    dz = torch.empty(layer.P, layer.K)

    def inputs():
        return [torch.from_numpy(array) for array in (problem.dy, problem.y, problem.pixels)]

    def outputs():
        allocate = torch.zeros if layer.stride > 1 else torch.empty
        return [allocate(shape) for shape in (problem.x.shape, weight.shape, (layer.K,))]

    own = None if problem.setting.new_arrays else (inputs(), outputs())

    def run():
        (dy, y, pixels), (dx, dweight, dbias) = own or (inputs(), outputs())
        rows = pixels.reshape(-1, layer.C)
        torch.ops.aten.threshold_backward.grad_input(dy.view(dz.shape), y.view(dz.shape), 0, grad_input=dz)
        if layer.stride == 1:
            torch.mm(dz, weight, out=dx.view(rows.shape))
        else:
            problem.at_pixels(dx).copy_(torch.mm(dz, weight).view(pixels.shape))
        torch.mm(dz.T, rows, out=dweight)
        torch.sum(dz, 0, out=dbias)
        return dx.numpy(), dweight.numpy(), dbias.numpy()

    return run, run
