"""scikit-learn's own checks of estimators, all of them."""

import pytest

pytest.importorskip("sklearn", reason="pip install 'fastmlp[sklearn]'")

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp.sklearn import MLPClassifier, MLPRegressor


# Its own estimators warn, too, where max_iter ends a training; the checks train for as long as that takes.
@pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.{ConvergenceWarning.__name__}")
@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_it_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)
