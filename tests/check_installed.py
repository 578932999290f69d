"""Run by the Python of an environment that holds nothing but the installed wheel."""

import importlib.util
import pathlib

import fastmlp
import fastmlp.kernels

assert "site-packages" in fastmlp.__file__, fastmlp.__file__
assert importlib.util.find_spec("kernels") is None, "kernels/ must install as fastmlp.kernels only"
assert (pathlib.Path(fastmlp.__file__).parent / "py.typed").exists()
assert (pathlib.Path(fastmlp.__file__).parent / "reporting" / "report.html").exists()
assert importlib.util.find_spec("scipy") is None, "SciPy is no dependency"

model = fastmlp.Sequential([fastmlp.layers.Input((3,)), fastmlp.layers.Dense(2, activation="softmax")])
model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit([[0, 0, 1], [1, 0, 0]], [0, 1], epochs=2)
print(model.predict([[0, 0, 1]]), "from", fastmlp.__version__)
