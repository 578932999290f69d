"""Values from a table: how far a disease went within a year, by ten measures of each patient.

python examples/diabetes.py [--out DIR] [--epochs N]

The data come with scikit-learn (pip install "fastmlp[sklearn]"): 442 patients of Efron, Hastie, Johnstone & Tibshirani
(2004), Annals of Statistics 32(2). A linear model stands beside the net, since for so few samples it is hard to beat.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split

from fastmlp.callbacks import EarlyStopping
from fastmlp.layers import Dense, Input, Normalization
from fastmlp.models import Sequential
from fastmlp.optimizers import Adam
from fastmlp.utils import set_random_seed

parser = argparse.ArgumentParser(description="Predict the progress of a disease from ten measures.")
parser.add_argument("--out", type=Path, default=Path("."), help="folder of the figure")
parser.add_argument("--epochs", type=int, default=300)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)
set_random_seed(0)

data = load_diabetes(scaled=False)
x, x_test, y, y_test = train_test_split(data.data, data.target, test_size=0.25, random_state=0)

# Age, blood pressure and blood serum have units of their own: the first layer takes them to mean 0 and variance 1.
normalization = Normalization()
normalization.adapt(x)
model = Sequential([Input((10,)), normalization, Dense(16, activation="relu"), Dense(1)])
model.compile(optimizer=Adam(0.01), loss="mean_squared_error", metrics=["mean_absolute_error"])

# The target, 25 to 346, is scaled too, so that the first steps are not spent on finding its mean.
mean, spread = y.mean(), y.std()
stopping = EarlyStopping(patience=20, restore_best_weights=True)
history = model.fit(
    x, (y - mean) / spread, epochs=options.epochs, validation_split=0.2, callbacks=[stopping], verbose=0
)  # fmt: skip
predicted = model.predict(x_test)[:, 0] * spread + mean

linear = LinearRegression().fit(x, y).predict(x_test)
print(f"{len(history.epoch)} epochs. Mean absolute error on {len(y_test)} patients that were held out:")
for name, answer in (("the mean alone", np.full(len(y_test), mean)), ("linear model", linear), ("net", predicted)):
    print(f"  {name:15} {mean_absolute_error(y_test, answer):5.1f}")

figure = Figure(figsize=(5, 5), layout="constrained")
ax = figure.add_subplot()
ax.plot([0, 350], [0, 350], color="#999999", linewidth=1)
ax.scatter(y_test, predicted, s=14, color="#0072B2")
ax.set(xlabel="progress within a year", ylabel="predicted", title="Patients that were held out")
figure.savefig(options.out / "diabetes.png", dpi=150)
print(f"Wrote {options.out / 'diabetes.png'}")
