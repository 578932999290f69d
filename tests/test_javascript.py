"""The network as JavaScript beside predict, in Node."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from test_steps import everything

import fastmlp
from fastmlp import activations, layers
from fastmlp.saving import javascript
from fastmlp.saving.steps import Activation

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="Node.js runs what is written")

MODULE = """
import { predict, inputs, outputs, inputShape } from "%s";
const samples = JSON.parse((await import("node:fs")).readFileSync(0));
console.log(JSON.stringify({ inputs, outputs, inputShape, made: samples.map((x) => Array.from(predict(x), String)) }));
"""


def in_node(model, x, tmp_path):
    """What the written module says: its description, and the outputs (samples, units)."""
    model.export(tmp_path / "net.js")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "run.js").write_text(MODULE % "./net.js")
    done = subprocess.run(
        [NODE, tmp_path / "run.js"],
        input=json.dumps(np.asarray(x).tolist()),
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    return said, np.array(said.pop("made"), np.float64)


def net(*row, inputs=6, dtype=None, seed=0):
    model = fastmlp.Sequential([layers.Input((inputs,)), *row], dtype=dtype)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


@needs_node
@pytest.mark.parametrize("activation", activations.NAMES)
def test_every_activation_predicts_the_same(activation, tmp_path):
    model = net(layers.Dense(9, activation=activation), layers.Dense(3), dtype="float64")
    # Inputs of all sizes, so that both tails and all branches of every function are reached.
    x = np.random.default_rng(1).normal(size=(40, 6)) * np.logspace(-3, 1, 40)[:, None]
    x = x if activation != "exponential" else x / 4
    _, made = in_node(model, x, tmp_path)
    np.testing.assert_allclose(made, model.predict(x), rtol=1e-11, atol=1e-12)


@needs_node
@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_is_right_to_float32_in_all_its_branches(approximate, tmp_path, monkeypatch):
    name = "gelu_approximate" if approximate else "gelu"
    monkeypatch.setattr(javascript, "steps_of", lambda *_, **__: [Activation("gelu", 4, name, ())])
    x = np.linspace(-12, 12, 400).reshape(100, 4)
    _, made = in_node(net(layers.Dense(4), inputs=4), x, tmp_path)
    np.testing.assert_allclose(made, activations.gelu(x, approximate=approximate), rtol=1e-9, atol=1e-300)


@needs_node
def test_every_layer_predicts_the_same(tmp_path):
    model, x = everything(), np.random.default_rng(1).normal(size=(5, 3, 4)).astype(np.float32)
    said, made = in_node(model, x, tmp_path)
    assert said == {"inputs": 12, "outputs": 5, "inputShape": [3, 4]}
    np.testing.assert_allclose(made, model.predict(x), atol=3e-5)


@needs_node
def test_float32_weights_come_back_bit_by_bit(tmp_path):
    model = net(layers.Dense(5, use_bias=False))
    _, made = in_node(model, np.eye(6), tmp_path)
    np.testing.assert_array_equal(made.astype(np.float32), model.get_weights()[0])


@needs_node
@pytest.mark.parametrize("given", ["[1, 2]", "[[1, 2], [3, 4]]", "[1, 2, 3, 4, 5, 6, 7]"])
def test_samples_of_another_length_are_refused(given, tmp_path):
    net(layers.Dense(2)).export(tmp_path / "net.js", module=False)
    code = (tmp_path / "net.js").read_text() + f"network.predict({given})"
    done = subprocess.run([NODE, "-e", code], capture_output=True, text=True)
    assert "RangeError: expected one sample of 6 numbers, shape (6), got " in done.stderr


@needs_node
def test_a_classic_script_is_an_object_of_the_name_given(tmp_path):
    net(layers.Dense(2)).export(tmp_path / "net.txt", format="javascript", module=False, name="$mine")
    code = (
        tmp_path / "net.txt"
    ).read_text() + "console.log(Object.keys($mine).join(), $mine.predict([1,1,1,1,1,1]).length)"
    done = subprocess.run([NODE, "-e", code], capture_output=True, text=True, check=True)
    assert done.stdout == "predict,inputs,outputs,inputShape 2\n"


@needs_node
def test_names_of_layers_cannot_leave_their_comment(tmp_path):
    name = "a\nthrow 1 </script> \u2028 é"
    text = javascript.script(net(layers.Dense(2, name=name)))
    assert "</script>" not in text
    assert "// a_throw 1 __script_ _ _" in text
    assert text.isascii()


@pytest.mark.parametrize("name", ["", "1a", "a b", "é", "a;b"])
def test_names_that_no_variable_can_have_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="name must be one that a variable can have in JavaScript"):
        net(layers.Dense(2)).export(tmp_path / "net.js", module=False, name=name)
    assert not (tmp_path / "net.js").exists()


def test_a_model_without_weights_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="has no weights yet"):
        fastmlp.Sequential([layers.Dense(2)]).export(tmp_path / "net.js")
