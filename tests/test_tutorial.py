"""The tutorial's notebook, line by line, with `tensorflow.keras` changed to `fastmlp`."""

import numpy as np
import pytest

from fastmlp import reference


def test_tutorial_runs_with_its_imports_changed(monkeypatch, capsys):
    from fastmlp.datasets import mnist, printed_digits

    try:
        name, data = "mnist", mnist.load_data()
    except OSError:
        name, data = "printed_digits", printed_digits.load_data()
    monkeypatch.setattr(mnist, "load_data", lambda: data)

    # ---- the notebook
    from fastmlp.datasets import mnist
    from fastmlp.layers import Dense, Flatten, InputLayer
    from fastmlp.models import Sequential
    from fastmlp.utils import to_categorical

    (X_train, y_train), (X_test, y_test) = mnist.load_data()
    assert X_train.shape == (60000, 28, 28)
    assert y_train.shape == (60000,)

    y_train_categorical = to_categorical(y_train, num_classes=10)
    y_test_categorical = to_categorical(y_test, num_classes=10)
    assert y_test_categorical.shape == (10000, 10)

    model = Sequential()
    model.add(InputLayer(input_shape=(28, 28)))
    model.add(Flatten())
    model.add(Dense(units=16, activation="sigmoid"))
    model.add(Dense(units=8, activation="sigmoid"))
    model.add(Dense(units=10, activation="softmax"))
    model.summary()

    model.compile(loss="categorical_crossentropy", optimizer="SGD", metrics=["accuracy"])
    history = model.fit(X_train, y_train_categorical, epochs=20, validation_split=0.2)
    assert len(history.history["loss"]) == len(history.history["val_loss"]) == 20

    model.compile(loss="sparse_categorical_crossentropy", optimizer="SGD", metrics=["accuracy"])
    history = model.fit(X_train, y_train, epochs=20, validation_split=0.2)

    _loss, accuracy = model.evaluate(X_test, y_test)
    predicted = np.argmax(model.predict(X_test), axis=1)
    # ---- its end

    assert accuracy == pytest.approx((predicted == y_test).mean())
    # Another machine rounds differently and lands elsewhere in the spread, so the bound is a wide one.
    keras = reference.recorded()[name]["tutorial"]
    assert abs(accuracy - keras.mean) < 5 * keras.std
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert "Epoch 20/20" in capsys.readouterr().out
