"""Figures of data, of training and of what a model has learned.

Functions that fill a page return a matplotlib Figure; those that take `ax` return the Axes they drew in, or an array of
them. Without `ax` they make a figure of their own, which is `ax.figure`. Nothing goes through pyplot: no backend is
chosen, no global state changes, no window opens. Save with `figure.savefig("name.png")`; a notebook under
`%matplotlib inline` shows a Figure as a cell's value. matplotlib is imported on the first call.
"""

from .confusion import confusion_matrix
from .curves import activation_functions, history_panels, training_curves
from .images import confident_mistakes, sample_digits
from .inside import ActivationSummary, activation_statistics, activation_summary, first_layer, gradient_norms
from .regions import decision_regions

__all__ = [
    "ActivationSummary",
    "activation_functions",
    "activation_statistics",
    "activation_summary",
    "confident_mistakes",
    "confusion_matrix",
    "decision_regions",
    "first_layer",
    "gradient_norms",
    "history_panels",
    "sample_digits",
    "training_curves",
]
