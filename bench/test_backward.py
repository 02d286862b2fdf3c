"""dx, dweight and dbias of the same layers, from dy and y."""


def test_backward(layer, setting, implementation, replay):
    replay(layer, setting, implementation)
