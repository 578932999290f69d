"""ONNX files: what onnxruntime makes of ours, and what we make of those of other tools."""

import contextlib
import math
import os
import warnings

import numpy as np
import pytest
from support import posix_only
from test_steps import everything, outputs
from tolerance import assert_close

import fastmlp
from fastmlp import activations, layers
from fastmlp.models import from_onnx
from fastmlp.saving.steps import Affine, steps_of

onnx = pytest.importorskip("onnx", reason="pip install 'fastmlp[onnx]'")
ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

# Those that onnxruntime computes in float64.
DOUBLE = ("linear", "step", "sigmoid", "tanh", "relu", "relu6", "leaky_relu", "silu", "exponential", "softmax",
          "log_softmax")  # fmt: skip
# Those whose numbers the standard keeps in float32, and one whose erf is float32 in onnx's own evaluator.
SHORT = ("hard_sigmoid", "selu", "gelu")


def run(path, x):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def close(result, model, x, gain=1.0):
    """The result is the model's output within rounding: sums of all inputs of its units, passed on layer by layer.

    `gain` is how much the layers without weights may enlarge an error.
    """
    steps, flat = steps_of(model), x.reshape(len(x), -1)
    magnitude, k = np.abs(flat).astype(np.float64), 0
    for step in steps:
        if isinstance(step, Affine):
            magnitude, k = magnitude @ np.abs(step.weights) + np.abs(step.bias) + 1, k + len(step.weights)
    assert_close(result, outputs(steps, flat), k, gain * magnitude)


def net(activation, dtype="float32"):
    return fastmlp.Sequential(
        [layers.Input((6,)), layers.Dense(5, activation=activation), layers.Dense(2)], dtype=dtype
    )  # fmt: skip


def some(*shape, dtype=np.float32, seed=2):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# ------------------------------------------------------------------ export


@pytest.mark.parametrize("activation", activations.NAMES)
def test_onnxruntime_computes_every_activation_as_predict_does(activation, tmp_path):
    model, x = net(activation), some(4, 6)
    model.export(tmp_path / "m.onnx")
    close(run(tmp_path / "m.onnx", x), model, x)


@pytest.mark.parametrize("activation", DOUBLE)
def test_onnxruntime_computes_in_float64_what_it_has_kernels_for(activation, tmp_path):
    model, x = net(activation, "float64"), some(4, 6, dtype=np.float64)
    model.export(tmp_path / "m.onnx")
    result = run(tmp_path / "m.onnx", x)
    assert result.dtype == np.float64
    close(result, model, x)


@pytest.mark.parametrize("activation", [name for name in activations.NAMES if name not in SHORT])
def test_the_standard_computes_every_activation_in_float64(activation, tmp_path):
    from onnx.reference import ReferenceEvaluator

    model, x = net(activation, "float64"), some(4, 6, dtype=np.float64)
    model.export(tmp_path / "m.onnx")
    close(ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, {"input": x})[0], model, x)


@pytest.mark.parametrize("fold", [False, True])
def test_onnxruntime_computes_every_layer_as_predict_does(fold, tmp_path):
    model, x = everything(), some(5, 3, 4)
    model.export(tmp_path / "m.onnx", fold=fold)
    # The second normalization divides by a deviation of 0.03 at least, the root of its epsilon.
    close(run(tmp_path / "m.onnx", x), model, x, gain=1 / math.sqrt(0.001))


def test_layers_with_slopes_and_deviations_are_exact_in_float64(tmp_path):
    parts = [layers.Dense(5), layers.LayerNormalization(), layers.PReLU("ones"), layers.ReLU(2.0, 0.1, 0.05)]
    model = fastmlp.Sequential([layers.Input((6,)), *parts, layers.Dense(3)], dtype="float64")
    model.layers[2].set_weights([np.linspace(-1, 1, 5)])
    x = some(4, 6, dtype=np.float64)
    model.export(tmp_path / "m.onnx")
    close(run(tmp_path / "m.onnx", x), model, x, gain=1 / math.sqrt(0.001))


def test_batches_of_every_size_pass(tmp_path):
    model = net("tanh")
    model.export(tmp_path / "m.onnx")
    for rows in (1, 2, 33):
        assert run(tmp_path / "m.onnx", some(rows, 6)).shape == (rows, 2)


def test_model_in_float64_can_be_written_in_float32(tmp_path):
    model, x = net("gelu", "float64"), some(4, 6)
    model.export(tmp_path / "m.onnx", dtype="float32")
    result = run(tmp_path / "m.onnx", x)
    assert result.dtype == np.float32
    close(result, model, x)


def test_pixels_go_in_as_they_are(tmp_path):
    parts = [layers.Flatten(), layers.Rescaling(1 / 255), layers.Dense(5, "relu"), layers.Dense(3)]
    model = fastmlp.Sequential([layers.Input((4, 4)), *parts])
    x = np.random.default_rng(0).integers(0, 256, (3, 4, 4)).astype(np.uint8)
    model.export(tmp_path / "m.onnx", input_dtype="uint8")
    assert_close(run(tmp_path / "m.onnx", x), model.predict(x, verbose=0), 16 + 5, 16 + 5)


def test_file_says_who_wrote_it_and_keeps_the_layers_names(tmp_path):
    model = fastmlp.Sequential([layers.Input((3,)), layers.Dense(2, name="hidden"), layers.Dense(1)], name="mine")
    model.export(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    assert (proto.producer_name, proto.producer_version) == ("fastmlp", fastmlp.__version__)
    assert proto.graph.name == "mine"
    assert [entry.version for entry in proto.opset_import] == [20]
    assert [array.name for array in proto.graph.initializer][:2] == ["hidden/kernel", "hidden/bias"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_same_model_gives_the_same_bytes_however_many_were_made_before(tmp_path):
    for name in ("a", "b"):
        fastmlp.utils.set_random_seed(0)
        model = fastmlp.Sequential([layers.Input((3,)), layers.Dense(2)], name="same")
        model.export(tmp_path / f"{name}.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_older_opset_is_written_where_it_has_all_operators(tmp_path):
    model, x = net("sigmoid"), some(4, 6)
    model.export(tmp_path / "m.onnx", opset=13)
    close(run(tmp_path / "m.onnx", x), model, x)


@pytest.mark.parametrize(("activation", "opset"), [("gelu", 19), ("mish", 17)])
def test_layer_that_an_opset_lacks_is_named(activation, opset, tmp_path):
    model = fastmlp.Sequential(
        [layers.Input((6,)), layers.Dense(5, activation=activation, name="odd"), layers.Dense(2)]
    )
    with pytest.raises(ValueError, match=f"'odd' needs the operator .* came with opset {opset + 1}"):
        model.export(tmp_path / "m.onnx", opset=opset)
    assert not os.listdir(tmp_path)


def test_options_that_are_none_are_refused(tmp_path):
    model = net("relu")
    for options, message in (
        ({"opset": 12}, "opset must be from 13"),
        ({"opset": 999}, "opset must be from 13"),
        ({"dtype": "float16"}, "dtype 'float16' is unknown"),
        ({"input_dtype": "int8"}, "input_dtype must be uint8"),
    ):
        with pytest.raises(ValueError, match=message):
            model.export(tmp_path / "m.onnx", **options)


def test_file_that_is_there_stays_without_overwrite(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        net("relu").export(tmp_path / "m.onnx", overwrite=False)
    assert (tmp_path / "m.onnx").read_bytes() == b"mine"


# ------------------------------------------------------------------ round trip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", activations.NAMES)
def test_model_comes_back_with_every_activation(activation, dtype, tmp_path):
    model, x = net(activation, dtype), some(4, 6, dtype=dtype)
    model.export(tmp_path / "m.onnx")
    read = from_onnx(tmp_path / "m.onnx")
    assert [layer.get_config().get("activation") for layer in read.layers] == [activation, "linear"]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.predict(x, verbose=0), model.predict(x, verbose=0))


def test_every_layer_comes_back(tmp_path):
    model, x = everything(), some(5, 3, 4)
    model.export(tmp_path / "m.onnx")
    read = from_onnx(tmp_path / "m.onnx", name="again")
    assert (read.name, read.input_shape) == ("again", (None, 3, 4))
    close(read.predict(x, verbose=0), model, x, gain=1 / math.sqrt(0.001))
    kinds = [type(layer).__name__ for layer in read.layers]
    assert [kind for kind in kinds if kind not in ("Dense", "Flatten")] == [
        "BatchNormalization", "BatchNormalization", "ReLU", "LayerNormalization", "PReLU", "LayerNormalization",
        "Rescaling", "ELU",
    ]  # fmt: skip


def test_layers_of_several_nodes_come_back_from_float64(tmp_path):
    parts = [
        layers.Dense(5),
        layers.LayerNormalization(epsilon=0.01),
        layers.PReLU("ones"),
        layers.ReLU(2.0, 0.1, 0.05),
    ]
    model = fastmlp.Sequential([layers.Input((6,)), *parts, layers.Dense(3)], dtype="float64")
    model.layers[2].set_weights([np.linspace(-1, 1, 5)])
    model.export(tmp_path / "m.onnx")
    read, x = from_onnx(tmp_path / "m.onnx"), some(4, 6, dtype=np.float64)
    assert [type(layer) for layer in read.layers] == [type(layer) for layer in model.layers]
    close(read.predict(x, verbose=0), model, x, gain=10)


def test_model_read_can_be_trained(blobs, classifier, tmp_path):
    x, labels = blobs
    classifier.export(tmp_path / "m.onnx")
    read = from_onnx(tmp_path / "m.onnx")
    read.compile("adam", "sparse_categorical_crossentropy")
    losses = read.fit(x, labels, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]


def test_reading_leaves_the_generator_where_it_was(tmp_path):
    net("relu").export(tmp_path / "m.onnx")
    before = fastmlp.random.state().copy()
    from_onnx(tmp_path / "m.onnx")
    np.testing.assert_array_equal(fastmlp.random.state(), before)


# ------------------------------------------------------------------ files of other tools


def torch_file(module, x, path, opset=20, **options):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (torch.from_numpy(x),), str(path), dynamo=False, opset_version=opset, **options
        )
        with torch.no_grad():
            return module(torch.from_numpy(x)).numpy()


def torch_modules():
    nn = pytest.importorskip("torch").nn
    return {
        "relu": [nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2), nn.Softmax(dim=1)],
        "several axes": [nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)],
        "without bias": [nn.Linear(6, 5, bias=False), nn.Sigmoid(), nn.Linear(5, 2, bias=False)],
        "leaky": [nn.Linear(6, 5), nn.LeakyReLU(0.01), nn.Dropout(0.5), nn.Linear(5, 2), nn.LogSoftmax(dim=-1)],
        "batch normalization": [nn.BatchNorm1d(6), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU6(), nn.Linear(5, 2)],
        "layer normalization": [nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 2)],
        "silu": [nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 5), nn.Mish(), nn.Linear(5, 2), nn.Softplus()],
        "elu": [nn.Linear(6, 5), nn.ELU(0.7), nn.Linear(5, 5), nn.SELU(), nn.Linear(5, 2), nn.Softsign()],
        "prelu": [nn.Linear(6, 5), nn.PReLU(5), nn.Linear(5, 5), nn.Hardsigmoid(), nn.PReLU(), nn.Linear(5, 2)],
    }


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("kind", ["relu", "several axes", "without bias", "leaky", "batch normalization",
                                  "layer normalization", "silu", "elu", "prelu"])  # fmt: skip
def test_files_of_torch_give_its_outputs(kind, opset, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(*torch_modules()[kind])
    for part in module:
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    x = some(3, 2, 3) if kind == "several axes" else some(3, 6)
    expected = torch_file(module, x, tmp_path / "m.onnx", opset, dynamic_axes={"x": {0: "batch"}}, input_names=["x"])
    read = from_onnx(tmp_path / "m.onnx")
    # Inputs of up to 3 and weights of up to 0.41 a unit; the layer normalization divides by 0.1 at least here.
    assert_close(read.predict(x, verbose=0), expected, 6 + 5 + 5, 10 * 6, dtype=np.float32)


def test_torch_view_by_the_batch_size_is_a_flatten(tmp_path):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(6, 2)

        def forward(self, x):
            return self.linear(x.view(x.size(0), -1))

    x = some(3, 2, 3)
    expected = torch_file(Net(), x, tmp_path / "m.onnx", dynamic_axes={"x": {0: "n"}}, input_names=["x"])
    assert_close(from_onnx(tmp_path / "m.onnx").predict(x, verbose=0), expected, 6, 18)


def graph(nodes, arrays=(), *, inputs=(("x", ["n", 3]),), out=("y",), opset=20, domains=()):
    """Bytes of a file of these nodes: (operator, inputs, outputs, attributes)."""
    made = [helper.make_node(op, list(i), list(o), name=f"{op}_{n}", **a) for n, (op, i, o, a) in enumerate(nodes)]
    proto = helper.make_model(
        helper.make_graph(
            made, "g",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in out],
            [numpy_helper.from_array(np.asarray(values), name) for name, values in dict(arrays).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)],
    )  # fmt: skip
    proto.ir_version = 9
    return proto


def read(proto, tmp_path, **options):
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    return from_onnx(tmp_path / "m.onnx", **options)


W, B = some(3, 2, seed=7), some(2, seed=8)
X = some(4, 3)


def test_gemm_is_scaled_and_transposed(tmp_path):
    nodes = [("Gemm", ["x", "w", "b"], ["y"], {"alpha": 2.0, "beta": 0.5, "transB": 1})]
    model = read(graph(nodes, {"w": W.T.copy(), "b": B[None]}), tmp_path)
    assert_close(model.predict(X, verbose=0), X @ (2 * W) + B / 2, 3, 2 * np.abs(X) @ np.abs(W) + 1)


def test_rows_of_sklearns_converter_are_read(tmp_path):
    nodes = [
        ("Scaler", ["x"], ["s"], {"offset": [1.0, 2.0, 3.0], "scale": [0.5, 1.0, 2.0], "domain": "ai.onnx.ml"}),
        ("Cast", ["s"], ["c"], {"to": TensorProto.FLOAT}),
        ("MatMul", ["c", "w"], ["m"], {}),
        ("Add", ["m", "b"], ["a"], {}),
        ("Softmax", ["a"], ["probabilities"], {"axis": 1}),
        ("ArgMax", ["probabilities"], ["label"], {"axis": 1}),
    ]
    proto = graph(nodes, {"w": W, "b": B[None]}, out=("label", "probabilities"), domains=["ai.onnx.ml"])
    with pytest.raises(ValueError, match=r"2 outputs, .*choose one"):
        read(proto, tmp_path)
    model = read(proto, tmp_path, output="probabilities")
    scaled = (X - [1, 2, 3]) * [0.5, 1, 2]
    assert_close(
        model.predict(X, verbose=0), activations.softmax(scaled @ W + B), 4, np.abs(scaled) @ np.abs(W) + 1, np.float32
    )
    assert not model.layers[0].trainable


def test_rows_of_tensorflows_converter_are_read(tmp_path):
    nodes = [
        ("Cast", ["x"], ["f"], {"to": TensorProto.FLOAT}),
        ("Reshape", ["f", "shape"], ["r"], {}),
        ("MatMul", ["r", "w"], ["m"], {}),
        ("Add", ["m", "b"], ["a"], {}),
        ("Mul", ["a", "half"], ["h"], {}),
        ("Identity", ["h"], ["y"], {}),
    ]
    arrays = {"shape": np.array([-1, 3]), "w": W, "b": B, "half": np.float32(0.5)}
    model = read(graph(nodes, arrays, inputs=[("x", ["n", 3, 1])]), tmp_path)
    assert model.input_shape == (None, 3, 1)
    expected = (X @ W + B) / 2
    assert_close(model.predict(X[:, :, None], verbose=0), expected, 4, np.abs(X) @ np.abs(W) + 1)


def test_constants_of_nodes_and_open_sizes_are_read(tmp_path):
    nodes = [
        ("Constant", [], ["w0"], {"value": numpy_helper.from_array(W.T.copy())}),
        ("Transpose", ["w0"], ["w"], {}),
        ("Sub", ["one", "x"], ["f"], {}),
        ("MatMul", ["f", "w"], ["y"], {}),
    ]
    model = read(graph(nodes, {"one": np.float32(1)}, inputs=[("x", ["n", "m"])]), tmp_path)
    assert_close(model.predict(X, verbose=0), (1 - X) @ W, 4, (1 + np.abs(X)) @ np.abs(W))


def test_half_precision_becomes_float32(tmp_path):
    model = read(graph([("MatMul", ["x", "w"], ["y"], {})], {"w": W.astype(np.float16)}), tmp_path)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], W.astype(np.float16).astype(np.float32))


# ------------------------------------------------------------------ what is no row of dense layers

DENSE = ("MatMul", ["x", "w"], ["y"], {})
REFUSED = {
    "Conv": ([("Conv", ["x", "w"], ["y"], {})], r"node 'Conv_0' \(Conv\) is no part of a row"),
    "own domain": ([("Odd", ["x"], ["y"], {"domain": "mine"})], r"'Odd_0' \(Odd\) is no part"),
    "transA": ([("Gemm", ["x", "w"], ["y"], {"transA": 1})], r"\(Gemm\) transposes the samples"),
    "samples as weights": ([("MatMul", ["w", "x"], ["y"], {})], r"\(MatMul\) needs a constant as input 1"),
    "product of samples": ([("MatMul", ["x", "x"], ["y"], {})], "needs a constant as input 1, not what is computed"),
    "cycle": ([("MatMul", ["z", "w"], ["y"], {}), ("Relu", ["y"], ["z"], {})], "'z' before a node has made it"),
    "gap": ([("MatMul", ["nowhere", "w"], ["y"], {})], "'nowhere' before a node has made it"),
    "residual": ([("Relu", ["x"], ["r"], {}), ("Add", ["x", "r"], ["s"], {}), ("MatMul", ["s", "w"], ["y"], {})],
                 r"\(Add\) needs a constant as input 1"),
    "product": ([("Tanh", ["x"], ["r"], {}), ("Mul", ["x", "r"], ["s"], {}), ("MatMul", ["s", "w"], ["y"], {})],
                "is none of silu, mish and gelu"),
    "part of a layer": ([("Erf", ["x"], ["e"], {}), ("MatMul", ["e", "w"], ["y"], {})],
                        r"\(Erf\) is no layer by itself"),
    "no dense layer": ([("Relu", ["x"], ["y"], {})], "it has no dense layer"),
    "softmax of a batch": ([("MatMul", ["x", "w"], ["m"], {}), ("Softmax", ["m"], ["y"], {"axis": 0})],
                           "along the batch"),
    "other width": ([("MatMul", ["x", "w"], ["m"], {}), ("MatMul", ["m", "w"], ["y"], {})],
                    "weights for 3 numbers, but a sample has 2"),
    "constant of other width": ([("Add", ["x", "b"], ["s"], {}), ("MatMul", ["s", "w"], ["y"], {})],
                                r"constant of shape \(2,\), which doesn't fit samples of shape \(3,\)"),
    "hard sigmoid": ([("MatMul", ["x", "w"], ["m"], {}), ("HardSigmoid", ["m"], ["y"], {})], "alpha 0.2; hard_sigmoid"),
    "gelu by tanh": ([("MatMul", ["x", "w"], ["m"], {}), ("Gelu", ["m"], ["y"], {"approximate": "tanh"})],
                     "approximation by tanh"),
    "training": ([("MatMul", ["x", "w"], ["m"], {}), ("Dropout", ["m", "", "yes"], ["y"], {})], "training mode"),
    "batch laid out": ([("Reshape", ["x", "all"], ["r"], {}), ("MatMul", ["r", "w"], ["y"], {})],
                       "makes .* of samples"),
    "no input": ([("MatMul", ["w", "u"], ["y"], {})], r"\(MatMul\) computes with constants"),
    "text for a number": ([("MatMul", ["x", "w"], ["m"], {}), ("Elu", ["m"], ["y"], {"alpha": "one"})],
                          r"\(Elu\) has a number that doesn't fit"),
    "nothing to add": ([("MatMul", ["x", "w"], ["m"], {}), ("Add", ["m"], ["y"], {})], r"needs a constant as input 1"),
    "integers": ([("Cast", ["x"], ["i"], {"to": TensorProto.INT64}), ("MatMul", ["i", "w"], ["y"], {})],
                 "converts to a type that is no float"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_node_that_is_no_layer_is_named(case, tmp_path):
    nodes, message = REFUSED[case]
    arrays = {"w": W, "b": B, "u": W.T.copy(), "yes": np.array(True), "all": np.array([1, -1])}
    with pytest.raises(ValueError, match=message):
        read(graph(nodes, arrays), tmp_path)


def test_several_inputs_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"2 inputs, \['x', 'z'\]"):
        read(graph([DENSE], {"w": W}, inputs=[("x", ["n", 3]), ("z", ["n", 3])]), tmp_path)


def test_output_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no output 'z'; there are \['y'\]"):
        read(graph([DENSE], {"w": W}), tmp_path, output="z")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    bad = W.copy()
    bad[1, 1] = value
    with pytest.raises(ValueError, match="array 'w' has numbers that are not finite"):
        read(graph([DENSE], {"w": bad}), tmp_path)


@pytest.mark.parametrize("dims", [(3, 10**12), (2**40, 2**40), (3, 3), (-3, -2)])
def test_size_that_is_only_declared_is_refused(dims, tmp_path):
    proto = graph([DENSE], {"w": W})
    proto.graph.initializer[0].dims[:] = dims
    with pytest.raises(ValueError, match="array 'w' has the shape"):
        read(proto, tmp_path)


def test_huge_input_that_fits_no_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match="weights for 3 numbers, but a sample has 1000000000000"):
        read(graph([DENSE], {"w": W}, inputs=[("x", ["n", 10**12])]), tmp_path)


def external(tmp_path, location, **entries):
    proto = graph([DENSE], {"w": W})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return proto


def test_arrays_of_the_own_folder_are_read(tmp_path):
    (tmp_path / "weights").write_bytes(b"1234" + W.tobytes())
    model = read(external(tmp_path, "weights", offset=4, length=24), tmp_path)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], W)


@posix_only
@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("../secret", {}, "outside the folder"),
        ("/etc/hostname", {}, "outside the folder"),
        ("link", {}, "outside the folder"),
        ("", {}, "outside the folder"),
        ("none", {}, "isn't in the folder"),
        ("weights", {"offset": 8}, "doesn't hold"),
        ("weights", {"offset": -8}, "doesn't hold"),
        ("weights", {"length": 8}, "doesn't hold"),
    ],
)
def test_arrays_outside_the_folder_are_refused(location, entries, message, tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(W.tobytes())
    (folder / "weights").write_bytes(W.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match=message):
        read(external(folder, location, **entries), folder)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    net("relu").export(path)
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:10],
        whole[: len(whole) // 2],
        whole[:-1],
        b"\x08\x01",
        os.urandom(100),
        b"hello world",
    ):
        path.write_bytes(content)
        with pytest.raises((OSError, ValueError), match=r"m\.onnx"):
            from_onnx(path)


def test_damage_anywhere_raises_nothing_else(tmp_path):
    path, rng = tmp_path / "m.onnx", np.random.default_rng(0)
    everything().export(path)
    whole = path.read_bytes()
    for _ in range(200):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), 3):
            content[at] = rng.integers(0, 256)
        path.write_bytes(content)
        with contextlib.suppress(OSError, ValueError):
            from_onnx(path)


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        from_onnx(tmp_path / "none.onnx")


def test_without_onnx_the_error_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "fastmlp\[onnx\]"'):
        net("relu").export(tmp_path / "m.onnx")
    with pytest.raises(ImportError, match=r'pip install "fastmlp\[onnx\]"'):
        from_onnx(tmp_path / "m.onnx")
