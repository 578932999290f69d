"""The first Keras tutorial, line by line: only the imports have changed.

A net with two small hidden layers learns to read digits, first from one-hot labels, then from class indices.

    python examples/tutorial.py [--out DIR] [--epochs N]
"""

import argparse
from pathlib import Path

import numpy as np

from fastmlp import plotting
from fastmlp.datasets import mnist, printed_digits  # from keras.datasets import mnist
from fastmlp.layers import Dense, Flatten, InputLayer  # from keras.layers import ...
from fastmlp.models import Sequential  # from keras.models import Sequential
from fastmlp.utils import to_categorical  # from keras.utils import to_categorical

parser = argparse.ArgumentParser(description="Read digits, as in the first Keras tutorial.")
parser.add_argument("--out", type=Path, default=Path("."), help="folder of the figures")
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)

# 60,000 images to learn from and 10,000 to be tested on, 28 x 28 pixels from 0 (paper) to 255 (ink).
try:
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
except OSError as error:
    print(f"MNIST could not be had ({error}); taking the printed digits instead.")
    (x_train, y_train), (x_test, y_test) = printed_digits.load_data()
print("train:", x_train.shape, y_train.shape)
print("test: ", x_test.shape, y_test.shape)
plotting.sample_digits(x_train, y_train).savefig(options.out / "tutorial_samples.png")

# A label such as 5 becomes a row with a one in place 5: the output the net should give.
y_train_categorical = to_categorical(y_train)
y_test_categorical = to_categorical(y_test)
print("label", y_train[0], "as one-hot row:", y_train_categorical[0])

# The image as one row of 784 numbers, two hidden layers, and ten outputs that sum to one.
model = Sequential()
model.add(InputLayer(input_shape=(28, 28)))
model.add(Flatten())
model.add(Dense(units=16, activation="sigmoid"))
model.add(Dense(units=8, activation="sigmoid"))
model.add(Dense(units=10, activation="softmax"))
model.summary()

# One-hot labels go with categorical_crossentropy. A fifth of the training data is kept back to validate on.
model.compile(loss="categorical_crossentropy", optimizer="SGD", metrics=["accuracy"])
history = model.fit(x_train, y_train_categorical, epochs=options.epochs, validation_split=0.2)
plotting.training_curves(history).savefig(options.out / "tutorial_curves.png")
loss, accuracy = model.evaluate(x_test, y_test_categorical)
print(f"test accuracy after {options.epochs} epochs: {accuracy:.4f}")

# Class indices go with sparse_categorical_crossentropy: the same loss, without the one-hot rows.
# Compiling again keeps the weights, so the training goes on where it stopped.
model.compile(loss="sparse_categorical_crossentropy", optimizer="SGD", metrics=["accuracy"])
history = model.fit(x_train, y_train, epochs=options.epochs, validation_split=0.2)
plotting.training_curves(history).savefig(options.out / "tutorial_curves_sparse.png")
loss, accuracy = model.evaluate(x_test, y_test)
print(f"test accuracy after {2 * options.epochs} epochs: {accuracy:.4f}")

# The class with the largest probability is the prediction.
probabilities = model.predict(x_test)
print("predicted:", np.argmax(probabilities[:10], axis=1))
print("labels:   ", y_test[:10])
plotting.confident_mistakes(x_test, y_test, probabilities).savefig(options.out / "tutorial_mistakes.png")
