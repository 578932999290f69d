"""The network as a C header, compiled beside predict."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest
import twins
from test_steps import everything

import fastmlp
from fastmlp import activations, layers
from fastmlp.saving import c_functions, c_header
from fastmlp.saving.steps import Activation, Step

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
STRICT = ["-std=c99", "-O3", "-Wall", "-Wextra", "-Werror", "-pedantic"]


def built(header, name, flags=STRICT, compiler=COMPILER, ending="c"):
    """The functions of a header, compiled with all warnings as errors: (predict, class or None)."""
    has_class = f"{name}_class" in header.read_text()
    source, library = header.with_suffix(f".main.{ending}"), header.with_suffix(".so")
    extern = 'extern "C" ' if ending == "cc" else ""
    lines = [f'#include "{header.name}"', f'#include "{header.name}"']  # twice: the guard
    for head, body in (("void run(const float *x, float *out)", f"{name}_predict(x, out);"),
                       *([("int which(const float *x)", f"return {name}_class(x);")] * has_class)):  # fmt: skip
        lines += [f"{extern}{head};", f"{extern}{head} {{ {body} }}"]
    lines += [f"{extern}int inputs(void);", f"{extern}int inputs(void) {{ return {name.upper()}_INPUTS; }}"]
    lines += [f"{extern}int outputs(void);", f"{extern}int outputs(void) {{ return {name.upper()}_OUTPUTS; }}"]
    source.write_text("\n".join(lines) + "\n")
    made = subprocess.run([compiler, *flags, "-shared", "-fPIC", "-o", library, source, "-lm"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert made.returncode == 0, made.stderr
    loaded = ctypes.CDLL(str(library))
    pointer = ctypes.POINTER(ctypes.c_float)

    def predict(x):
        x = np.ascontiguousarray(x.reshape(len(x), -1), np.float32)
        assert x.shape[1] == loaded.inputs()
        out = np.full((len(x), loaded.outputs()), np.nan, np.float32)
        for row, result in zip(x, out):
            loaded.run(row.ctypes.data_as(pointer), result.ctypes.data_as(pointer))
        return out

    def classes(x):
        rows = np.ascontiguousarray(x.reshape(len(x), -1), np.float32)
        return [loaded.which(row.ctypes.data_as(pointer)) for row in rows]

    return predict, classes if has_class else None


def samples(n, *shape):
    return np.random.default_rng(3).standard_normal((n, *shape)).astype(np.float32)


def net(*units, activation="tanh", last="softmax"):
    made = [layers.Dense(m, activation) for m in units[1:-1]]
    return fastmlp.Sequential([layers.Input((units[0],)), *made, layers.Dense(units[-1], last)], name="net")


# Outputs are of size 1, sums of at most 40 products in three layers.
close = {"rtol": 1e-5, "atol": 1e-5}


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_of_every_layer_predicts_the_same_in_c(tmp_path, dtype):
    model = fastmlp.Sequential.from_config(everything().get_config() | {"dtype": dtype})
    model.set_weights(everything().get_weights())
    assert model.export(tmp_path / "all.h") is None
    x = samples(20, 3, 4)
    predict, classes = built(tmp_path / "all.h", "all")
    np.testing.assert_allclose(predict(x), model.predict(x), rtol=0, atol=3e-5)
    assert classes(x) == model.predict(x).argmax(axis=1).tolist()


@needs_compiler
@pytest.mark.parametrize("activation", activations.NAMES)
def test_every_activation_is_the_same_in_c(tmp_path, activation):
    model, x = net(6, 5, 4, activation=activation, last=activation), samples(50, 6)
    x *= 0.2 if activation == "exponential" else 3  # the exponential of an exponential shows each rounding
    model.export(tmp_path / "net.h")
    np.testing.assert_allclose(built(tmp_path / "net.h", "net")[0](x), model.predict(x), **close)


@needs_compiler
def test_numbers_of_activations_and_of_layers_in_front_are_the_same_in_c(tmp_path):
    made = [layers.PReLU(), layers.LayerNormalization(rms_scaling=True), layers.ELU(0.7), layers.LeakyReLU(0.1),
            layers.ReLU(2.0, 0.2, 0.5), layers.Dense(3), layers.ELU(0.3), layers.ReLU(threshold=0.1)]  # fmt: skip
    model, x = fastmlp.Sequential([layers.Input((5,)), *made]), samples(50, 5)
    model.set_weights([w + 0.1 for w in model.get_weights()])
    model.export(tmp_path / "net.h")
    np.testing.assert_allclose(built(tmp_path / "net.h", "net")[0](x), model.predict(x), **close)


@needs_compiler
def test_gelu_by_tanh_is_the_same_in_c_without_any_product(tmp_path, monkeypatch):
    monkeypatch.setattr(c_header, "steps_of", lambda *_, **__: [Activation("a", 4, "gelu_approximate", ())])
    net(4, 4, last="linear").export(tmp_path / "net.h")
    x = np.concatenate([samples(50, 4), np.full((1, 4), -1e30), np.full((1, 4), 1e30)]).astype(np.float32)
    expected = twins.gelu(np.clip(x.astype(np.float64), -1e9, 1e30), approximate=True)
    np.testing.assert_allclose(built(tmp_path / "net.h", "net")[0](x), expected, **close)


@needs_compiler
@pytest.mark.parametrize("units", [(1, 2), (3, 2), (4, 7, 2), (5, 40, 17, 3)])
def test_all_sizes_are_the_same_in_c(tmp_path, units):
    model, x = net(*units), samples(9, units[0])
    model.export(tmp_path / "net.h")
    np.testing.assert_allclose(built(tmp_path / "net.h", "net")[0](x), model.predict(x), **close)


@needs_compiler
def test_large_numbers_do_not_overflow_in_softmax_and_sigmoid(tmp_path):
    for last in ("softmax", "sigmoid", "silu", "gelu", "mish"):
        model = net(2, 3, last=last)
        model.set_weights([np.full((2, 3), [[100.0, -100, 1]] * 2), np.zeros(3)])
        x = np.array([[1, 1], [5, 5], [-5, -5]], np.float32)
        model.export(tmp_path / f"{last}.h")
        np.testing.assert_allclose(built(tmp_path / f"{last}.h", last)[0](x), model.predict(x), **close)


@needs_compiler
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("int8", [False, True])
def test_it_is_cplusplus_too(tmp_path, int8):
    model, x = everything(), samples(4, 3, 4)
    model.export(tmp_path / "net.h", int8=int8)
    flags = ["-std=c++11", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    predict, _ = built(tmp_path / "net.h", "net", flags, "c++", "cc")
    np.testing.assert_allclose(predict(x), model.predict(x), rtol=0, atol=0.1 if int8 else 3e-5)


def test_weights_come_back_bit_by_bit(tmp_path):
    model = net(7, 5, last="linear")
    rng = np.random.default_rng(0)
    weights = (rng.standard_normal((7, 5)) * 10.0 ** rng.integers(-30, 30, (7, 5))).astype(np.float32)
    weights[0] = [1e-45, -0.0, np.finfo(np.float32).max, np.finfo(np.float32).tiny, 0.1]
    model.set_weights([weights, np.zeros(5)])
    model.export(tmp_path / "net.h")
    text = re.search(r"net_weights_0\[35\] = \{(.*?)\}", (tmp_path / "net.h").read_text(), re.S)[1]
    read = np.array([np.float32(number.strip().rstrip("f")) for number in text.split(",")])
    assert read.tobytes() == weights.tobytes()


@needs_compiler
def test_int8_says_what_it_costs_and_the_header_does_as_said(tmp_path, classifier, blobs):
    x, y = blobs
    classifier.fit(x, y, epochs=20, verbose=0)
    result = classifier.export(tmp_path / "small.h", int8=True, x=x, y=y)
    expected = classifier.predict(x)
    predict, classes = built(tmp_path / "small.h", "small")
    got = predict(x)
    assert 0 < result.difference < 0.05
    np.testing.assert_allclose(np.abs(got - expected).max(), result.difference, atol=1e-6)
    assert result.samples == 120
    assert result.same == (got.argmax(axis=1) == expected.argmax(axis=1)).mean()
    assert result.accuracy == (expected.argmax(axis=1) == y).mean()
    assert result.exported_accuracy == (np.array(classes(x)) == y).mean()
    text = (tmp_path / "small.h").read_text()
    assert str(result)[1:] in text
    assert "static const signed char small_whole_0[40]" in text
    assert "small_weights_0" not in text


def test_int8_weights_are_within_half_a_step(tmp_path):
    model = net(30, 8)
    model.export(tmp_path / "net.h", int8=True)
    text = (tmp_path / "net.h").read_text()
    arrays = {key: np.array([float(v.strip().rstrip("f")) for v in values.split(",")]) for key, values in
              re.findall(r"net_(whole|factor)_0\[\d+\] = \{(.*?)\}", text, re.S)}  # fmt: skip
    whole, weights = arrays["whole"].reshape(30, 8), model.get_weights()[0]
    assert (np.abs(whole * arrays["factor"] - weights) <= 0.5000001 * arrays["factor"]).all()
    assert (np.abs(whole).max(axis=0) == 127).all()


def test_int8_without_samples_says_that_nothing_was_measured(tmp_path):
    assert net(4, 3).export(tmp_path / "net.h", int8=True) is None
    assert "What int8 costs was not measured" in (tmp_path / "net.h").read_text()


@needs_compiler
def test_a_unit_without_weights_has_none_in_int8(tmp_path):
    model, x = net(4, 3, last="linear"), samples(5, 4)
    weights = np.zeros((4, 3))
    weights[0] = [0, 1e-45, 2]
    model.set_weights([weights, np.ones(3)])
    model.export(tmp_path / "net.h", int8=True)
    np.testing.assert_allclose(built(tmp_path / "net.h", "net")[0](x), model.predict(x), **close)


def test_comparison_of_the_floats_is_rounding(tmp_path, blobs):
    x, y = blobs
    result = net(5, 8, 3).export(tmp_path / "net.h", x=x, y=np.eye(3)[y])
    assert result.difference < 1e-5
    assert result.same == 1
    assert result.accuracy == result.exported_accuracy


@needs_compiler
def test_a_single_probability_has_a_class(tmp_path):
    model, x = net(3, 1, last="sigmoid"), samples(30, 3)
    result = model.export(tmp_path / "net.h", x=x, y=model.predict(x)[:, 0] > 0.5)
    assert result.exported_accuracy == 1
    _, classes = built(tmp_path / "net.h", "net")
    assert classes(x) == (model.predict(x)[:, 0] > 0.5).astype(int).tolist()


def test_a_single_value_has_no_class(tmp_path):
    model, x = net(3, 1, last="linear"), samples(30, 3)
    assert model.export(tmp_path / "net.h", x=x).same is None
    assert "_class" not in (tmp_path / "net.h").read_text()
    with pytest.raises(ValueError, match="single output is no probability; leave y out"):
        model.export(tmp_path / "net.h", x=x, y=np.zeros(30))


@pytest.mark.parametrize(
    ("file", "name"),
    [("digits.h", "digits"), ("my-net 2.h", "my_net_2"), ("2nd.h", "net_2nd"), ("_.h", "net"), ("ÄÖ.h", "net"),
     ("int.h", "int"), ("a.b.h", "a_b")],
)  # fmt: skip
@needs_compiler
def test_names_come_from_the_file(tmp_path, file, name):
    model = net(3, 2)
    model.export(tmp_path / file)
    text = (tmp_path / file).read_text()
    assert f"static inline void {name}_predict(" in text
    assert f"#ifndef FASTMLP_{name.upper()}_H" in text
    (tmp_path / "plain.h").write_text(text)
    built(tmp_path / "plain.h", name)


def test_a_name_can_be_given(tmp_path):
    net(3, 2).export(tmp_path / "net.h", name="Pilot")
    assert "static inline void Pilot_predict(" in (tmp_path / "net.h").read_text()
    for wrong in ("2nd", "a b", "", "é", "_x", "a;b"):
        with pytest.raises(ValueError, match="name must be a name in C"):
            net(3, 2).export(tmp_path / "net.h", name=wrong)


def test_two_headers_live_in_one_program(tmp_path):
    for name in ("one", "two"):
        net(3, 4, 2).export(tmp_path / f"{name}.h")
    text = "".join((tmp_path / f"{name}.h").read_text() for name in ("one", "two"))
    names = re.findall(r"^static (?:inline|const) .*?(\w+)[\[(]", text, re.M)
    assert len(names) == len(set(names))


@needs_compiler
def test_names_of_models_and_layers_can_not_end_the_comment(tmp_path):
    model = fastmlp.Sequential([layers.Input((3,)), layers.Dense(2, name="*/ x")], name="*/ #error no \\\n /* ??/")
    model.export(tmp_path / "net.h")
    built(tmp_path / "net.h", "net")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_weights_that_float32_can_not_hold_are_refused_by_their_layer(tmp_path, wrong):
    model = fastmlp.Sequential([layers.Input((3,)), layers.Dense(2, name="broken")], dtype="float64")
    model.set_weights([np.full((3, 2), wrong), np.zeros(2)])
    with pytest.raises(ValueError, match="layer 'broken' has weights that are NaN, infinite or too large for float32"):
        model.export(tmp_path / "net.h")
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_c_does_not_know_is_refused_by_its_layer():
    with pytest.raises(ValueError, match="layer 'odd' has a Step, which a C header can't hold"):
        c_functions.helper(Step("odd", 3))


def test_data_that_do_not_fit_are_refused_and_the_old_file_stays(tmp_path):
    model, path = net(3, 2), tmp_path / "net.h"
    path.write_text("old")
    for arguments, message in (
        ({"y": [0]}, "y needs x"),
        ({"x": samples(4, 5)}, "x has"),
        ({"x": samples(4, 3), "y": [0, 1]}, r"y has shape \(2,\), which doesn't fit 4 samples"),
        ({"x": samples(0, 3)}, "x is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            model.export(path, **arguments)
        assert path.read_text() == "old"
    with pytest.raises(ValueError, match=r"a header's path ends in \.h"):
        model.export(tmp_path / "net.txt", "c")


def test_a_comparison_reads_as_a_sentence():
    result = c_header.Comparison(1000, 0.0123, 0.999, 0.981, 0.98)
    assert str(result) == (
        "compared with predict on 1,000 samples: outputs differ by at most 0.0123, 99.90% have the same class; "
        "accuracy 98.00% instead of 98.10%"
    )
