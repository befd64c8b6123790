"""Float network to integer weights (in the making); random weights for hardware tests."""

from golden.random_weights import fixed_point, random_weights

__all__ = ["fixed_point", "random_weights"]
