import functools
import inspect

import features
import pytest
from test_toolkit_parity import ROWS


def test_the_readme_has_the_table_of_these_rows():
    content = features.README.read_text(encoding="utf-8")
    assert features.block(ROWS) in content, "python tests/features.py --readme writes it"


def test_what_others_have_is_said_of_features_that_are_here():
    known = {name for group, feature in features.features(ROWS) for name in (feature, f"{group}: {feature}")}
    assert set(features.SKLEARN) | set(features.TORCH) <= known


def test_scikit_learn_has_what_the_table_says():
    pytest.importorskip("sklearn", "1.7", reason="the table is about a scikit-learn that has losses")
    from sklearn import neural_network as network

    classes = (network.MLPClassifier, network.MLPRegressor)
    known = {name for cls in classes for name in (*inspect.signature(cls).parameters, *dir(cls), "loss_curve_")}
    assert set(features.SKLEARN.values()) <= known


def test_pytorch_has_what_the_table_says():
    torch = pytest.importorskip("torch")
    for path in features.TORCH.values():
        assert functools.reduce(getattr, path.split("."), torch)
