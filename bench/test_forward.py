"""y = ReLU(x Wᵀ + b) on the layers of real networks."""


def test_forward(layer, setting, implementation, replay):
    replay(layer, setting, implementation)
