"""Many classes: softmax, with one-hot labels or with class indices. Both forms train the same net.

python examples/many_classes.py [--out DIR] [--epochs N]
"""

import argparse
from pathlib import Path

import numpy as np

from fastmlp import plotting
from fastmlp.layers import Dense, InputLayer
from fastmlp.models import Sequential
from fastmlp.optimizers import SGD
from fastmlp.utils import set_random_seed, to_categorical

parser = argparse.ArgumentParser(description="Two forms of the labels, one result.")
parser.add_argument("--out", type=Path, default=Path("."), help="folder of the figure")
parser.add_argument("--epochs", type=int, default=30)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)

# Five clouds of points, which overlap a little.
classes = 5
rng = np.random.default_rng(0)
centers = rng.uniform(-4, 4, size=(classes, 2))
y = rng.integers(0, classes, size=2000)
x = (centers[y] + rng.normal(size=(2000, 2))).astype(np.float32)
x_train, x_test, y_train, y_test = x[:1500], x[1500:], y[:1500], y[1500:]


def train(loss, targets):
    """A net trained with this loss; the seed fixes its first weights and the order of the rows."""
    set_random_seed(0)
    model = Sequential([InputLayer(shape=(2,)), Dense(16, activation="tanh"), Dense(classes, activation="softmax")])
    model.compile(loss=loss, optimizer=SGD(learning_rate=0.1), metrics=["accuracy"])
    history = model.fit(x_train, targets, epochs=options.epochs, verbose=0)
    return model, history.history


# Class indices (1500,) go with sparse_categorical_crossentropy, one-hot rows (1500, 5) with the other.
print("indices:", y_train[:3], " one-hot rows:", *to_categorical(y_train)[:3])
sparse, sparse_history = train("sparse_categorical_crossentropy", y_train)
onehot, onehot_history = train("categorical_crossentropy", to_categorical(y_train))
print(f"last loss: indices {sparse_history['loss'][-1]:.6f}, one-hot {onehot_history['loss'][-1]:.6f}")

difference = max(np.abs(a - b).max() for a, b in zip(sparse.get_weights(), onehot.get_weights()))
print(f"largest difference of any weight: {difference:.1e}")
np.testing.assert_allclose(difference, 0, atol=1e-4)

# Softmax gives each class its share; the shares of a row sum to one and the largest is the prediction.
probabilities = sparse.predict(x_test, verbose=0)
print("shares of the first test point:", probabilities[0].round(3), "sum:", probabilities[0].sum())
print(f"test accuracy: {np.mean(probabilities.argmax(axis=1) == y_test):.4f}")
names = [f"cloud {index}" for index in range(classes)]
plotting.confusion_matrix(sparse, x_test, y_test, labels=names).figure.savefig(options.out / "many_classes.png")
