"""Data sets with MNIST's shapes: mnist itself, and printed_digits, which needs no download."""

from fastmlp.datasets import mnist, printed_digits

__all__ = ["mnist", "printed_digits"]
