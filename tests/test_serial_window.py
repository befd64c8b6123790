# amaranth: UnusedElaboratable=no
"""hw/serial/window.py: windows of rows and single words, reads beside the array, writes by byte."""

import random

import pytest

from hw.plan import Source
from hw.plan.latency import SERIAL
from hw.sequencer import step_layout
from hw.serial.window import SerialWindow
from tests.bench_blocks import on_amaranth, on_verilator, pack, pack_struct, unpack
from tests.serial import plan_of

KINDS = {"two": "two", "four": "four", "head": "two"}  # "head": with rows of one tap in head mode
AHEAD = SERIAL.transfer - SERIAL.multiply  # step -> operands


def block(kind: str) -> SerialWindow:
    plan = plan_of(KINDS[kind])
    part = SerialWindow(plan)
    part.one_tap = kind == "head"
    return part


class Array:
    """Steps in runs of rows and single words, and what they must bring before the multipliers."""

    def __init__(self, kind, plan, source, content, lines, count, wrong):
        self.plan, self.source, self.content, self.lines = plan, source, content, lines
        self.steps, self.right, self.first_group = {}, {}, {}
        self.busy = set()  # (cycle, bank) that the array reads
        now, one = 5, False
        kinds = ["camera", "head", "shared", "one"]
        kinds += ["own", "own camera"] if kind == "head" else []
        for _ in range(count):
            name = source.choice(kinds)
            # other taps are another walk's, and walks are an idle cycle apart
            before, one = one, name in ("one", "own", "own camera")
            bubble = one != before or source.random() < 0.4
            now += source.randint(1, 3) if bubble else 0
            step = {
                "valid": 1,
                "one_tap": one,
                "source": int(
                    {"camera": Source.CAMERA, "own camera": Source.CAMERA}.get(
                        name, Source.HEAD if name in ("head", "own") else Source.SHARED
                    )
                ),
                "first_chunk": source.getrandbits(1),
                "last_chunk": source.getrandbits(1),
                "pad": source.getrandbits(1),
                "address": source.randrange(1, len(lines) - 1),
                "bank": 1 << source.randrange(plan.engine.lanes),
            }
            now += self.word(now, step, wrong) if one else self.row(now, step, wrong)

    def words(self, step, offset, zero=False):
        """Bytes of each lane's word; a bit that the array reads, by bank."""
        address, lanes = step["address"] + offset, self.plan.engine.lanes
        pixels = self.plan.engine.pixels
        if step["source"] == Source.CAMERA:
            return [unpack(self.lines[address], 8, pixels)] * lanes
        banks = range(lanes)
        if step["source"] == Source.SHARED:
            banks = [step["bank"].bit_length() - 1] * lanes
        return [[0] * pixels if zero else self.content[bank][address] for bank in banks]

    def reads(self, cycle, step):
        if step["source"] == Source.HEAD:
            self.busy |= {(cycle, bank) for bank in range(self.plan.engine.lanes)}
        elif step["source"] == Source.SHARED:
            self.busy.add((cycle, step["bank"].bit_length() - 1))

    def word(self, now, step, wrong):
        state = self.source.getrandbits(1) if step["source"] == Source.SHARED else 0
        zero = self.source.getrandbits(1)
        self.steps[now], self.first_group[now] = step | {"state": state, "phase": 0}, zero
        self.reads(now + SERIAL.address_one_tap, step)
        words = self.words(step, 0, zero=state and zero and wrong != "state")
        if step["source"] == Source.SHARED and wrong != "turned":
            words = [word[-1:] + word[:-1] for word in words]
        self.right[now + AHEAD] = words
        return 1

    def row(self, now, step, wrong):
        pad = 128 * step["pad"]
        for phase in range(3):
            self.steps[now + phase] = step | {"state": 0, "phase": phase}
            if not (phase == 0 and step["first_chunk"] or phase == 2 and step["last_chunk"]):
                self.reads(now + phase, step)
        left, middle, right = (self.words(step, offset) for offset in (-1, 0, 1))
        for lane, word in enumerate(middle):
            row = [pad if step["first_chunk"] else left[lane][-1], *word]
            row.append(pad if step["last_chunk"] else right[lane][0])
            for phase in range(3):
                tap = 2 - phase if wrong == "tap" else phase
                taken = row[tap : tap + len(word)]
                self.right.setdefault(now + phase + AHEAD, []).append(taken)
        return 3


def traffic(kind: str, seed: int, count: int = 500, wrong: str = ""):
    """Scenario: the banks are written, byte by byte; then the array reads their lower half, and
    operands, host and writes go on in the upper one.

    wrong: "tap" expects taps 0 and 2 exchanged, "state" H in the first group, "turned" single words
    as they are, "late" operands a cycle later, "grant" every operand read granted, "mask" a byte
    more written.
    """
    plan, source = plan_of(KINDS[kind]), random.Random(seed)
    lanes, pixels, half = plan.engine.lanes, plan.engine.pixels, plan.bank_words // 2
    layout = step_layout(plan)
    content = [[[None] * pixels for _ in range(plan.bank_words)] for _ in range(lanes)]

    def write(address):
        """Inputs that write a byte or one in each half, in one bank or more."""
        place = source.randrange(pixels)
        mask = 1 << place | (source.getrandbits(1) and 1 << (place + pixels // 2) % pixels)
        banks, bytes_ = source.randrange(1, 1 << lanes), [source.getrandbits(8) for _ in range(2)]
        given = {"write_en": banks, "write_address": address, "write_mask": mask}
        yield given | {"write_low": bytes_[0], "write_high": bytes_[1]}
        for bank in range(lanes):
            for i in range(pixels):
                if banks >> bank & 1 and mask >> i & 1:
                    content[bank][address][i] = bytes_[2 * i >= pixels]
        if wrong == "mask":
            content[0][address][place] = bytes_[0] ^ 1

    addresses = list(range(plan.bank_words))
    while addresses:
        yield from write(source.choice(addresses))
        addresses = [a for a in addresses if any(None in bank[a] for bank in content)]
    lines = [source.getrandbits(8 * pixels) for _ in range(min(half, plan.line_buffer_words))]
    none = (1 << plan.line_buffer_words.bit_length()) - 1
    array = Array(kind, plan, source, content, lines, count, wrong)
    idle = {name: 0 for name, _ in layout}
    late, camera, asked, hosted = [idle, idle], 0, None, None
    compared = 0
    for cycle in range(max(array.right) + 1 + (wrong == "late")):
        # read, unless it is being written
        writes = write(half + source.randrange(half)) if source.random() < 0.5 else None
        given = next(writes) if writes else {}
        ask, host = (source.random() < 0.5 for _ in range(2))
        ask_bank, host_bank = source.randrange(lanes), source.randrange(lanes)
        ask_at, host_at = (
            source.choice([a for a in range(half, 2 * half) if a != given.get("write_address")])
            for _ in range(2)
        )
        noise = {name: source.getrandbits(layout[name].width) for name, _ in layout}
        step = array.steps.get(cycle, noise | {"valid": 0})
        first_group = array.first_group.get(cycle, source.getrandbits(1))
        out = yield given | {
            "step": pack_struct(layout, step),
            "later1": pack_struct(layout, late[0]),
            "later2": pack_struct(layout, late[1]),
            "first_group": first_group,
            "camera_word": camera,
            "ask": ask,
            "ask_bank": ask_bank,
            "ask_address": ask_at,
            "host_en": host,
            "host_bank": host_bank,
            "host_address": host_at,
        }
        if writes:
            next(writes, None)
        late = [step, late[0]]
        address = out["camera_address"]
        camera = lines[address] if address < len(lines) else 0
        assert address < len(lines) or address == none or cycle < 5, f"cycle {cycle}"
        words = unpack(out["words"], 8 * pixels, lanes)
        for told in (asked, hosted):
            if told:
                assert words[told[0]] == told[1], f"cycle {cycle}: read"
        granted = ask and (cycle, ask_bank) not in array.busy
        done = host and (cycle, host_bank) not in array.busy
        done = done and not (granted and ask_bank == host_bank)
        assert out["granted"] == (ask if wrong == "grant" else granted), f"cycle {cycle}: grant"
        assert out["host_done"] == done, f"cycle {cycle}: host"
        asked = (ask_bank, pack(content[ask_bank][ask_at], 8)) if granted else None
        hosted = (host_bank, pack(content[host_bank][host_at], 8)) if done else None
        wanted = array.right.get(cycle - (wrong == "late"))
        if wanted is not None:
            found = [unpack(word, 8, pixels) for word in unpack(out["operands"], 8 * pixels, lanes)]
            assert found == wanted, f"cycle {cycle}: {found}, not {wanted}"
            compared += 1
    assert compared > count


@pytest.mark.parametrize("kind", KINDS)
def test_amaranth(kind):
    on_amaranth(block(kind), traffic(kind, 3))


def test_verilator():
    on_verilator(
        {kind: block(kind) for kind in KINDS},
        [(kind, traffic, {"kind": kind, "seed": 4, "count": 2000}) for kind in KINDS],
    )


@pytest.mark.parametrize("wrong", ["tap", "late", "state", "turned", "grant", "mask"])
def test_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(block("two"), traffic("two", 5, 200, wrong))


def test_latency():
    """Address, memory, window."""
    parts = SERIAL.address_one_tap + SERIAL.memory + SERIAL.window
    assert SERIAL.transfer - SERIAL.multiply == AHEAD == parts
