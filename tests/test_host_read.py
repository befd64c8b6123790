# amaranth: UnusedElaboratable=no
"""hw/host_read.py: any word of the state, however long the maps make it wait."""

import random

import pytest

from hw.host_read import HostRead
from tests.bench_blocks import on_amaranth

SHAPES = [  # lanes, words of a bank, P, first word of the state, words of a channel
    (2, 60, 4, 7, 3),
    (1, 40, 3, 0, 1),
    (6, 512, 16, 500, 2),
]


def reads(lanes, words, pixels, base, state_words, count=60):
    """Scenario: reads by chance, some broken off by another one."""
    source = random.Random(lanes)
    deepest = (words - base) // state_words * lanes
    answered = 0
    while answered < count:
        channel, word = source.randrange(deepest), source.randrange(state_words)
        yield {"state__read": 1, "state__channel": channel, "state__word": word}
        if source.random() < 0.2:  # before it is asked for, while it waits
            for _ in range(source.randrange(6)):
                yield {"maps__done": 0}
            continue
        right = (1, channel % lanes, base + channel // lanes * state_words + word)
        waited = 0
        while True:
            grant = source.random() < 0.4
            out = yield {"maps__done": grant}
            if out["maps__en"]:
                asked = (out["maps__en"], out["maps__bank"], out["maps__address"])
                assert asked == right, f"channel {channel}, word {word}: {asked}, not {right}"
                if grant:
                    break
            waited += 1
            assert waited < 40 + channel, "never asked"
        for _ in range(source.randrange(4)):
            out = yield {}
            assert not out["maps__en"] and not out["state__valid"]
        data = source.getrandbits(8 * pixels)
        out = yield {"maps__valid": 1, "maps__data": data}
        assert out["state__valid"] and out["state__data"] == data
        answered += 1


@pytest.mark.parametrize("shape", SHAPES)
def test_reads(shape):
    lanes, words, pixels, base, state_words = shape
    block = HostRead(lanes=lanes, words=words, pixels=pixels, base=base, state_words=state_words)
    on_amaranth(block, reads(*shape))


def test_a_wrong_address_is_seen():
    block = HostRead(lanes=2, words=60, pixels=4, base=8, state_words=3)
    with pytest.raises(AssertionError, match="channel"):
        on_amaranth(block, reads(*SHAPES[0]))
