"""A torch model's 1x1 convolutions, with their batch normalizations folded, as a Chain.

In torch, a block is written as Conv2d, BatchNorm2d and an activation, in turn. At inference the
normalization is a part of the convolution before it. torch's images are (N, C, H, W); those in the memory
format channels_last are read where they lie.

One sees what becomes of each layer, and how far the results of both lie apart.
"""

import numpy as np
import torch
from torch import nn

import fastpw

ACTIVATIONS = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.SiLU: "silu",
    nn.Hardswish: "hard_swish",
    nn.GELU: "gelu",
}


def array(parameter):
    return None if parameter is None else parameter.detach().numpy()


def folded(convolution, normalization):
    """Weight and bias of a convolution that normalizes, too; the normalization may be None."""
    weight, bias = array(convolution.weight), array(convolution.bias)
    if normalization is None:
        return weight, bias
    given = normalization.weight, normalization.bias, normalization.running_mean, normalization.running_var
    epsilon = normalization.eps
    return fastpw.fold_batch_norm(weight, bias, *map(array, given), epsilon=epsilon, weight_layout="OIHW")


def layer_of(convolution, normalization, activation):
    weights = folded(convolution, normalization)
    options = {"stride": convolution.stride, "padding": convolution.padding, "groups": convolution.groups}
    make = fastpw.Conv1x1 if convolution.kernel_size == (1, 1) else fastpw.Conv2d
    return make(*weights, activation=activation, weight_layout="OIHW", **options)


def chain_of(block):
    """A torch Sequential of Conv2d, BatchNorm2d and activations in evaluation mode as a Chain."""
    waiting, layers = None, []
    for module in [*block, nn.Identity()]:
        if isinstance(module, nn.BatchNorm2d):
            waiting = waiting[0], module
        elif type(module) in ACTIVATIONS:
            layers.append(layer_of(*waiting, ACTIVATIONS[type(module)]))
            waiting = None
        else:  # a convolution, or the end
            if waiting:
                layers.append(layer_of(*waiting, None))
            waiting = (module, None) if isinstance(module, nn.Conv2d) else None
    return fastpw.Chain(layers)


def trained(block):
    """Statistics as a training would have left them."""
    block.train()
    with torch.no_grad():
        for _ in range(20):
            block(torch.randn(4, block[0].in_channels, 14, 14) * 2 + 1)
    return block.eval()


def main():
    torch.manual_seed(0)
    block = trained(
        nn.Sequential(
            nn.Conv2d(64, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 128, 1),
            nn.BatchNorm2d(128),
            nn.SiLU(),
            nn.Conv2d(128, 32, 1, stride=2),
        )
    )
    chain = chain_of(block)
    print(f"{len(block)} modules of torch became {len(chain.layers)} layers:")
    for layer in chain.layers:
        print(f"  {layer.channels} -> {layer.filters}, stride {layer.stride}, {layer.activation}")

    images = torch.randn(2, 64, 28, 28).to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = block(images).numpy().transpose(0, 2, 3, 1)
    x = images.numpy().transpose(0, 2, 3, 1)
    assert x.flags.c_contiguous  # so it is used in place
    y = chain(x)
    distance = np.abs(y - expected).max() / np.abs(expected).max()
    print(f"results {y.shape}; the largest difference is {distance:.1e} of the largest value")
    assert distance < 1e-5


if __name__ == "__main__":
    main()
