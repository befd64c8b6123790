"""The compact engine: the row engine for small FPGAs."""

from amaranth.hdl import Module, ResetInserter, Signal

from golden.weights import Weights as NetworkWeights
from hw.line_buffer import LineBuffer
from hw.plan.latency import SERIAL
from hw.row_engine import RowEngine
from hw.sequencer import WalkSequencer
from hw.serial.array import SerialArray
from hw.serial.classifier import SerialClassifier
from hw.serial.store import SerialStore
from hw.serial.unit import FIRST_SHIFT, SHIFT_BITS, SerialUnit
from hw.serial.window import SerialWindow
from hw.weight_sram import WeightSram


class CompactEngine(RowEngine):
    """RowEngine with one channel unit and few registers; the same results, ports and images.

    ::

        LineBuffer ─► SerialWindow ─► SerialArray ─► SerialUnit ─► SerialStore ─┐
                         ▲ maps, state                  ▲ constants, operands   │
                         └──────────────────────────────────────────── bytes ◄──┘

    Differences: a walk is followed by at least one idle cycle; its sums leave one after the other,
    a byte every two cycles (four in the last operation); pixels come no closer than
    max(2, colours) cycles.

    Raises
    ------
    ValueError
        If the weights have a shift that the unit cannot do.
    """

    def _blocks(self, weights: NetworkWeights, first: dict) -> None:
        plan, engine, model = self.plan, self.plan.engine, self.plan.model
        last = FIRST_SHIFT + (1 << SHIFT_BITS) - 1
        for name, layer in weights.layers.items():
            shifts = layer.shift.tolist()
            if not name.startswith("classifier") and (
                min(shifts) < FIRST_SHIFT or max(shifts) > last
            ):
                raise ValueError(
                    f"a compact engine's shifts are {FIRST_SHIFT}..{last}, but {name} has "
                    f"{min(shifts)}..{max(shifts)}"
                )
        self.attention = None
        self.lines = LineBuffer(plan)
        self.sequencer = WalkSequencer(plan)
        self.maps = SerialWindow(plan)
        self.array = SerialArray(
            pixels=engine.pixels, lanes=engine.lanes, acc_bits=model.acc_bits, cells=engine.cells
        )
        self.unit = SerialUnit(
            acc_bits=model.acc_bits, high_bits=self.array.high_bits, knots=weights.knots.tolist()
        )
        self.store = SerialStore(plan, first["constants"] or ())
        self.classifier = SerialClassifier(
            channels=model.state_channels,
            hidden=model.classifier_hidden,
            columns=model.n,
            words=first["classifier"] or (),
            cells=engine.cells,
        )
        self.weights = WeightSram(
            depth=plan.weight_words,
            bits=8 * engine.units,
            init=first["weights"] or (),
            cells=engine.cells,
            compact=True,
        )

    def elaborate(self, platform):
        m = Module()
        reset = self.frames.reset
        for name in ("sequencer", "store"):
            m.submodules[name] = ResetInserter({"sync": reset})(getattr(self, name))
        for name in ("lines", "maps", "array", "unit", "weights"):
            m.submodules[name] = getattr(self, name)
        m.submodules.classifier = ResetInserter({"sync": self.classifier.abort})(self.classifier)
        self._edges(m)
        self._array(m, reset, self.frames.first_group)
        return m

    def _array(self, m, reset, first_group):
        t = SERIAL
        lines, maps, array, unit, store = self.lines, self.maps, self.array, self.unit, self.store
        steps = self._steps(m, t.transfer, reset)
        step = steps[0]
        m.d.comb += [
            maps.step.eq(step),
            maps.later1.eq(steps[1]),
            maps.later2.eq(steps[2]),
            maps.first_group.eq(first_group),
            lines.read_address[0].eq(maps.camera_address),
            lines.read_en.eq(1),
            maps.camera_word.eq(lines.words[0]),
        ]
        # a weight word holds a byte for each lane, in both modes
        load = self.loader.weights
        m.d.comb += [
            self.weights.write_en.eq(load.en),
            self.weights.write_address.eq(load.addr),
            self.weights.write_data.eq(load.data),
            self.weights.address.eq(steps[t.weight_address].weight),
            self.weights.read_en.eq(steps[t.weight_address].valid),
            array.weights.as_value().eq(self.weights.word),
            array.operands.eq(maps.operands),
            array.add.eq(steps[t.transfer - 1].valid),
            array.transfer.eq(steps[t.transfer].valid & steps[t.transfer].last),
            array.clear.eq(array.transfer | reset),
            array.shift.eq(store.shift),
        ]
        # sums to bytes
        m.d.comb += [
            store.ending.eq(steps[t.transfer - 1].valid & steps[t.transfer - 1].last),
            store.transfer.eq(array.transfer),
            store.first_group.eq(first_group),
            unit.low.eq(array.low),
            unit.high.eq(array.high),
            unit.bias.eq(store.bias),
            unit.multiplier.eq(store.multiplier),
            unit.shift.eq(store.scale),
            unit.pool.eq(store.pool),
            unit.function.eq(store.function),
            unit.at.eq(store.at),
            unit.a.eq(store.a),
            unit.b.eq(store.b),
            store.byte.eq(unit.byte),
            store.written.eq(unit.written),
            maps.ask.eq(store.ask),
            maps.ask_bank.eq(store.ask_bank),
            maps.ask_address.eq(store.ask_address),
            store.granted.eq(maps.granted),
            store.words.eq(maps.words),
            maps.write_en.eq(store.write_en),
            maps.write_address.eq(store.write_address),
            maps.write_mask.eq(store.write_mask),
            maps.write_low.eq(store.write_low),
            maps.write_high.eq(store.write_high),
        ]
        constants, words = self.loader.constants, self.loader.classifier
        m.d.comb += [
            store.load_en.eq(constants.en),
            store.load_address.eq(constants.addr),
            store.load_data.eq(constants.data),
            self.classifier.load_en.eq(words.en),
            self.classifier.load_address.eq(words.addr),
            self.classifier.load_data.eq(words.data),
        ]

    def _person(self):
        return self.classifier.person

    def _host(self, m, read):
        maps = self.maps
        bank = Signal.like(maps.host_bank, reset_less=True)
        m.d.sync += [read.valid.eq(maps.host_done), bank.eq(maps.host_bank)]
        word = 0
        for b in range(self.plan.engine.lanes):
            word = word | (maps.words[b] & (bank == b).replicate(len(maps.words[b])))
        m.d.comb += [
            maps.host_en.eq(read.en),
            maps.host_bank.eq(read.bank),
            maps.host_address.eq(read.address),
            read.done.eq(maps.host_done),
            read.data.eq(word),
        ]
