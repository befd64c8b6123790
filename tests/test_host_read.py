# amaranth: UnusedElaboratable=no
"""hw/host_read.py: any word of the state, however long the maps make it wait."""

import itertools
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


def replaced(lanes, words, pixels, base, state_words, *, after, count=400):
    """Scenario: reads in any cycle, the maps' answers `after` cycles behind their grants.

    Told is the answer to the read that was the last one before it, and no other; that one without
    delay but for the answer that is still to come. A read in the answer's own cycle is a later one.
    """
    source = random.Random(after)
    deepest = min((words - base) // state_words * lanes, 3 * lanes)
    due, flying, told, dropped, waited = None, [], 0, 0, 0
    for cycle in itertools.count():
        inputs = {"maps__done": source.random() < 0.7}
        if flying and flying[0][0] == cycle:
            _, whose = flying.pop(0)
            word = source.getrandbits(8 * pixels)
            inputs |= {"maps__valid": 1, "maps__data": word}
            tell = due is not None and whose == due[0]
        else:
            tell = False
        read = source.random() < 0.15
        if read:
            channel, place = source.randrange(deepest), source.randrange(state_words)
            inputs |= {"state__read": 1, "state__channel": channel, "state__word": place}
        out = yield inputs
        assert out["state__valid"] == tell, f"cycle {cycle}: {'not ' * tell}told"
        if tell:
            assert out["state__data"] == word
            told, due = told + 1, None
        elif "maps__data" in inputs:
            dropped += 1
        if out["maps__en"]:
            assert (out["maps__bank"], out["maps__address"]) == due[1]
            if inputs["maps__done"]:
                flying.append((cycle + after, due[0]))
        waited = 0 if flying or out["maps__en"] or due is None else waited + 1
        assert waited <= 3 + deepest // lanes, "never asked"
        if read:
            address = base + channel // lanes * state_words + place
            due, waited = (cycle, (channel % lanes, address)), 0
        if told >= count and dropped >= count // 20:
            return


def made(lanes, words, pixels, base, state_words):
    return HostRead(lanes=lanes, words=words, pixels=pixels, base=base, state_words=state_words)


@pytest.mark.parametrize("shape", SHAPES)
def test_reads(shape):
    on_amaranth(made(*shape), reads(*shape))


@pytest.mark.parametrize("after", [1, 3, 4])  # those of the serial and of the parallel engines
def test_the_answer_to_a_read_that_was_replaced_is_not_told(after):
    on_amaranth(made(*SHAPES[0]), replaced(*SHAPES[0], after=after))


def test_a_wrong_address_is_seen():
    with pytest.raises(AssertionError, match="channel"):
        on_amaranth(made(2, 60, 4, 8, 3), reads(*SHAPES[0]))
