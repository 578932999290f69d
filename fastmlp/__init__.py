"""fastmlp: multilayer perceptrons at the speed of the CPU, behind the Keras API."""

__version__ = "0.1.0"
