"""Pictures of a training and of what came of it: curves, confusion matrix, and what the first units look for.

python examples/pictures.py [--out DIR] [--epochs N]
"""

import argparse
from pathlib import Path

from fastmlp import plotting
from fastmlp.datasets import mnist, printed_digits
from fastmlp.layers import Dense, Flatten, InputLayer
from fastmlp.models import Sequential
from fastmlp.optimizers import SGD
from fastmlp.utils import set_random_seed

parser = argparse.ArgumentParser(description="Look into a net that reads digits.")
parser.add_argument("--out", type=Path, default=Path("."), help="folder of the figures")
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)
set_random_seed(0)

try:
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
except OSError as error:
    print(f"MNIST could not be had ({error}); taking the printed digits instead.")
    (x_train, y_train), (x_test, y_test) = printed_digits.load_data()
x_train, x_test = x_train.astype("float32") / 255, x_test.astype("float32") / 255

model = Sequential(
    [InputLayer(shape=(28, 28)), Flatten(), Dense(32, activation="relu"), Dense(10, activation="softmax")]
)
model.compile(
    loss="sparse_categorical_crossentropy", optimizer=SGD(learning_rate=0.1, momentum=0.9), metrics=["accuracy"]
)
history = model.fit(x_train, y_train, epochs=options.epochs, validation_split=0.2, verbose=0)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test loss {loss:.4f}, test accuracy {accuracy:.4f}")

# What draws in several panels returns an array of Axes; the figure is that of any of them. The ring marks the epoch
# with the best validation value: behind it the net only learns its training data by heart.
history.plot()[0].figure.savefig(options.out / "pictures_history.png")

# Rows are true digits, columns what the net took them for.
plotting.confusion_matrix(model, x_test, y_test).figure.savefig(options.out / "pictures_confusion.png")

# The weights of a unit lie over the pixels: ink on red raises its answer, ink on blue lowers it.
plotting.first_layer(model)[0].figure.savefig(options.out / "pictures_first_layer.png")
