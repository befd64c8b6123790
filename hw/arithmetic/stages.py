"""Register stages that may be left out: of a pipeline whose clock is slow."""

from collections.abc import Collection

from amaranth.hdl import Module


class Stages:
    """Which of a pipeline's stages end in registers; the others are logic only.

    Calling it adds what a stage sets: `at(3, product.eq(a * b))`.

    Parameters
    ----------
    m : Module
    kept : collection of int
        Numbers of the stages that have registers.
    """

    def __init__(self, m: Module, kept: Collection[int]):
        self.m, self.kept = m, kept

    def __call__(self, number: int, *statements) -> None:
        self.m.d["sync" if number in self.kept else "comb"] += statements

    def between(self, first: int, last: int) -> int:
        """Registers from stage `first` to stage `last`, both included."""
        return sum(first <= number <= last for number in self.kept)
