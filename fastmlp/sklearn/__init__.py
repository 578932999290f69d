"""Estimators for scikit-learn: its MLPClassifier and MLPRegressor, trained by fastmlp.

They take scikit-learn's parameters under its names, mean the same by them, and begin with the same weights and the same
order of the samples for the same random_state, so that a training differs from scikit-learn's by rounding only. What is
more: every activation, a list of them, every optimizer, dropout, weights of classes, callbacks; the trained network is
`model_`, a fastmlp.Sequential that can be saved and exported. What is less: solver="lbfgs".

>>> from fastmlp.sklearn import MLPClassifier
>>> from sklearn.datasets import load_iris
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> x, y = load_iris(return_X_y=True)
>>> classifier = make_pipeline(StandardScaler(), MLPClassifier(learning_rate_init=0.01, random_state=0, tol=1e-3))
>>> classifier.fit(x, y).score(x, y) > 0.95
True
"""

try:
    import sklearn as _sklearn
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ImportError('fastmlp.sklearn needs scikit-learn 1.6 or later: pip install "fastmlp[sklearn]"') from error

if tuple(int(part) for part in _sklearn.__version__.split(".")[:2]) < (1, 6):
    raise ImportError(
        f"fastmlp.sklearn needs scikit-learn 1.6 or later, here is {_sklearn.__version__}: "
        'pip install -U "fastmlp[sklearn]"'
    )

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
