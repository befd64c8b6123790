# amaranth: UnusedElaboratable=no
"""hw/parallel/maps.py: what its ports promise, under random traffic on all of them."""

import random
from collections import deque
from types import SimpleNamespace

import pytest

from hw.parallel.maps import Maps
from hw.plan.engine_config import EngineConfig
from hw.plan.latency import PARALLEL
from tests.bench_blocks import on_amaranth, on_verilator, pack, unpack

KINDS = {  # pixels, lanes, words of a bank
    "one": (3, 1, 5),
    "two": (4, 2, 1),
    "three": (3, 3, 7),
    "eight": (5, 8, 16),
}
ANSWER = 1 + PARALLEL.memory  # cycles from the request to the word


def block(pixels, lanes, depth):
    engine = EngineConfig(pixels=pixels, channels=1, lanes=lanes)
    plan = SimpleNamespace(engine=engine, latency=PARALLEL, bank_words=depth)
    return Maps(plan)


def traffic(kind: str, seed: int, cycles: int = 4000, wrong: str = ""):
    """Scenario: the array reads banks at random (all, none and most of the time), operand and host
    reads are held until they are done, some operand reads are given up; words are written.

    wrong: "priority" has the host before the operands, "late" looks a cycle too late, "word"
    expects one bit of the memory different.
    """
    pixels, lanes, depth = KINDS[kind]
    source = random.Random(seed)
    word_bits = 8 * pixels
    memory = [[source.getrandbits(word_bits) for _ in range(depth)] for _ in range(lanes)]
    for address in range(depth):
        yield {
            "write_en": (1 << lanes) - 1,
            "write_address": address,
            "write_data": pack([memory[b][address] for b in range(lanes)], word_bits),
        }
    if wrong == "word":
        memory[lanes - 1][depth - 1] ^= 1
    asked = deque()  # per cycle, per bank: (who, address) of a granted read
    operand, host = None, None  # address; (bank, address)
    served = 0  # banks of the operand read that have been granted
    written = []  # (cycle, bank, address, word) not yet in the memory
    load = 0.5
    answered = {"array": 0, "operand": 0, "host": 0}
    asked_for = {"operand": 0, "host": 0}
    for cycle in range(cycles):
        if cycle % 50 == 0:
            load = source.choice([0, 0.3, 0.5, 0.9, 1])
        array = {b: source.randrange(depth) for b in range(lanes) if source.random() < load}
        if operand is None and source.random() < 0.6:
            operand, served = source.randrange(depth), 0
            asked_for["operand"] += 1
        elif operand is not None and source.random() < 0.02:
            operand, served = None, 0  # given up; what was granted is still answered
        if host is None and source.random() < 0.4:
            host = source.randrange(lanes), source.randrange(depth)
            asked_for["host"] += 1

        # who gets which bank
        grants = {b: ("array", a) for b, a in array.items()}
        free = [b for b in range(lanes) if b not in array]
        order = ["host", "operand"] if wrong == "priority" else ["operand", "host"]
        operand_done = host_done = False
        for who in order:
            if who == "operand" and operand is not None:
                for b in free:
                    if not served >> b & 1 and b not in grants:
                        grants[b] = ("operand", operand)
                        served |= 1 << b
                operand_done = served == (1 << lanes) - 1
            if who == "host" and host is not None and host[0] not in grants:
                grants[host[0]] = ("host", host[1])
                host_done = True
        # a word that is read in the cycle of its write may be the old or the new one: leave those
        reading = {(b, a) for b, (_, a) in (asked[-1] if asked else {}).items()}
        address = source.randrange(depth)
        write = {
            b: source.getrandbits(word_bits)
            for b in range(lanes)
            if source.random() < 0.3 and (b, address) not in reading
        }

        inputs = {
            "read_en": sum(1 << b for b in array),
            "read_address": pack(
                [array.get(b, source.randrange(depth)) for b in range(lanes)],
                (depth - 1).bit_length(),
            ),
            "operand_en": operand is not None,
            "operand_address": source.randrange(depth) if operand is None else operand,
            "host_en": host is not None,
            "host_bank": host[0] if host else 0,
            "host_address": host[1] if host else source.randrange(depth),
            "write_en": sum(1 << b for b in write),
            "write_address": address,
            "write_data": pack(
                [write.get(b, source.getrandbits(word_bits)) for b in range(lanes)], word_bits
            ),
        }
        out = yield inputs
        assert out["operand_done"] == operand_done, f"operand_done in cycle {cycle}"
        assert out["host_done"] == host_done, f"host_done in cycle {cycle}"

        # answers; the word is the memory's when the address stood at it, a cycle after the grant
        if asked:
            for b, (who, a) in asked[-1].items():
                asked[-1][b] = (who, memory[b][a])
        asked.append(grants)
        for b, word in write.items():
            memory[b][address] = word
        before = asked.popleft() if len(asked) > ANSWER + (wrong == "late") else {}
        words = unpack(out["words"], word_bits, lanes)
        valid = {"operand": 0, "host": 0}
        for b, (who, word) in before.items():
            assert words[b] == word, f"cycle {cycle}, bank {b}: {words[b]:x}, not {word:x}"
            answered[who] += 1
            if who in valid:
                valid[who] |= 1 << b
        assert (out["operand_valid"], out["host_valid"]) == tuple(valid.values()), f"cycle {cycle}"
        if operand_done:
            operand = None
        if host_done:
            host = None
    assert written == [] and answered["array"] > cycles // 4 * min(1, lanes)
    assert answered["operand"] > lanes * asked_for["operand"] // 2 > 100
    assert asked_for["host"] >= answered["host"] >= asked_for["host"] - 5 and asked_for["host"] > 50


def test_verilator():
    on_verilator(
        {name: block(*kind) for name, kind in KINDS.items()},
        [(name, traffic, {"kind": name, "seed": 7}) for name in KINDS],
    )


@pytest.mark.parametrize("wrong", ["priority", "late", "word"])
def test_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(block(*KINDS["three"]), traffic("three", 8, 600, wrong))
