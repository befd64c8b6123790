"""Maps and state in the banks of the activation memory: who lies where, from when to when."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Map:
    """A map in the banks, at the same words of each.

    Attributes
    ----------
    name : str
    holds : str
        Part of the network that it belongs to, in words.
    words, base : int
        Words of a bank, the first of them.
    wide : bool
        Of a block, each head's in its own banks; else n-wide, channel c in bank c mod L.
    groups : int
        Words of a bank for each channel (wide), words of each channel (n-wide).
    born, dies : int
        First and last operation that touches it.
    """

    name: str
    holds: str
    words: int
    wide: bool
    groups: int
    born: int = 0
    dies: int = 0
    base: int = 0

    def meets(self, other: "Map") -> bool:
        """Whether both are alive at some time."""
        return self.born <= other.dies and other.born <= self.dies


def allocate(maps: Mapping[str, Map], attempts: int = 400) -> tuple[dict[str, Map], int]:
    """Give each map a base so that maps alive together do not overlap.

    First fit over several orders, the best one kept; stops at the lower bound (most words alive).

    Returns
    -------
    dict of str to Map
        With their bases.
    int
        Words of a bank.
    """
    items = list(maps.values())
    times = range(max(m.dies for m in items) + 1)
    bound = max(sum(m.words for m in items if m.born <= t <= m.dies) for t in times)
    rng = random.Random(1)

    def place(order: list[Map]) -> tuple[int, dict[str, int]]:
        placed: list[tuple[Map, int]] = []
        for m in order:
            base = 0
            for low, high in sorted((b, b + o.words) for o, b in placed if m.meets(o)):
                if base + m.words <= low:
                    break
                base = max(base, high)
            placed.append((m, base))
        return max(b + m.words for m, b in placed), {m.name: b for m, b in placed}

    orders = [
        sorted(items, key=lambda m: (m.born, -m.words)),
        sorted(items, key=lambda m: (-m.words, m.born)),
        sorted(items, key=lambda m: (-(m.dies - m.born), -m.words)),
        sorted(items, key=lambda m: (-m.words * (m.dies - m.born + 1), m.born)),
    ]
    best = None
    for attempt in range(attempts):
        order = orders[attempt] if attempt < len(orders) else rng.sample(items, len(items))
        found = place(order)
        if best is None or found[0] < best[0]:
            best = found
        if best[0] == bound:
            break
    words, bases = best
    return {name: replace(m, base=bases[name]) for name, m in maps.items()}, words
