"""The parallel engine's parts: a fast clock, a channel unit for each sum of a lane."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.weights import Weights
from hw.arithmetic.multiplier import REGISTERS
from hw.common import delay, own_singles
from hw.parallel.channel_unit import EVERY, ChannelUnit, UnitStages
from hw.parallel.head_lane import HeadLane
from hw.parallel.maps import Maps
from hw.parallel.operands import Operands
from hw.parallel.store import Store
from hw.parallel.unit_control import UnitControl
from hw.parallel.window import Windows
from hw.path import array_ports, back_ports, camera_read, join, window_ports
from hw.plan import Plan, Source, WeightSource
from hw.plan.latency import ParallelLatency
from hw.sequencer import step_layout
from hw.sleep import clocked


class MapAccess(wiring.Signature):
    """Words written to maps and state, and reads of operands; from the way back to the window.

    Members
    -------
    write_en : Out(L)
        Banks that are written.
    write_address : Out(range(bank_words)), with `write_en`
        In all of them.
    write_data : Out(8 * P), an array of L
        A word for each bank.
    operand_en : Out(1), operand_address : Out(range(bank_words))
        An operand read is wanted, of one address in all banks (held until `operand_done`).
    operand_done : In(1)
        The last bank is granted in this cycle.
    operand_valid : In(L)
        `words` of these banks are the answer.
    words : In(8 * P), an array of L
        The banks' words.
    """

    def __init__(self, plan: Plan):
        lanes, address = plan.engine.lanes, range(plan.bank_words)
        words = data.ArrayLayout(8 * plan.engine.pixels, lanes)
        super().__init__(
            {
                "write_en": Out(lanes),
                "write_address": Out(address),
                "write_data": Out(words),
                "operand_en": Out(1),
                "operand_address": Out(address),
                "operand_done": In(1),
                "operand_valid": In(lanes),
                "words": In(words),
            }
        )


class Sums(wiring.Signature):
    """Sums as they leave the lanes; from array to way back.

    Members
    -------
    transfer : Out(1), pulse
        A walk's sums move to the drain registers.
    heads : Out(signed(plan.sum_bits)), an array of C * L (unit k * L + l)
        The first sum of each unit's P ones, `drain` cycles after `transfer`, then one a cycle.
    """

    def __init__(self, plan: Plan):
        heads = data.ArrayLayout(signed(plan.sum_bits), plan.engine.units)
        super().__init__({"transfer": Out(1), "heads": Out(heads)})


class AttentionFeed(wiring.Signature):
    """What spatial attention takes from the way back.

    Members
    -------
    score_en : Out(1)
        A row of S is written.
    score_head : Out(range(heads)), score_row : Out(range(n)), score_data : Out(8 * P)
        With `score_en`.
    score_done : Out(1)
        One cycle after a head's last row.
    state_en : Out(1)
        The words that are written to the maps are of the state.
    values : Out(8 * P), an array of C * L
        Register A of each unit, as in Operands: rows of V.
    """

    def __init__(self, plan: Plan):
        word, model = 8 * plan.engine.pixels, plan.model
        super().__init__(
            {
                "score_en": Out(1),
                "score_head": Out(range(model.heads)),
                "score_row": Out(range(model.n)),
                "score_data": Out(word),
                "score_done": Out(1),
                "state_en": Out(1),
                "values": Out(data.ArrayLayout(word, plan.engine.units)),
            }
        )


class Addresses(wiring.Component):
    """Which word each bank of line buffer and maps reads for a step.

    A three-tap row needs the words left of, of and right of the chunk group in its three phases. In
    head mode the last bank brings the word on the left, the first the one on the right.

    Ports
    -----
    step, later : In(step_layout(plan))
        A step, and the one of the cycle before: one-tap rows are read a cycle later.
    camera_en : Out(Lh), camera_address : Out(an array of Lh)
    map_en : Out(L), map_address : Out(an array of L)
        `address_three_tap` cycles before the address registers are set, less one: registers.
    """

    def __init__(self, plan: Plan, words: int):
        self.plan, self.one_tap = plan, own_singles(plan)
        lanes, head_lanes = plan.engine.lanes, plan.geometry.head_lanes
        super().__init__(
            {
                "step": In(step_layout(plan)),
                "later": In(step_layout(plan)),
                "camera_en": Out(head_lanes, init=(1 << head_lanes) - 1),
                "camera_address": Out(data.ArrayLayout(range(words), head_lanes)),
                "map_en": Out(lanes),
                "map_address": Out(data.ArrayLayout(range(plan.bank_words), lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        step, later = self.step, self.later
        lanes, head_lanes = self.plan.engine.lanes, self.plan.geometry.head_lanes
        first, third = step.phase == 0, step.phase == 2
        row = Mux(first, step.address - 1, Mux(third, step.address + 1, step.address))
        one = later.valid & later.one_tap & (later.source == Source.SHARED)
        three = step.valid & ~step.one_tap & (step.source == Source.SHARED)
        beside = (first & step.first_chunk) | (third & step.last_chunk)
        for b in range(lanes):
            i = b % head_lanes
            if head_lanes == 1:
                reads, own = ~beside, row
            else:
                reads, own = first, step.address
                if i == head_lanes - 1:
                    reads = first & ~step.first_chunk | (step.phase == 1)
                    own = Mux(first, step.address - 1, step.address)
                if i == 0:
                    reads = reads | (third & ~step.last_chunk)
                    own = Mux(third, step.address + 1, step.address)
            by_head = step.valid & (step.source == Source.HEAD) & reads
            own_one = one & later.bank[b]
            camera_one = 0
            if self.one_tap:  # each bank its own word
                head_one = later.valid & later.one_tap & (later.source == Source.HEAD)
                camera_one = later.valid & later.one_tap & (later.source == Source.CAMERA)
                own_one, reads = own_one | head_one, reads & ~step.one_tap
                by_head = by_head & ~step.one_tap
            m.d.sync += [
                self.map_en[b].eq(by_head | (three & step.bank[b] & ~beside) | own_one),
                self.map_address[b].eq(
                    Mux(own_one, later.address, Mux(step.source == Source.HEAD, own, row))
                ),
            ]
            if b < head_lanes:
                m.d.sync += [
                    self.camera_en[b].eq(
                        (step.valid & (step.source == Source.CAMERA) & reads) | camera_one
                    ),
                    self.camera_address[b].eq(Mux(camera_one, later.address, own)),
                ]
        return m


class Window(wiring.Component):
    """Maps and state, and the windows before the lanes.

    Parameters
    ----------
    tap_registered : bool
        See Windows.

    Ports
    -----
    attention_word : In(8 * P)
        Only with spatial attention: a row of A, at the same time as a one-tap word of the maps.

    and those of hw.path.window_ports.
    """

    def __init__(self, plan: Plan, tap_registered: bool = True):
        self.plan, self.latency = plan, plan.latency
        self.addresses = Addresses(plan, plan.line_buffer_words)
        self.banks, self.windows = Maps(plan), Windows(plan, tap_registered)
        ports = window_ports(plan, camera_read(plan, plan.line_buffer_words), MapAccess(plan))
        if plan.model.spatial:
            ports["attention_word"] = In(8 * plan.engine.pixels)
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        m.submodules.maps = maps = self.banks
        m.submodules.addresses = addresses = self.addresses
        m.submodules.windows = ResetInserter({"sync": self.reset})(self.windows)
        windows, host = self.windows, self.host
        join(m, wiring.flipped(self.maps), maps)
        word = 0
        for valid, found in zip(maps.host_valid, maps.words, strict=True):
            word = word | Mux(valid, found, 0)
        m.d.comb += [
            addresses.step.eq(self.steps[0]),
            addresses.later.eq(self.steps[1]),
            self.camera.read_en.eq(addresses.camera_en),
            self.camera.read_address.eq(addresses.camera_address),
            maps.read_en.eq(addresses.map_en),
            maps.read_address.eq(addresses.map_address),
            maps.host_en.eq(host.en),
            maps.host_bank.eq(host.bank),
            maps.host_address.eq(host.address),
            host.done.eq(maps.host_done),
            windows.step.eq(self.steps[0]),
            windows.first_group.eq(self.first_group),
            windows.camera_words.eq(self.camera.words),
            windows.map_words.eq(maps.words),
            self.operands.eq(windows.operands),
        ]
        m.d.sync += [host.valid.eq(maps.host_valid.any()), host.data.eq(word)]
        if self.plan.model.spatial:
            m.d.comb += windows.attention_word.eq(self.attention_word)
        return m


class UnitWeights(wiring.Component):
    """Cuts a weight word into the units' bytes.

    In head mode a word holds the steps of several parts, one for each lane of a head.

    Ports
    -----
    step : In(step_layout(plan))
        `latency.weight` before its weights are valid, and as many more as there are `registers`.
    word : In(8 * C * L)
        Of the weight memory, in the same cycle.
    others : In(8), an array of C * L
        Only with spatial attention: bytes of the state or of V, where a step's weights are these.
    weights : Out(8), an array of C * L (unit k * L + l)
    """

    def __init__(self, plan: Plan, registers: int = 0):
        self.plan, self.registers = plan, registers
        bytes_ = data.ArrayLayout(8, plan.engine.units)
        ports = {"step": In(step_layout(plan)), "word": In(bytes_), "weights": Out(bytes_)}
        super().__init__(ports | ({"others": In(bytes_)} if plan.model.spatial else {}))

    def elaborate(self, platform):
        m = Module()
        g, engine, step = self.plan.geometry, self.plan.engine, self.step
        lanes, channels, head_lanes = engine.lanes, engine.channels, g.head_lanes
        shared = step.source[1]
        for u in range(engine.units):
            k, lane = divmod(u, lanes)
            head = lane // head_lanes
            own = Mux(shared, self.word[u], 0)
            for part in range(head_lanes):
                byte = self.word[part * channels * g.heads + head * channels + k]
                own = own | Mux(~shared & (step.part == part), byte, 0)
            if self.plan.model.spatial:
                own = Mux(step.weights == WeightSource.MEMORY, own, self.others[u])
            chosen = Signal(8, name=f"chosen{u}", reset_less=True)
            m.d.sync += chosen.eq(own)
            operand = chosen
            if self.plan.latency.weight == 2:
                operand = Signal(8, name=f"operand{u}", reset_less=True)
                m.d.sync += operand.eq(chosen)
            last = delay(m, operand, self.registers, f"operand{u}", reset_less=True)
            m.d.comb += self.weights[u].eq(last)
        return m


class Array(wiring.Component):
    """L lanes of P x C multipliers, and their weights.

    Parameters
    ----------
    registers : int
        So many more before the multipliers than they have themselves.
    inside : int
        Those that they have themselves, see hw.arithmetic.multiplier.
    packed : bool
        See HeadLane.

    Ports
    -----
    others : In(8), an array of C * L
        Only with spatial attention: bytes of the state or of V, where a step's weights are these.

    and those of hw.path.array_ports.
    """

    def __init__(
        self, plan: Plan, registers: int = 0, inside: int = REGISTERS, packed: bool = False
    ):
        self.plan, self.latency, self.registers = plan, plan.latency, registers
        engine, g = plan.engine, plan.geometry
        pair = g.head_lanes > 1 and engine.pixels % 2 == 1
        self.unit_weights = UnitWeights(plan, registers)
        self.lanes = [
            HeadLane(
                pixels=engine.pixels,
                channels=engine.channels,
                acc_bits=plan.sum_bits,
                shares_pair=pair and lane % 2 == 0,
                cells=engine.cells,
                dsps=engine.lane_dsps(lane),
                operand_bits=8 + plan.zero_is_zero,
                registers=inside,
                packed=packed,
            )
            for lane in range(engine.lanes)
        ]
        ports = array_ports(plan, Sums(plan))
        if plan.model.spatial:
            ports["others"] = In(data.ArrayLayout(8, engine.units))
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        t, steps, lanes = self.latency, self.steps, len(self.lanes)
        assert {lane.latency + self.registers for lane in self.lanes} == {t.multiply}
        assert HeadLane.drain == t.drain
        m.submodules.unit_weights = weights = self.unit_weights
        before, at = steps[t.weight_address - 1], steps[t.weight_address]
        m.d.sync += self.weights.read_en.eq(
            before.valid & (before.weights == WeightSource.MEMORY) & (before.part == 0)
        )
        ending = steps[t.transfer - 1].valid & steps[t.transfer - 1].last
        m.d.sync += self.sums.transfer.eq(ending & ~self.reset)
        adding = steps[t.transfer - 1 - HeadLane.lead]
        m.d.comb += [
            self.weights.address.eq(at.weight),
            weights.step.eq(steps[t.weight_chosen]),
            weights.word.eq(self.weights.word),
        ]
        if self.plan.model.spatial:
            m.d.comb += weights.others.eq(self.others)
        operands = [self.operands[lane] for lane in range(lanes)]
        if self.plan.zero_is_zero:
            behind_relu = steps[t.transfer - t.multiply].pad
            operands = [self._values(word, behind_relu) for word in operands]
        for lane, block in enumerate(self.lanes):
            m.submodules[f"lane{lane}"] = block
            m.d.comb += [
                block.operand.eq(delay(m, operands[lane], self.registers, f"operand{lane}")),
                block.valid.eq(adding.valid),
                block.first.eq(adding.first),
                block.transfer.eq(ending),
            ]
            if block.shares_pair:
                m.d.comb += block.extra.eq(self.lanes[lane + 1].lowest)
            for k in range(self.plan.engine.channels):
                m.d.comb += [
                    block.weights[k].eq(weights.weights[k * lanes + lane]),
                    self.sums.heads[k * lanes + lane].eq(block.head[k]),
                ]
        return m

    def _values(self, word, behind_relu):
        """What a word's bytes stand for, of 9 bits: behind a ReLU 128 more than they are."""
        bytes_ = [word.word_select(p, 8) for p in range(self.plan.engine.pixels)]
        return Cat(Cat(b[:7], b[7] ^ behind_relu, b[7] & ~behind_relu) for b in bytes_)


class Back(wiring.Component):
    """Channel units, what they are told, and the store behind them.

    Parameters
    ----------
    constants : sequence
        What the constant memory holds at power-up, constants of hw.parallel.unit_control.
    stages : UnitStages
        Registers of a channel unit.

    Ports
    -----
    load : Out(write_port(constant_words, constant_layout))
        Of the constant memory.
    attention : Out(AttentionFeed)
        Only with spatial attention.

    and those of hw.path.back_ports.
    """

    def __init__(
        self,
        plan: Plan,
        weights: Weights,
        constants: Sequence = (),
        stages: UnitStages = EVERY,
    ):
        self.plan, self.latency = plan, plan.latency
        spatial = plan.model.spatial
        self.control, self.operands = UnitControl(plan, constants), Operands(plan)
        self.store = Store(plan)
        self.units = [
            ChannelUnit(
                acc_bits=plan.model.acc_bits,
                wraps=plan.zero_is_zero,
                knots=weights.knots.tolist(),
                signed_features=spatial,
                spatial=spatial,
                cells=plan.engine.cells,
                stages=stages,
            )
            for _ in range(plan.engine.units)
        ]
        ports = back_ports(plan, Sums(plan), MapAccess(plan))
        ports["load"] = self.control.signature.members["load"]
        if spatial:
            ports["attention"] = Out(AttentionFeed(plan))
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        assert isinstance(self.latency, ParallelLatency)
        assert all(unit.latency == self.latency.unit for unit in self.units)
        assert self.latency.write == 3, "packed, word's turn, write port"
        control, operands, store = self.control, self.operands, self.store
        for name, block in (("control", control), ("operands", operands), ("store", store)):
            m.submodules[name] = ResetInserter({"sync": self.reset})(block)
        maps, transfer = self.maps, self.sums.transfer
        m.d.comb += [
            control.transfer.eq(transfer),
            store.transfer.eq(transfer),
            operands.transfer.eq(transfer),
            operands.single.eq(control.single),
            operands.first_group.eq(self.first_group),
            operands.words.eq(maps.words),
            operands.done.eq(maps.operand_done),
            operands.valid.eq(maps.operand_valid),
            maps.operand_en.eq(operands.enable),
            maps.operand_address.eq(operands.address),
            maps.write_en.eq(store.write_en),
            maps.write_address.eq(store.write_address),
            maps.write_data.eq(store.write_data),
            self.state_done.eq(store.state_done),
        ]
        wiring.connect(m, store.pooled, wiring.flipped(self.pool))
        wiring.connect(m, wiring.flipped(self.load), control.load)
        for u, unit in enumerate(self.units):
            m.submodules[f"unit{u}"] = clocked(unit, "units", self.plan.engine.sleep)
            active = control.active[u]
            m.d.comb += [
                unit.sum.eq(self.sums.heads[u]),
                unit.bias.eq(active.bias),
                unit.multiplier.eq(active.multiplier),
                unit.shift.eq(active.shift),
                unit.function.eq(control.function),
                unit.a.eq(operands.a[u]),
                unit.b.eq(operands.b[u]),
                store.bytes[u].eq(unit.byte),
            ]
        if self.plan.model.spatial:
            m.d.comb += self.attention.values.eq(operands.values)
            names = [name for name in self.attention.signature.members if name != "values"]
            m.d.comb += [getattr(self.attention, n).eq(getattr(store, n)) for n in names]
        return m
