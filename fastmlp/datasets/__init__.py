"""Data sets with MNIST's shapes: mnist, two that are harder, and printed_digits, which needs no download."""

from fastmlp.datasets import fashion_mnist, kmnist, mnist, printed_digits

__all__ = ["fashion_mnist", "kmnist", "mnist", "printed_digits"]
