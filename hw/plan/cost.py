"""What a row group costs: cycles, stalls, reads and writes of each memory, from the row program.

Nothing is elaborated or simulated here: all numbers follow from `compile_program`'s plan, the one
that the hardware is made of. sim/counters.py counts the same things in the running RTL, and they
must be equal, operation by operation: `tests/test_cost.py` for every preset, `make fuzz` for random
networks, `make sim` for whatever a user runs.

A *read* is a cycle with the read enable of one bank asserted, a *write* one with its write enable.
Most memories of the serial parts have no read enable: they read in every cycle.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import ceil

from golden.network import Part
from hw.plan import awake
from hw.plan.memory import on_chip_bytes
from hw.plan.operations import Operation, WeightSource
from hw.plan.parts import parts_of
from hw.plan.plan import Plan
from hw.plan.replay import latency_at

STALLS = ("turn", "wait", "gap", "pause")
"""Causes of cycles without a multiply-accumulate step: the turn of the row group (all that its
first operation waits, for the classifier too), waits for words that are still draining or being
fetched, gaps between walks that are shorter than their drain, pauses that let go of the only
bank."""


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """A layer in one steady row group, of all heads together.

    Attributes
    ----------
    name : str
    macs : int
        Multiply-accumulates that the network needs (padding taps included, idle units not).
    cycles : int
        Of the array; of their own unit where it works beside the array.
    layer : str
        Of an operation: the layer that it is a part of.
    steps : int
        Cycles in which the array multiplies.
    stalls : dict of str to int
        The other cycles, by cause (`STALLS`).
    slots : int
        Multipliers x steps: products that are made, useful or not.
    values : int
        Sums that leave through the channel units, useful or not.
    reads, writes : dict of str to int
        Words by memory, all banks together; memories without any are left out.
    weights : int
        Weight bytes of the layer.
    """

    name: str
    macs: int
    cycles: int
    layer: str = ""
    steps: int = 0
    stalls: Mapping[str, int] = field(default_factory=dict)
    slots: int = 0
    values: int = 0
    reads: Mapping[str, int] = field(default_factory=dict)
    writes: Mapping[str, int] = field(default_factory=dict)
    weights: int = 0

    def utilisation(self, multipliers: int) -> float:
        """MACs over multipliers x cycles."""
        return self.macs / (multipliers * self.cycles) if self.cycles else 0.0


@dataclass(frozen=True, kw_only=True)
class MemoryCost:
    """A memory, with what it does in a whole frame.

    Attributes
    ----------
    name, category : str
    words, bits, count : int
        Words of each of `count` equal banks, bits of a word.
    macro_words : int
        Words of the memory of which these are a part (maps and state share their banks).
    ports : str
        "1R1W", "1R" (programs, fixed tables), or "1RW": one port would do, since it is only
        written in cycles in which nobody looks at what is read. (The serial classifier's memory is
        such a one on iCE40, an SPRAM.)
    bytes : int
    reads, writes : int
        In a frame.
    always_read : bool
        Its read ports have no enable: they read in every cycle.
    banks, lives : str
        See hw.plan.memory.Memory.
    """

    name: str
    category: str
    words: int
    bits: int
    count: int
    macro_words: int
    ports: str
    bytes: int
    reads: int
    writes: int
    always_read: bool = False
    banks: str = ""
    lives: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A network on an array.

    Attributes
    ----------
    preset, shape : str
    multipliers : int
    layers : tuple of LayerCost
        In order; their cycles add up to `cycles_row_group`.
    operations : tuple of LayerCost
        The same by operations of the row program (rows of a block, passes, heads).
    beside : tuple of LayerCost
        What works beside the array in the same cycles: camera, softmax, classifier.
    row_groups, cycles_row_group, cycles_frame, camera_period : int
        `camera_period`: fewest cycles of a row group at which an even camera never overruns that
        pauses `Plan.frame_turn` cycles between frames.
    mac_utilisation : float
        Array MACs over multipliers x cycles of a row group.
    memories : tuple of MemoryCost
    on_chip_bytes : dict of str to int
        By category, and `total`.
    latency_cycles : dict of str to int
        From the last pixel's cycle on the wires: `row_group` to the last write of the state,
        `frame` to the decision, of an even camera that the engine waits for.
    acc_bits : int
        Bits of a sum.
    register_bits : int
        Flip-flops, an estimate: see `registers`.
    clock_bits : dict of str to int
        The same by clock: see `clock_registers`.
    gated_bits : int
        Those of the engine's clock that hardly any edge reaches, where each enable has a gate.
    sequencer_bits, sequencer_reached : int
        Those of the sequencers, and of these the ones that an edge reaches while the engine's clock
        runs: see hw.plan.parallel_owners.SequencerRegisters. 0 where they were not measured.
    zero_is_zero : bool
        Of the array's operands: see hw.plan.parts.PartsModel.
    running : function of float, or None
        Of an engine that sleeps: see hw.plan.awake.running.
    """

    preset: str
    shape: str
    multipliers: int
    layers: tuple[LayerCost, ...]
    operations: tuple[LayerCost, ...]
    beside: tuple[LayerCost, ...]
    row_groups: int
    cycles_row_group: int
    cycles_frame: int
    camera_period: int
    mac_utilisation: float
    memories: tuple[MemoryCost, ...]
    on_chip_bytes: Mapping[str, int]
    latency_cycles: Mapping[str, int]
    acc_bits: int
    register_bits: int
    clock_bits: Mapping[str, int] = field(default_factory=dict)
    gated_bits: int = 0
    sequencer_bits: int = 0
    sequencer_reached: int = 0
    zero_is_zero: bool = False
    running: Callable[[float], Mapping[str, float]] | None = field(default=None, compare=False)

    def register_cycles(
        self, cycles: float, reached: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Register bits x cycles of a frame that lasts so many `cycles` at a sensor, by state.

        Parameters
        ----------
        reached : dict of str to float
            Of an engine that sleeps, by clock: share of its flip-flops whose own gates are open
            while the clock runs (1; of the engine's those without `gated_bits`).

        Returns
        -------
        dict of str to float
            `clocked`; `gated`, behind a closed gate of their own; `asleep`, whose clock stands.
        """
        every = self.register_bits * cycles
        if self.running is None:
            return {"clocked": every, "gated": 0.0, "asleep": 0.0}
        runs = {**self.running(cycles), "always": cycles}
        awake = {clock: bits * runs[clock] for clock, bits in self.clock_bits.items()}
        shares = {"engine": self.engine_reached, **(reached or {})}
        clocked = sum(edges * shares.get(clock, 1.0) for clock, edges in awake.items())
        running = sum(awake.values())
        return {"clocked": clocked, "gated": running - clocked, "asleep": every - running}

    def sequencer_cycles(self, cycles: float) -> float:
        """Of `register_cycles` those of the sequencers that are clocked."""
        if self.running is None:
            return self.sequencer_bits * cycles
        return self.sequencer_reached * self.running(cycles)["engine"]

    @property
    def engine_reached(self) -> float:
        """Share of the engine's flip-flops that its clock's edges reach."""
        return 1 - self.gated_bits / self.clock_bits["engine"]

    @cached_property
    def macs_row_group(self) -> int:
        """Array MACs."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def slots_row_group(self) -> int:
        """Products that the array makes, useful or not."""
        return sum(layer.slots for layer in self.layers)

    @cached_property
    def values_row_group(self) -> int:
        """Sums that leave through the channel units."""
        return sum(layer.values for layer in self.layers)

    @property
    def macs_frame(self) -> int:
        return self.row_groups * self.macs_row_group

    @cached_property
    def reads_row_group(self) -> dict[str, int]:
        """By memory."""
        return _sum(part.reads for part in (*self.layers, *self.beside))

    @cached_property
    def writes_row_group(self) -> dict[str, int]:
        return _sum(part.writes for part in (*self.layers, *self.beside))


def _sum(parts) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def cost(plan: Plan) -> Cost:
    """Counts everything that a plan fixes."""
    operations = tuple(_operation(plan, op) for op in plan.operations)
    layers = tuple(_layers(plan, operations))
    beside = tuple(LayerCost(**vars(one)) for owner in plan.owners for one in owner.beside(plan))
    groups = plan.model.row_groups
    sequencers = parts_of(plan.engine).sequencers
    reads = _sum(part.reads for part in (*layers, *beside))
    writes = _sum(part.writes for part in (*layers, *beside))
    listed = plan.memories
    # words of a bank in which several lie
    banks = {memory.banks: plan.bank_words for memory in listed if memory.banks}
    return Cost(
        preset=plan.model.name,
        shape=str(plan.engine),
        multipliers=plan.engine.multipliers,
        layers=layers,
        operations=operations,
        beside=beside,
        row_groups=groups,
        cycles_row_group=plan.cycles_per_row_group,
        cycles_frame=plan.cycles_per_frame,
        camera_period=plan.camera_period,
        mac_utilisation=plan.utilisation(),
        memories=tuple(
            MemoryCost(
                name=memory.name,
                category=memory.category,
                words=memory.words,
                bits=memory.bits,
                count=memory.count,
                macro_words=banks.get(memory.banks or memory.name, memory.words),
                ports=memory.ports,
                bytes=ceil(memory.bytes),
                reads=groups * reads.get(memory.name, 0),
                writes=groups * writes.get(memory.name, 0),
                always_read=memory.always_read,
                banks=memory.banks,
                lives=memory.lives,
            )
            for memory in listed
        ),
        on_chip_bytes=on_chip_bytes(listed),
        latency_cycles=_latency(plan),
        acc_bits=plan.model.acc_bits,
        register_bits=registers(plan),
        clock_bits=clock_registers(plan),
        gated_bits=parts_of(plan.engine).gated_registers(plan),
        sequencer_bits=(
            sequencers.fixed + sequencers.a_unit * plan.engine.units if sequencers else 0
        ),
        sequencer_reached=sequencers.reached if sequencers else 0,
        zero_is_zero=plan.zero_is_zero,
        running=partial(awake.running, plan) if plan.engine.sleep else None,
    )


# ---- operations of the array ----


def _operation(plan: Plan, op: Operation) -> LayerCost:
    """One operation of the row program."""
    multipliers = plan.engine.multipliers
    steps = op.walks * op.k
    turn = op.wait if op is plan.operations[0] else 0
    stalls = {
        "turn": turn,
        "wait": op.wait - turn,
        "gap": op.walks * op.idle,
        "pause": op.walks * op.pause,
    }
    reads: Counter[str] = Counter()
    writes: Counter[str] = Counter()
    for owner in plan.owners:
        for counts, made in ((reads, owner.reads(plan, op)), (writes, owner.writes(plan, op))):
            for name, count in made:
                counts[name] += count
    for memory in plan.memories:
        if memory.always_read:
            reads[memory.name] += op.cycles * memory.count
    return LayerCost(
        name=op.name,
        layer=layer_of(op),
        macs=op.macs,
        cycles=op.cycles,
        steps=steps,
        stalls=stalls,
        slots=steps * multipliers,
        values=op.walks * plan.rules.positions(op) * plan.engine.units,
        reads={name: count for name, count in reads.items() if count},
        writes=dict(writes),
        weights=_weights(op),
    )


def _weights(op: Operation) -> int:
    """Weight bytes of an operation's layer, its heads together."""
    if op.weights != WeightSource.MEMORY:
        return 0
    return op.k * op.out_channels * max(1, len(op.stages))


def layer_of(op: Operation) -> str:
    """The network's layer that an operation is a part of, all heads together."""
    layer = op.layer
    if layer.head is None:
        return layer.name
    if layer.part is Part.HEAD:
        return f"block{layer.block + 1}"
    return f"attention.{layer.part.value}"


def _layers(plan: Plan, operations: tuple[LayerCost, ...]) -> Iterator[LayerCost]:
    """The operations added up by layers, in the order in which these begin."""
    parts: dict[str, list[LayerCost]] = {}
    weights: dict[str, dict[str, int]] = {}
    for op, part in zip(plan.operations, operations, strict=True):
        name = part.layer
        parts.setdefault(name, []).append(part)
        weights.setdefault(name, {})[op.layer.name] = part.weights  # rows share theirs
    for name, found in parts.items():
        yield LayerCost(
            name=name,
            macs=sum(part.macs for part in found),
            cycles=sum(part.cycles for part in found),
            steps=sum(part.steps for part in found),
            stalls={cause: sum(part.stalls[cause] for part in found) for cause in STALLS},
            slots=sum(part.slots for part in found),
            values=sum(part.values for part in found),
            reads=_sum(part.reads for part in found),
            writes=_sum(part.writes for part in found),
            weights=sum(weights[name].values()),
        )


# ---- latency ----


def _latency(plan: Plan) -> dict[str, int]:
    """Cycles from the last pixel to the state and to the decision."""
    k = plan.model.rows_per_group
    slow = k * (plan.cycles_per_row_group + 1000)  # a row takes longer than a row group's work
    state, decision = latency_at(plan, slow)
    return {"row_group": state, "frame": decision}


# ---- registers ----


def registers(plan: Plan) -> int:
    """Flip-flops of the engine, estimated: within 3 % for the presets, the serial parts' within
    10 % (tests/test_cost.py). Small networks have up to a tenth less."""
    return parts_of(plan.engine).registers(plan)


def clock_registers(plan: Plan) -> dict[str, int]:
    """The same by clock (hw.plan.awake.CLOCKS, "always": the gates' own), whether they sleep or
    not."""
    found = parts_of(plan.engine).clock_registers(plan)
    return {"engine": registers(plan) - sum(found.values()), **found}
