# amaranth: UnusedElaboratable=no
"""hw/pool.py against golden.classifier.pool: sums and maxima of channels, together or in turn."""

import random

import pytest
import torch

from golden.classifier import pool
from hw.pool import StatePool
from tests.bench_blocks import on_amaranth, pack, unpack

SIZES = [(1, 1), (2, 7), (5, 15), (3, 16)]  # channels, columns


def columns_of(channels: int, columns: int, seed: int, wrong: str = "", ahead: bool = False):
    """Scenario: states one after the other, of each channel by itself: some columns together, some
    alone, padding between them and at the ends.

    ahead: bytes are told a cycle before.
    wrong: "sum", "max" or "pad" (padding counts) is expected otherwise; "next": what is told before
    is another byte.
    """
    source, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    bits = 8
    for turn in range(6):
        state = torch.randint(-128, 128, (channels, columns), generator=generator)
        state = state if turn else torch.full_like(state, -128)
        # (byte, padding) of each channel in order
        rows = [[(int(byte), False) for byte in row] for row in state]
        for row in rows:
            for _ in range(source.randint(0, 3)):
                row.insert(source.randint(0, len(row)), (source.randint(-128, 127), True))
        cycles = [{}]
        begun, total, largest = [False] * channels, [0] * channels, [-128] * channels
        while any(rows):
            pad = source.random() < 0.5
            ready = [c for c in range(channels) if rows[c] and rows[c][0][1] == pad]
            chosen = [c for c in ready if source.random() < 0.7]
            first = source.random() < 0.5
            chosen = [c for c in chosen if begun[c] != first]
            bytes_, load = [source.getrandbits(8) for _ in range(channels)], 0
            for c in chosen:
                byte, _ = rows[c].pop(0)
                bytes_[c], load, begun[c] = byte, load | 1 << c, True
                if not pad or wrong == "pad":
                    total[c], largest[c] = total[c] + byte, max(largest[c], byte)
            cycles.append({"bytes": pack(bytes_, bits), "load": load, "begin": first, "pad": pad})
        for cycle, following in zip(cycles, [*cycles[1:], {}], strict=True):
            told = {"next": source.getrandbits(bits * channels)}
            if following.get("load"):
                told["next"] = following["bytes"] ^ (wrong == "next") << 7
            yield cycle | (told if ahead else {})
        out = yield {}
        sums = unpack(out["sums"], (128 * columns).bit_length() + 1, channels, signed=True)
        maxima = unpack(out["maxima"], bits, channels, signed=True)
        assert sums == [t + (wrong == "sum") for t in total], f"state {turn}"
        assert maxima == [m + (wrong == "max") for m in largest], f"state {turn}"
        if not wrong:
            pooled = [t + columns * m for t, m in zip(sums, maxima, strict=True)]
            assert pooled == pool(state).tolist()


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("channels, columns", SIZES)
def test_amaranth(channels, columns, ahead):
    block = StatePool(channels=channels, columns=columns, ahead=ahead)
    on_amaranth(block, columns_of(channels, columns, 3, ahead=ahead))


def test_another_byte_than_told_is_seen():
    with pytest.raises(AssertionError, match="state"):
        block = StatePool(channels=2, columns=7, ahead=True)
        on_amaranth(block, columns_of(2, 7, 4, "next", ahead=True))


@pytest.mark.parametrize("wrong", ["sum", "max", "pad"])
def test_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="state"):
        on_amaranth(StatePool(channels=2, columns=7), columns_of(2, 7, 4, wrong))
