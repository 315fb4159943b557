import pytest
import torch

from medsafe_train.models import products
from medsafe_train.models.load import load, release


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_that_of_torch(bias):
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 40, bias=bias)
    inputs = torch.randn(3, 5, 48)
    with torch.no_grad():
        expected = layer(inputs)
        torch.testing.assert_close(products.linear(inputs, layer.weight, layer.bias), expected, atol=1e-5, rtol=1e-5)


def test_layers_compute_so_inside_and_are_themselves_outside(reference, monkeypatch):
    seen = []
    monkeypatch.setattr(products, "linear", lambda *given: seen.append(given) or torch.nn.functional.linear(*given))
    release()  # a model that another test left loaded may be patched still
    model = load(reference).model
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    with torch.inference_mode(), products.quick(model):
        model(torch.tensor([[5, 6, 7]]))
        assert len(seen) == len(linear) > 0
    with torch.inference_mode():
        model(torch.tensor([[5, 6, 7]]))
    assert len(seen) == len(linear) and not any("forward" in vars(m) for m in linear)


def test_a_layers_own_forward_is_kept_and_two_may_be_open():
    layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    layers[0].forward = own = lambda inputs: inputs
    first, second = products.quick(layers), products.quick(layers)
    first.__enter__(), second.__enter__()
    assert layers[0].forward is own and "forward" in vars(layers[1])
    first.__exit__(None, None, None), second.__exit__(None, None, None)
    assert layers[0].forward is own and "forward" not in vars(layers[1])


@pytest.mark.parametrize("why", ["bfloat16", "not built in", "switched off"])
def test_where_it_cannot_be_nothing_changes(monkeypatch, why):
    layer = torch.nn.Linear(4, 4, dtype=torch.bfloat16 if why == "bfloat16" else torch.float32)
    if why == "not built in":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with torch.backends.mkldnn.flags(enabled=why != "switched off"), products.quick(layer):
        assert "forward" not in vars(layer)
    with products.quick(torch.nn.Linear(4, 4)):
        assert products.possible(torch.ones(2)) == (why != "not built in")
