"""hw/weight_sram.py: words come back, on memories and on the SPRAM model that Yosys ships."""

import random

from hw import weight_sram
from hw.weight_sram import WeightSram
from tests.bench_blocks import CELLS, on_verilator

KINDS = {
    "generic": {"depth": 37, "bits": 24},
    "initialised": {"depth": 37, "bits": 9, "init": list(range(100, 137))},
    "ecp5_pieces": {"depth": 2048 + 700, "bits": 8, "cells": "ecp5"},
    "ecp5_whole_piece": {"depth": 2048 + 1100, "bits": 32, "cells": "ecp5"},
    "gowin_pieces": {"depth": 2048 + 300, "bits": 8, "cells": "gowin"},
    "spram": {"depth": 300, "bits": 8, "cells": "ice40"},
    "spram_wide_pieces": {"depth": 16384 + 900, "bits": 40, "cells": "ice40"},
}


def words(depth: int, bits: int, init=(), cells: str = "generic"):
    """Scenario: words at the ends of all pieces and between, written, then read with pauses."""
    rng = random.Random(depth)
    piece = weight_sram.PIECE[cells] or depth
    ends = {0, depth - 1, min(piece, depth) - 1, min(piece, depth - 1)}
    places = sorted(ends | {rng.randrange(depth) for _ in range(60)})
    held = dict(enumerate(init))
    for turn in range(2):
        if turn or not init:
            for place in places:
                held[place] = rng.getrandbits(bits)
                yield {"write__en": 1, "write__addr": place, "write__data": held[place]}
        right = None  # word of the last read
        after = []  # and those on their way
        for _ in range(300):
            read = rng.random() < 0.7
            place = rng.choice(places)
            out = yield {"read_en": read, "address": place}
            after.append(held[place] if read else None)
            if len(after) > WeightSram.latency:
                came = after.pop(0)
                right = right if came is None else came
                # with one piece, a word stays; with several, the next address chooses the piece
                if right is not None and (came is not None or depth <= piece):
                    assert out["word"] == right


def test_words_come_back():
    on_verilator(
        {name: WeightSram(**kind) for name, kind in KINDS.items()},
        [(name, words, kind) for name, kind in KINDS.items()],
        **CELLS,
    )


def test_no_piece_is_a_choice_of_blocks():
    """One block holds 512 words of 36 bits, 1,024 of 18, 2,048 of 9."""
    for rest, bits, last in (
        (512, 36, 512),
        (513, 36, 2048),
        (1024, 18, 1024),
        (1025, 18, 2048),
        (1500, 9, 1500),
        (600, 100, 2048),  # side by side
    ):
        for cells in ("ecp5", "gowin"):
            assert weight_sram.pieces(4096 + rest, bits, cells) == [2048, 2048, last]
    assert weight_sram.pieces(4096, 32, "ecp5") == [2048, 2048]
    assert weight_sram.pieces(16384 + 900, 40, "ice40") == [16384, 900]
    assert weight_sram.pieces(5000, 32, "generic") == [5000]
