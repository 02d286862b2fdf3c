"""torch: its own convolution, oneDNN's with packed weights and fused ReLU, and two ways to the gradients."""

from collections.abc import Callable
from typing import Any

import torch

from fastpw.bench.problem import Backward, Forward

ONE, NONE = [1, 1], [0, 0]  # dilation; padding


def _start(problem):
    torch.set_num_threads(problem.setting.threads)
    torch.set_grad_enabled(False)


def _tensor(array):
    """The (N, H, W, channels) array as torch's (N, channels, H, W), channels_last: the same memory."""
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def _array(tensor):
    return tensor.permute(0, 2, 3, 1).numpy()


def _weight(problem):
    weight = torch.from_numpy(problem.weight)[:, :, None, None]
    return weight.contiguous(memory_format=torch.channels_last)


def _timed(problem, compute):
    """`compute` is a function of the pixels, which torch gives a new tensor each time."""
    if problem.setting.new_arrays:

        def run():
            return _array(compute(_tensor(problem.x)))

        return run, run
    x = _tensor(problem.x)
    return lambda: compute(x), lambda: _array(compute(x))


def eager(problem: Forward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """conv2d on channels_last, ReLU in place."""
    _start(problem)
    weight, bias = _weight(problem), torch.from_numpy(problem.bias)
    stride = [problem.layer.stride] * 2
    return _timed(problem, lambda x: torch.conv2d(x, weight, bias, stride).relu_())


def onednn(problem: Forward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What torch.compile calls: one primitive, with its weight reordered beforehand."""
    _start(problem)
    bias, stride = torch.from_numpy(problem.bias), [problem.layer.stride] * 2
    reorder = torch._C._nn.mkldnn_reorder_conv2d_weight
    shape = list(_tensor(problem.x).shape)
    weight = reorder(_weight(problem).to_mkldnn(), NONE, stride, ONE, 1, shape)
    convolution = torch.ops.mkldnn._convolution_pointwise.default
    return _timed(problem, lambda x: convolution(x, weight, bias, NONE, stride, ONE, 1, "relu", [], ""))


def convolution_backward(problem: Backward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What autograd calls for ReLU and for a convolution (here oneDNN), without autograd's own account."""
    _start(problem)
    weight, stride = _weight(problem), [problem.layer.stride] * 2
    gradient = torch.ops.aten.convolution_backward.default
    wanted = [True, True, True]

    def compute(dy, y, x):
        dz = torch.ops.aten.threshold_backward(dy, y, 0)
        return gradient(dz, x, weight, [weight.shape[0]], stride, NONE, ONE, False, NONE, 1, wanted)

    def arrays(dx, dweight, dbias):
        return _array(dx), dweight.numpy(), dbias.numpy()

    if problem.setting.new_arrays:

        def run():
            return arrays(*compute(_tensor(problem.dy), _tensor(problem.y), _tensor(problem.x)))

        return run, run
    inputs = _tensor(problem.dy), _tensor(problem.y), _tensor(problem.x)
    return lambda: compute(*inputs), lambda: arrays(*compute(*inputs))


def matmul_backward(problem: Backward) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The same as two products over all pixels (MKL), into tensors of its own: often torch's faster way."""
    _start(problem)
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
