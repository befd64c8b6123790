# amaranth: UnusedElaboratable=no
"""hw/parallel/window.py, a plain window: byte p of tap t is the row's column base + p + t - 1."""

import random

import pytest

from golden.config import ModelConfig
from hw.parallel.window import Windows
from hw.plan import Source, compile_program
from hw.plan.engine_config import EngineConfig
from hw.plan.latency import PARALLEL
from hw.sequencer import step_layout
from tests.bench_blocks import on_amaranth, on_verilator, pack, pack_struct, unpack

KINDS = {  # shape, heads, spatial attention: 1, 2 and 4 lanes a head; 1 to 3 heads at a time
    "one": ("4,1,1", 1, "none"),
    "heads": ("3,1,3", 3, "full"),
    "two": ("5,2,4", 2, "none"),
    "four": ("4,1,4", 1, "banded"),
}
OWN = {"own": "heads", "own two": "two"}  # the same with rows of one tap in head mode
AHEAD = PARALLEL.transfer - PARALLEL.multiply  # step -> operands
THREE = PARALLEL.address_three_tap + PARALLEL.memory
ONE = PARALLEL.address_one_tap + PARALLEL.memory


def plan_of(kind):
    shape, heads, spatial = KINDS[kind]
    model = ModelConfig(
        name=kind,
        image_height=5,
        image_width=48 + 7,
        heads=heads,
        head_channels=(2, 2, 3, 2),
        state_channels=3,
        spatial_attention=spatial,
    )
    return compile_program(model, EngineConfig.parse(shape))


def rows_and_taps(kind: str, seed: int, count: int = 400, wrong: str = ""):
    """Scenario: rows of three taps from camera, heads' banks and shared maps, and single taps of
    shared maps and of A, in runs of one kind, with no cycle between them or some.

    Each word is given in its own cycle alone; all other words and bits are noise.
    wrong: "tap" expects taps 0 and 2 exchanged, "late" a cycle later, "state" H in the first group.
    """
    plan = plan_of(OWN.get(kind, kind))
    pixels, lanes = plan.engine.pixels, plan.engine.lanes
    head_lanes, heads = plan.geometry.head_lanes, plan.geometry.heads
    layout, source = step_layout(plan), random.Random(seed)
    spatial = plan.model.spatial
    most = (1 << plan.field_widths("walk")["tail"]) - 1
    assert most >= head_lanes

    def line(words):
        """A row of a map: bytes, `words` of P."""
        return [source.getrandbits(8) for _ in range(words * pixels)]

    def word_of(row, index):
        return row[index * pixels : (index + 1) * pixels]

    steps, words, right = {}, {}, {}  # by cycle
    first_group = {}

    def give(cycle, port, bank, row, index):
        if 0 <= index < len(row) // pixels:
            assert words.setdefault(cycle, {}).setdefault((port, bank), None) is None
            words[cycle][port, bank] = pack(word_of(row, index), 8)

    def window(row, base, tap, pad):
        columns = range(base + tap - 1, base + tap - 1 + pixels)
        return [row[c] if 0 <= c < len(row) else pad for c in columns]

    now, previous, own = 5, None, False
    turns = {"to one": 0, "to three": 0}
    while len(steps) < count * 3:
        kinds = ["camera", "head", "shared", "one"] + (["attention"] if spatial else [])
        kinds += ["own", "own camera"] if kind in OWN else []
        name = source.choice(kinds)
        # no program has a head's own map follow a single tap at once: camera rows come between
        bubble = source.random() < 0.4 or (previous is True and name == "head")
        # the plan keeps rows of a head's own words apart from single ones
        bubble = bubble or (own and name == "camera" and head_lanes > 1)
        own = name in ("own", "own camera")
        one = own or name in ("one", "attention")
        if not bubble and previous is not None and previous != one:
            turns["to one" if one else "to three"] += 1
        now += source.randint(1, 3) if bubble else 0
        # a row of three taps that follows a single tap at once begins a line of its own: the
        # bank may still be read for the tap
        follows_one = previous is True
        for _ in range(source.randint(1, 4)):
            across = head_lanes if own or name in ("camera", "head") else 1
            groups = source.randint(1, 3)
            tail = source.randint(1, across)
            in_words = (groups - 1) * across + tail
            j = 0 if follows_one else source.randrange(groups)
            follows_one = False
            pad = source.choice([0, 128])
            step = {
                "source": int(
                    {
                        "camera": Source.CAMERA,
                        "head": Source.HEAD,
                        "own": Source.HEAD,
                        "own camera": Source.CAMERA,
                    }.get(name, Source.ATTENTION if name == "attention" else Source.SHARED)
                ),
                "one_tap": one,
                "first_chunk": j == 0,
                "last_chunk": j == groups - 1,
                "tail": tail,
                "pad": pad == 128,
                "valid": 1,
                "bank": source.getrandbits(lanes),
            }
            bank = source.randrange(lanes)
            if name in ("shared", "one"):
                step["bank"] = 1 << bank
            if one:
                if own:
                    steps[now] = step | {"state": 0, "phase": 0}
                    rows = [line(in_words) for _ in range(heads)]
                    rows = [rows[0]] * heads if name == "own camera" else rows
                    port = "camera" if name == "own camera" else "map"
                    for lane in range(lanes if port == "map" else head_lanes):
                        head, i = divmod(lane, head_lanes)
                        give(now + ONE, port, lane, rows[head], head_lanes * j + i)
                    right[now + AHEAD] = [
                        word_of(rows[lane // head_lanes], head_lanes * j + lane % head_lanes)
                        for lane in range(lanes)
                    ]
                    now += 1
                    continue
                row, state, zero = line(in_words), source.getrandbits(1), source.getrandbits(1)
                if name == "attention":
                    state = 0
                steps[now] = step | {"state": state, "phase": 0}
                first_group[now] = zero
                give(
                    now + ONE,
                    "attention" if name == "attention" else "map",
                    0 if name == "attention" else bank,
                    row,
                    j,
                )
                byte = word_of(row, j)
                if state and zero and wrong != "state":
                    byte = [0] * pixels
                right[now + AHEAD] = [byte] * lanes
                now += 1
                continue
            for phase in range(3):
                steps[now + phase] = step | {"state": 0, "phase": phase}
                right[now + phase + AHEAD] = []
            rows = [line(in_words) for _ in range(1 if name == "shared" else heads)]
            if name == "camera":
                rows = [rows[0]] * heads
            for head, row in enumerate(rows):
                for offset in range(-1, across + 1):
                    when = 0 if offset < across - 1 else 1 if offset == across - 1 else 2
                    at = now + when + THREE
                    index = across * j + offset
                    if name == "shared":
                        give(at, "map", bank, row, index)
                    elif name == "head":
                        give(at, "map", head * head_lanes + offset % head_lanes, row, index)
                    elif head == 0:
                        give(at, "camera", offset % head_lanes, row, index)
            for phase in range(3):
                tap = 2 - phase if wrong == "tap" else phase
                for lane in range(lanes):
                    head, i = divmod(lane, head_lanes)
                    row = rows[0] if name == "shared" else rows[head]
                    base = (across * j + (0 if name == "shared" else i)) * pixels
                    right[now + phase + AHEAD].append(window(row, base, tap, pad))
            now += 3
        previous = one
    assert min(turns.values()) >= count // 50
    last = max(right)
    for cycle in range(last + 1 + (wrong == "late")):
        noise = {"camera_words": head_lanes, "map_words": lanes, "attention_word": 1}
        given = words.get(cycle, {})
        ports = dict(zip(noise, ("camera", "map", "attention"), strict=True))
        inputs = {
            name: pack(
                [given.get((ports[name], b), source.getrandbits(8 * pixels)) for b in range(size)],
                8 * pixels,
            )
            for name, size in noise.items()
        }
        step = steps.get(cycle)
        if step is None:
            step = {f: source.getrandbits(layout[f].width) for f, _ in layout if f != "valid"}
        inputs |= {
            "step": pack_struct(layout, step),
            "first_group": first_group.get(cycle, source.getrandbits(1)),
        }
        out = yield inputs
        wanted = right.get(cycle - (wrong == "late"))
        if wanted is not None:
            operands = unpack(out["operands"], 8 * pixels, lanes)
            for lane in range(lanes):
                got = unpack(operands[lane], 8, pixels)
                if not wanted[lane]:  # beyond the row: nobody looks at it
                    continue
                assert got == wanted[lane], f"cycle {cycle}, lane {lane}: {got}, not {wanted[lane]}"


def test_verilator():
    on_verilator(
        {kind: Windows(plan_of(kind)) for kind in KINDS},
        [(kind, rows_and_taps, {"kind": kind, "seed": 3}) for kind in KINDS],
    )


@pytest.mark.parametrize("kind", OWN)
def test_own(kind):
    windows = Windows(plan_of(OWN[kind]))
    windows.one_tap = True
    on_amaranth(windows, rows_and_taps(kind, 3, 250))
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(Windows(plan_of(OWN[kind])), rows_and_taps(kind, 3, 250))


@pytest.mark.parametrize("kind", ["one", "two"])
@pytest.mark.parametrize("wrong", ["tap", "late", "state"])
def test_differences_are_seen(kind, wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(Windows(plan_of(kind)), rows_and_taps(kind, 4, 250, wrong))


def test_plans():
    """The shapes stand for 1, 2 and 4 lanes a head."""
    found = {k: plan_of(k).geometry for k in KINDS}
    assert {g.head_lanes for g in found.values()} == {1, 2, 4}
    assert {g.heads for g in found.values()} == {1, 2, 3}
