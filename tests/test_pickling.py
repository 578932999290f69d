"""Models in pickles and copies."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from support import compiled_only

import fastmlp
from fastmlp.layers import BatchNormalization, Dense, Dropout, Input

pytestmark = compiled_only

copies = pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)


def trained(blobs):
    x, labels = blobs
    model = fastmlp.Sequential(
        [Input((5,)), Dense(8, "relu"), BatchNormalization(), Dropout(0.3, seed=1), Dense(3, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, labels, epochs=2, verbose=0)
    return model


@copies
def test_a_copy_predicts_the_same(blobs, copied):
    model = trained(blobs)
    np.testing.assert_array_equal(copied(model).predict(blobs[0]), model.predict(blobs[0]))


@copies
def test_a_copy_trains_on_with_the_same_bits(blobs, copied):
    model = trained(blobs)
    again = copied(model)
    for one in (model, again):
        one.fit(*blobs, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(one, other)


@copies
def test_a_copy_is_on_its_own(blobs, copied):
    model = trained(blobs)
    before = model.get_weights()
    copied(model).fit(*blobs, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


@copies
def test_a_copy_has_the_history(blobs, copied):
    model = trained(blobs)
    again = copied(model)
    assert again.history.history == model.history.history
    assert again.history.model is again


@copies
def test_a_model_without_weights_can_be_copied(copied):
    model = copied(fastmlp.Sequential([Dense(3)], name="unbuilt"))
    assert (model.name, model.built, model.loss) == ("unbuilt", False, None)


@copies
def test_a_copy_leaves_the_generator_as_it_was(blobs, copied):
    model = trained(blobs)
    before = fastmlp.random.state()
    copied(model)
    np.testing.assert_array_equal(fastmlp.random.state(), before)


@copies
def test_what_is_not_trained_stays_so_in_a_copy(blobs, copied):
    model = trained(blobs)
    model.layers[0].trainable = False
    again = copied(model)
    again.fit(*blobs, verbose=0)
    np.testing.assert_array_equal(again.layers[0].get_weights()[0], model.layers[0].get_weights()[0])
    assert not np.array_equal(again.layers[-1].get_weights()[0], model.layers[-1].get_weights()[0])


@pytest.mark.parametrize("way", ["fit", "a copy", "callbacks", "an error", "estimator"])
def test_the_memory_of_a_model_is_free_when_nobody_holds_it_any_more(blobs, way, tmp_path):
    gc.disable()  # which would find cycles of references, some time
    try:
        model = trained(blobs)
        history = model.history
        if way == "a copy":
            model = pickle.loads(pickle.dumps(model))
        elif way == "callbacks":
            callbacks = [fastmlp.callbacks.BackupAndRestore(tmp_path), fastmlp.callbacks.EarlyStopping("loss")]
            model.fit(*blobs, epochs=2, verbose=0, callbacks=callbacks)
            del callbacks
        elif way == "an error":
            with pytest.raises(ValueError, match="x"):
                model.fit(blobs[0][:, 1:], blobs[1], verbose=0)
        elif way == "estimator":
            pytest.importorskip("sklearn", reason="pip install 'fastmlp[sklearn]'")
            from fastmlp import sklearn as estimators

            with pytest.warns(estimators.base.ConvergenceWarning):
                model = estimators.MLPClassifier(3, max_iter=1).fit(*blobs).model_
        model.predict(blobs[0])
        model.evaluate(*blobs, verbose=0)
        held = weakref.ref(model)
        del model
        assert held() is None
        assert history.model is None
        assert len(history.history["loss"]) > 0
    finally:
        gc.enable()
