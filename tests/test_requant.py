# amaranth: UnusedElaboratable=no
"""hw/arithmetic/requant.py against golden/requant.py."""

import random

import pytest
import torch

from golden import requant as golden
from golden.config import preset
from hw.arithmetic.requant import Requantiser
from hw.parallel.channel_unit import FEW
from tests.bench_blocks import CELLS, on_amaranth, on_verilator, stream

SHIFTS = range(1, 33)  # 32 cannot come from the quantiser, but the port says it
WIDTHS = {"narrow": 9, "preset": preset("vww_210x240").acc_bits, "wide": 32, "widest": 40}


def preimage(target: int, multiplier: int, shift: int, low: int, high: int, source) -> int | None:
    """A sum in low..high with sum * multiplier = target modulo 2**shift (any such), or None."""
    twos = (multiplier & -multiplier).bit_length() - 1
    if target % (1 << min(twos, shift)):
        return None
    step = 1 << max(0, shift - twos)
    first = target // (1 << twos) * pow(multiplier >> twos, -1, step) % step if step > 1 else 0
    least = (low - first + step - 1) // step
    most = (high - first) // step
    if least > most:
        return None
    # as near to 0 as one may have it on a side that chance picks: results that do not saturate
    near = -first // step
    place = min(max(near + source.randint(-3, 3), least), most)
    return first + place * step


def cases(acc_bits: int, seed: int, count: int = 1500):
    """(sum, bias, multiplier, shift): ties at both signs, saturation's ends, extremes, chance."""
    source = random.Random(seed)
    low, high = -(1 << acc_bits - 1), (1 << acc_bits - 1) - 1
    found = []

    def add(total, multiplier, shift):
        """Split a total into sum and bias."""
        if not 2 * low <= total <= 2 * high:
            return
        bias = source.choice([0, source.randint(max(low, total - high), min(high, total - low))])
        bias = min(max(bias, total - high), total - low)
        found.append((total - bias, bias, multiplier, shift))

    for shift in SHIFTS:
        for multiplier in {1, 2, 128, 255, source.randint(1, 255), source.randint(1, 255)}:
            for near in (-1, 0, 1):  # exact ties, and what lies a unit beside them
                for end in (2 * high, 0):
                    tie = preimage((1 << shift - 1) + near, multiplier, shift, 2 * low, end, source)
                    if tie is not None:
                        add(tie, multiplier, shift)
            for end in (-2049, -2048, -512, -511, -129, -128, 0, 127, 128, 255, 511, 2047, 2048):
                for half in (-1, 0, 1):
                    add(((end << shift) + half * (1 << shift - 1)) // multiplier, multiplier, shift)
        for multiplier in (0, 255):
            for total in (2 * low, low, high, 2 * high, -1, 1):
                add(total, multiplier, shift)
    for _ in range(count):
        shift, size = source.choice(SHIFTS), source.randint(1, acc_bits)
        add(source.randint(-(1 << size) + 1, (1 << size) - 1), source.randint(0, 255), shift)
    return found


def expected(found):
    total, bias, multiplier, shift = torch.tensor(found, dtype=torch.int64).unbind(1)
    value = golden.requantise(total, bias, multiplier, shift)
    return value.clamp(-2048, 2047).tolist()


def compare(out, value, index):
    assert out["value"] == value, f"input {index}: {out['value']}, not {value}"


def requantised(
    acc_bits: int, seed: int, wrong: int | None = None, latency: int = Requantiser.latency
):
    """Scenario: an input a cycle."""
    found = cases(acc_bits, seed)
    values = expected(found)
    if wrong is not None:
        values[wrong] += 1
    inputs = [{"sum": a, "bias": b, "multiplier": m, "shift": s - 1} for a, b, m, s in found]
    return stream(latency, inputs, values, compare)


def test_cases():
    """The cases hold ties of each shift at both signs, and all of the range."""
    found = cases(WIDTHS["widest"], 1)
    ties = {(s, (a + b) * m > 0) for a, b, m, s in found if (a + b) * m % (1 << s) == 1 << (s - 1)}
    assert ties == {(s, sign) for s in SHIFTS for sign in (False, True)}
    values = expected(found)
    assert {-2048, -2047, -512, -511, -128, 0, 127, 255, 2046, 2047} <= set(values)


def test_verilator():
    """Every width, an input a cycle."""
    from tests.bench_units import rack

    jobs = [(f"requant_{n}", requantised, {"acc_bits": w, "seed": w}) for n, w in WIDTHS.items()]
    jobs.append(("requant_ecp5", requantised, {"acc_bits": WIDTHS["preset"], "seed": 7}))
    jobs.append(
        ("requant_few", requantised, {"acc_bits": 40, "seed": 3, "latency": len(FEW.requantise)})
    )
    on_verilator(rack(), jobs, **CELLS)


def test_differences_are_seen():
    """One value of the golden function a unit off; a requantiser that is a cycle late."""
    with pytest.raises(AssertionError, match="input 77: "):
        on_amaranth(Requantiser(acc_bits=23), requantised(23, 5, wrong=77))
    late = list(expected(cases(23, 5)))
    inputs = [{"sum": a, "bias": b, "multiplier": m, "shift": s - 1} for a, b, m, s in cases(23, 5)]
    for cycles in (-1, 1):
        with pytest.raises(AssertionError):
            on_amaranth(
                Requantiser(acc_bits=23),
                stream(Requantiser.latency + cycles, inputs, late, compare),
            )


@pytest.mark.parametrize("bits", [8, 41])
def test_errors(bits):
    with pytest.raises(ValueError, match=f"acc_bits must be 9..40, not {bits}"):
        Requantiser(acc_bits=bits)
