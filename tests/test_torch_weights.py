"""State dicts of torch.nn.Sequential, beside real modules where torch is installed."""

import itertools

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_steps import everything
from tolerance import assert_close

import fastmlp
from fastmlp import activations, layers
from fastmlp.models import from_torch


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="pip install 'fastmlp[peers]'")


def some(*shape, dtype=np.float32, seed=2):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def state(*sizes, prefix="", dtype=np.float32):
    """State dict of Linear layers of these sizes, with activations between."""
    pairs = list(itertools.pairwise(sizes))
    weights = {f"{prefix}{2 * i}.weight": some(m, k, dtype=dtype, seed=i) for i, (k, m) in enumerate(pairs)}
    biases = {f"{prefix}{2 * i}.bias": some(m, dtype=dtype, seed=i + 50) for i, (_, m) in enumerate(pairs)}
    return weights | biases


def made_of(torch, text, path):
    """The module that export says, with the weights of its file."""
    from safetensors.torch import load_file as load

    module = eval(text, {"nn": torch.nn, "torch": torch})
    module.load_state_dict(load(str(path)))
    return module.eval()


# ------------------------------------------------------------------ from torch


def test_module_of_torch_and_model_give_the_same(torch):
    torch.manual_seed(0)
    nn = torch.nn
    parts = [nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3, bias=False), nn.Softmax(dim=1)]
    module, x = nn.Sequential(*parts), some(7, 6)
    model = from_torch(module.state_dict(), ["tanh", "sigmoid"], "softmax")
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    # Sums of 6, 5 and 4 terms below 3.
    assert_close(model.predict(x, verbose=0), expected, 6 + 5 + 4, 3 * 15)


def test_file_and_dict_give_the_same(tmp_path):
    save_file(state(4, 3, 2), tmp_path / "m.safetensors")
    x = some(5, 4)
    read = from_torch(tmp_path / "m.safetensors", "relu")
    np.testing.assert_array_equal(read.predict(x, verbose=0), from_torch(state(4, 3, 2), "relu").predict(x, verbose=0))


def test_layers_are_in_the_order_of_their_numbers(tmp_path):
    sizes = [4] * 12 + [2]
    save_file(state(*sizes), tmp_path / "m.safetensors")
    read = from_torch(tmp_path / "m.safetensors", "tanh")
    for i, layer in enumerate(read.layers):
        np.testing.assert_array_equal(layer.kernel, state(*sizes)[f"{2 * i}.weight"].T)


@pytest.mark.parametrize("prefix", ["net.", "module.net.", "fc"])
def test_names_may_have_a_prefix(prefix, tmp_path):
    save_file(state(4, 3, 2, prefix=prefix), tmp_path / "m.safetensors")
    assert [layer.units for layer in from_torch(tmp_path / "m.safetensors", "relu").layers] == [3, 2]


def test_names_without_numbers_are_in_the_order_of_the_dict(tmp_path):
    given = {"out.weight": some(3, 4), "deep.weight": some(2, 3)}
    assert [layer.units for layer in from_torch(given, "relu").layers] == [3, 2]
    save_file(given, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="names don't tell their order; give a dict"):
        from_torch(tmp_path / "m.safetensors", "relu")


def test_activations_may_be_layers_of_their_own():
    leaky = layers.LeakyReLU(0.01)
    model = from_torch(state(4, 3, 3, 2), leaky, layers.Softmax())
    assert [type(layer).__name__ for layer in model.layers] == [
        "Dense", "LeakyReLU", "Dense", "LeakyReLU", "Dense", "Softmax",
    ]  # fmt: skip
    assert model.layers[1].negative_slope == 0.01


def test_samples_may_have_several_axes():
    model = from_torch(state(6, 2), None, input_shape=(2, 3))
    assert model.input_shape == (None, 2, 3)
    x = some(4, 2, 3)
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), from_torch(state(6, 2), None).predict(x.reshape(4, 6), verbose=0)
    )


def test_float64_weights_make_a_model_in_float64():
    assert from_torch(state(4, 2, dtype=np.float64), None).dtype == np.float64


def test_half_precision_becomes_float32(torch):
    given = {"0.weight": torch.ones(2, 3, dtype=torch.bfloat16), "0.bias": torch.zeros(2, dtype=torch.float16)}
    model = from_torch(given, None)
    assert model.dtype == np.float32
    np.testing.assert_array_equal(model.layers[0].kernel, np.ones((3, 2)))


BAD = {
    "nothing": ({}, "holds no arrays"),
    "convolution": ({"0.weight": some(3, 3, 2, 2)}, r"'0.weight' of shape \(3, 3, 2, 2\), which is of no Linear layer"),
    "normalization": ({**state(4, 3), "1.running_mean": some(3)}, "'1.running_mean' .* of no Linear layer"),
    "bias alone": ({"0.bias": some(3)}, "0.bias but no 0.weight"),
    "bias of other length": ({"0.weight": some(3, 4), "0.bias": some(4)}, r"0.bias of shape \(4,\) for 3 units"),
    "other width": ({"0.weight": some(3, 4), "1.weight": some(2, 5)}, "takes 5 numbers, behind a layer of 3 units"),
    "NaN": ({"0.weight": np.full((3, 4), np.nan)}, "'0.weight' of the dict has nan in row 0"),
    "texts": ({"0.weight": np.array([["a"]])}, "'0.weight' holds strings"),
}


@pytest.mark.parametrize("case", BAD)
def test_arrays_of_no_linear_layer_are_named(case):
    given, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        from_torch(given, "relu")


def test_number_of_activations_must_fit():
    with pytest.raises(ValueError, match="activation has 2 entries but the dict has 1 hidden layers"):
        from_torch(state(4, 3, 2), ["relu", "softmax"])


def test_input_shape_must_fit():
    with pytest.raises(ValueError, match="has 6 numbers but the first layer takes 4"):
        from_torch(state(4, 2), None, input_shape=(2, 3))


def test_files_that_may_hold_code_are_refused(tmp_path):
    with pytest.raises(ValueError, match="may hold code"):
        from_torch(tmp_path / "m.pt", "relu")


def test_files_that_are_not_there_or_damaged_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        from_torch(tmp_path / "none.safetensors", "relu")
    path = tmp_path / "m.safetensors"
    save_file(state(4, 2), path)
    for content in (b"", path.read_bytes()[:-1], b"{}" * 50):
        path.write_bytes(content)
        with pytest.raises(OSError, match="cut short, damaged"):
            from_torch(path, "relu")


# ------------------------------------------------------------------ to torch


WITHOUT_MODULE = ("step", "exponential")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [name for name in activations.NAMES if name not in WITHOUT_MODULE])
def test_torch_computes_every_activation_as_predict_does(activation, dtype, torch, tmp_path):
    model = fastmlp.Sequential(
        [layers.Input((2, 3)), layers.Flatten(), layers.Dense(5, activation), layers.Dense(2)], dtype=dtype
    )
    text = model.export(tmp_path / "m.safetensors", format="torch")
    x = some(4, 2, 3, dtype=dtype)
    with torch.no_grad():
        result = made_of(torch, text, tmp_path / "m.safetensors")(torch.from_numpy(x)).numpy()
    # Inputs below 3, weights below 1, and log-softmax adds logarithms of 5.
    assert_close(result, model.predict(x, verbose=0), 6 + 5, 3 * 6 + 5)


def test_torch_computes_the_other_layers_as_predict_does(torch, tmp_path):
    parts = [
        layers.Rescaling(0.5), layers.Normalization(mean=np.arange(6.0), variance=np.arange(1.0, 7.0)),
        layers.Dense(5), layers.BatchNormalization(), layers.LeakyReLU(), layers.Dropout(0.5), layers.Dense(4),
        layers.LayerNormalization(), layers.PReLU(), layers.ELU(0.7), layers.Dense(3),
    ]  # fmt: skip
    model = fastmlp.Sequential([layers.Input((6,)), *parts])
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.2, 1.2, w.shape) - 0.5 * (w.ndim == 2) for w in model.get_weights()])
    text = model.export(tmp_path / "m.safetensors", format="torch")
    assert text.count("Linear") == 3
    x = some(4, 6)
    with torch.no_grad():
        result = made_of(torch, text, tmp_path / "m.safetensors")(torch.from_numpy(x)).numpy()
    # Sums below 30, which the normalization divides by 1 / 32 at least.
    assert_close(result, model.predict(x, verbose=0), 6 + 5 + 4, 30 * 32)


def test_weights_go_to_torch_and_back(tmp_path):
    model = fastmlp.Sequential([layers.Input((4,)), layers.Dense(3, "tanh"), layers.Dense(2, "softmax")])
    model.export(tmp_path / "m.safetensors")
    assert sorted(load_file(tmp_path / "m.safetensors")) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    read = from_torch(tmp_path / "m.safetensors", "tanh", "softmax")
    for ours, theirs in zip(model.get_weights(), read.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


def test_layer_that_torch_lacks_is_named(tmp_path):
    odd = fastmlp.Sequential([layers.Input((4,)), layers.Dense(3, "exponential", name="odd"), layers.Dense(2)])
    with pytest.raises(ValueError, match="layer 'odd' has the activation 'exponential'"):
        odd.export(tmp_path / "m.safetensors")
    parts = [layers.Dense(3, "relu"), layers.Rescaling(2.0), layers.LayerNormalization(), layers.Dense(2)]
    between = fastmlp.Sequential([layers.Input((4,)), *parts])
    with pytest.raises(ValueError, match="a Scale in this place, of which"):
        between.export(tmp_path / "m.safetensors")
    model = everything()
    with pytest.raises(ValueError, match=r"of which torch\.nn has no module"):
        model.export(tmp_path / "m.safetensors")


def test_other_ending_and_file_that_is_there_are_refused(tmp_path):
    model = fastmlp.Sequential([layers.Input((4,)), layers.Dense(3)])
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        model.export(tmp_path / "m.pt", format="torch")
    (tmp_path / "m.safetensors").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        model.export(tmp_path / "m.safetensors", overwrite=False)
