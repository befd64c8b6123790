"""Arithmetic of one value: multiplier cells, requantiser, activation, carry chains."""
