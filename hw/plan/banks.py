"""Maps and state in the banks of the activation memory: who lies where, from when to when."""

import random
from dataclasses import dataclass


@dataclass
class Map:
    """A map in the state SRAM: `words` per bank at `base`, alive from `born` to `dies`."""

    name: str
    words: int
    wide: bool
    groups: int = 1  # words per bank and channel (wide), words per channel (n-wide)
    channels: int = 0
    born: int = 10**9
    dies: int = -1
    base: int = 0


def allocate(maps: dict[str, Map], attempts: int = 400) -> int:
    """Give each map a base so that maps alive together do not overlap; returns the words per bank.

    First fit over several orders, the best one kept; stops at the lower bound (most words alive).
    """
    items = list(maps.values())
    times = range(max(m.dies for m in items) + 1)
    bound = max(sum(m.words for m in items if m.born <= t <= m.dies) for t in times)
    rng = random.Random(1)

    def place(order):
        placed: list[tuple[Map, int]] = []
        for m in order:
            taken = sorted(
                (b, b + o.words) for o, b in placed if not (m.dies < o.born or o.dies < m.born)
            )
            base = 0
            for low, high in taken:
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
        result = place(order)
        if best is None or result[0] < best[0]:
            best = result
        if best[0] == bound:
            break
    for m in items:
        m.base = best[1][m.name]
    return best[0]
