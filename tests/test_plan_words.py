"""The row program's words, replayed as the sequencers read them: each step meets the pixel word
that the network wants, for any list of blocks.

The replay knows the fields of the words and the table of layers, nothing of how the compiler made
the one from the other.
"""

from dataclasses import replace

import pytest

from golden.config import PRESETS
from golden.network import Part
from hw.plan import EngineConfig, Source, Target, compile_program
from hw.plan.engine_config import default_shape
from tests.networks import KERNELS, network

SHAPES = ("8,1,1", "5,2,2", "7,3,4", "6,2,8", "4,1,3")


def _cases():
    for kind in KERNELS:
        for seed in range(4):
            model = network(kind, seed)
            for shape in SHAPES:
                try:
                    plan = compile_program(model, EngineConfig.parse(shape))
                except ValueError:  # three lanes a head, a row of S in two words
                    continue
                yield pytest.param(plan, id=f"{kind}-{seed}-{shape}")
                break
        serial = replace(
            network(kind, 0), heads=2, spatial_attention="none", state_channels=4,
            head_channels=(*network(kind, 0).head_channels[:-1], 6),
        )  # fmt: skip
        plan = compile_program(serial, EngineConfig.parse("6,1,2", parts="serial"))
        yield pytest.param(plan, id=f"{kind}-serial")
    for name in ("vww_105x120", "vww_105x120_full", "vww_210x240_h3", "vww_105x120_grey"):
        plan = compile_program(PRESETS[name], default_shape(PRESETS[name]))
        yield pytest.param(plan, id=name)


CASES = list(_cases())


class Replay:
    """Banks and line buffer, word by word: (map, head or None, row, channel, word)."""

    def __init__(self, plan):
        self.plan, self.g, self.e = plan, plan.geometry, plan.engine
        self.banks: dict[tuple[int, int], tuple] = {}
        self.modulo = 1 << plan.field_widths("walk")["channel_step"]
        model, g = plan.model, plan.geometry
        self.lines = {}
        groups, at = g.groups(model.image_width), 0
        for row in range(model.rows_per_group):
            for channel in range(model.in_channels):
                for word in range(g.words(model.image_width)):
                    place = word % g.head_lanes, at + word // g.head_lanes
                    self.lines[place] = ("X", None, row, channel, word)
                at += groups
        assert at == plan.line_buffer_words
        for channel in range(model.state_channels):
            for word in range(g.state_words):
                row, bank = divmod(channel, self.e.lanes)
                place = bank, plan.state.base + row * g.state_words + word
                self.banks[place] = ("H", None, 0, channel, word)

    def addresses(self, walk, segment: int, rows: int):
        """(channel, row, bank of a shared word, address) of a segment's steps, taps left out."""
        address, bank = walk[f"base{segment}"], walk[f"bank{segment}"]
        shared = walk["source"] == Source.SHARED
        for channel in range(walk[f"last{segment}"] + 1):
            for row in range(rows):
                yield channel, row, bank, address
                if row + 1 < rows:
                    address += walk["row_step"]
            bank = (bank + 1) % self.e.lanes if shared else bank
            if not shared or bank == 0:
                address = (address + walk["channel_step"]) % self.modulo

    def read(self, op, walk):
        """Every word that an operation reads is what its layer wants there."""
        g, layer = self.g, op.layer
        rows = walk["rows"] + 1
        assert rows == layer.kernel_rows and walk["one_tap"] == (layer.kernel_cols == 1)
        if walk["source"] == Source.ATTENTION:
            assert walk["last0"] + 1 == layer.in_channels and layer.part is Part.MIX
            return
        for segment, wanted in enumerate(layer.inputs):
            assert walk["two"] == (len(layer.inputs) == 2)
            assert walk[f"last{segment}"] + 1 == wanted.channels
            for channel, row, bank, address in self.addresses(walk, segment, rows):
                for word in range(g.words(layer.columns_in)):
                    at = address + word // (g.head_lanes if op.head_mode else 1)
                    channel_in, row_in = wanted.first + channel, op.row + row
                    lane = word % g.head_lanes
                    if walk["source"] == Source.CAMERA:
                        right = ("X", None, row_in, channel_in, word)
                        assert self.lines[lane, at] == right, op.name
                        continue
                    if walk["source"] == Source.SHARED:
                        right = (wanted.map, None, 0, channel_in, word)
                        assert self.banks[bank, at] == right, op.name
                        continue
                    for i, one in enumerate(op.layers):
                        source = one.inputs[0].map
                        right = (source, one.head, row_in, channel_in, word)
                        assert self.banks[i * g.head_lanes + lane, at] == right, op.name

    def operands(self, op, word):
        """Words of the gate's operands: lane l's in bank l, beside the channels that it makes."""
        layer, lanes = op.layer, self.e.lanes
        names = ([layer.operand] if layer.part is Part.MIX else []) + list(layer.gates)
        for base, name in zip((word["a"], word["b"]), names, strict=False):
            within = layer.first if name == layer.writes else 0
            for channel in range(layer.out_channels):
                row, bank = divmod(op.first + channel, lanes)
                for w in range(self.g.state_words):
                    at = bank, base + row * self.g.state_words + w
                    assert self.banks[at] == (name, None, 0, within + channel, w), op.name

    def write(self, op, word, serial: bool):
        """Enters an operation's words where its word says."""
        g, lanes, layer = self.g, self.e.lanes, op.layer
        if word["target"] == Target.SCORES:
            return
        assert word["tail"] + (g.words(layer.columns_out) - 1) * self.e.pixels == layer.columns_out
        m = self.plan.maps[op.out]
        for i, one in enumerate(op.layers):
            for channel in range(one.out_channels):
                for w in range(g.words(one.columns_out)):
                    stride = m.groups if serial else word["stride"]
                    if word["target"] == Target.HEAD:
                        bank = i * g.head_lanes + w % g.head_lanes
                        base = word[f"base{bank}"] if serial else word["base"]
                        at = bank, base + channel * stride + w // g.head_lanes
                        content = (one.writes, one.head, op.row, channel, w)
                    elif word["target"] == Target.CONCAT:
                        first = one.first % lanes if serial else word[f"bank{i}"]
                        base = word[f"base{i}"] if serial else word[f"address{i}"]
                        row, bank = divmod(first + channel, lanes)
                        at = bank, base + row * stride + w
                        content = (one.writes, None, 0, one.first + channel, w)
                    else:
                        first = 0 if serial else word["first"]
                        row, bank = divmod(first + channel, lanes)
                        base = word["base0"] if serial else word["base"]
                        at = bank, base + row * stride + w
                        content = (one.writes, None, 0, one.first + channel, w)
                    assert 0 <= at[1] < self.plan.bank_words and at[0] < lanes
                    self.banks[at] = content


def replay(plan, fields):
    state = Replay(plan)
    serial = "back" in fields
    for index, op in enumerate(plan.operations):
        state.read(op, fields["walk"][index])
        state.operands(op, fields["back" if serial else "operand"][index])
        state.write(op, fields["back" if serial else "store"][index], serial)
    return state


@pytest.mark.parametrize("plan", CASES)
def test_every_word_is_the_one_that_the_layer_wants(plan):
    state = replay(plan, plan.fields)
    # the state is whole again, in its place
    model, g = plan.model, plan.geometry
    for channel in range(model.state_channels):
        row, bank = divmod(channel, plan.engine.lanes)
        for word in range(g.state_words):
            place = bank, plan.state.base + row * g.state_words + word
            assert state.banks[place] == ("H", None, 0, channel, word)


@pytest.mark.parametrize("plan", CASES)
def test_work_and_rows(plan):
    """All products of the table; the camera's rows are waited for one by one, and all let go of."""
    model = plan.model
    assert plan.macs_per_row_group == model.array_macs_row_group
    stages = [stage for op in plan.operations for stage in op.stages]
    assert len(stages) == len(set(stages))
    wanted = {stage for layer in model.network for stage in layer.stages}
    assert set(stages) == {stage for stage in wanted if not stage.endswith(".weights")}
    camera = [op for op in plan.operations if op.source == Source.CAMERA]
    first, k = model.blocks[0], model.rows_per_group
    needed = [op.need_rows for op in camera if op.need_rows]
    assert needed == list(range(first.rows, k + 1))
    released = [op.release_rows for op in camera if op.release_rows]
    assert released == [*range(1, k - first.rows + 1), k]
    # a block's row is computed as soon as its rows are there: no later than one of the camera's
    # further down
    for earlier, later in zip(plan.operations, plan.operations[1:], strict=False):
        if earlier.head_mode and later.source == Source.CAMERA and later.need_rows:
            done = {op.stage for op in plan.operations[: plan.operations.index(later)]}
            rows = later.need_rows - 1
            for layer in model.head_layers(0):
                rows -= layer.kernel_rows - 1
                through = [stage for row, stage in enumerate(layer.stages) if row < rows]
                assert set(through) <= done


@pytest.mark.parametrize("program, field", [
    ("walk", "base0"), ("walk", "channel_step"), ("walk", "row_step"), ("walk", "bank0"),
    ("store", "base"), ("store", "bank0"), ("store", "address1"), ("store", "stride"),
    ("operand", "a"), ("operand", "b"),
])  # fmt: skip
def test_a_wrong_word_is_found(program, field):
    """One more in any field that the replay reads, in the first word in which it matters."""
    model = replace(network("seven", 1), heads=2, spatial_attention="full", image_width=64)
    plan = compile_program(model, EngineConfig.parse("4,2,2"))
    replay(plan, plan.fields)
    found = 0
    for index in range(len(plan.operations)):
        words = [dict(word) for word in plan.fields[program]]
        words[index][field] += 1
        try:
            replay(plan, {**plan.fields, program: words})
        except (AssertionError, KeyError):
            found += 1
    assert found


def test_widths():
    """Each field has the bits of its largest value, at least one."""
    for param in CASES:
        plan = param.values[0]
        for program, words in plan.fields.items():
            widths = plan.field_widths(program)
            assert list(widths) == list(words[0])
            for name, bits in widths.items():
                largest = max(word[name] for word in words)
                assert bits == max(1, largest.bit_length()) and min(w[name] for w in words) >= 0


def test_every_field_is_documented():
    for param in CASES[:1] + [next(p for p in CASES if p.id.endswith("serial"))]:
        for words in param.values[0].words.values():
            text = type(words[0]).__doc__
            for name in vars(words[0]):
                assert name in text, f"{type(words[0]).__name__}.{name}"
