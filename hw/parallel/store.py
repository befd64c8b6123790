"""Store: pools the channel units' bytes, packs them into words and writes these to their places."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import delay
from hw.interfaces import Pooled
from hw.parallel.packer import Packer
from hw.parallel.places import Places
from hw.parallel.turns import Turns
from hw.plan import Plan
from hw.pool import StatePool, sum_shape


class PoolQueue(wiring.Component):
    """The pooled channels of a walk of the state, one after the other.

    Ports
    -----
    collect : In(1)
        `sums` and `maxima` hold a walk's channels.
    row : In(range(channels + 1)), last : In(1), with `collect`
        The walk's first channel; the walk is the state's last.
    sums : In(sum_shape(n)), maxima : In(signed(8)), arrays of C * L
        Of each unit's channel.
    pooled : Out(Pooled(state_channels, n))
        A channel a cycle, from the cycle after `collect` on.
    state_done : Out(1)
        With the state's last channel.
    """

    def __init__(self, plan: Plan):
        self.units, self.channels = plan.engine.units, plan.model.state_channels
        channels = max(op.out_groups for op in plan.operations) * self.units
        shape = sum_shape(plan.model.n)
        super().__init__(
            {
                "collect": In(1),
                "row": In(range(channels + 1)),
                "last": In(1),
                "sums": In(data.ArrayLayout(shape, self.units)),
                "maxima": In(data.ArrayLayout(signed(8), self.units)),
                "pooled": Out(Pooled(self.channels, plan.model.n)),
                "state_done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        total, largest = self.pooled.sum, self.pooled.max
        for u in reversed(range(self.units)):
            here, high = Signal.like(total, reset_less=True), Signal.like(largest, reset_less=True)
            if u == self.units - 1:
                total, largest = here, high
            m.d.sync += [here.eq(total), high.eq(largest)]
            with m.If(self.collect):
                m.d.sync += [here.eq(self.sums[u]), high.eq(self.maxima[u])]
            total, largest = here, high
        leaving, count = Signal(), Signal(range(self.units))
        channel, last = Signal.like(self.row), Signal()
        with m.If(leaving):
            m.d.sync += [count.eq(count + 1), channel.eq(channel + 1)]
            with m.If(count == self.units - 1):
                m.d.sync += leaving.eq(0)
        with m.If(self.collect):
            m.d.sync += [leaving.eq(1), count.eq(0), channel.eq(self.row), last.eq(self.last)]
        m.d.comb += [
            self.pooled.en.eq(leaving & (channel < self.channels)),
            self.pooled.channel.eq(channel),
            self.pooled.sum.eq(total),
            self.pooled.max.eq(largest),
            self.state_done.eq(leaving & last & (channel == self.channels - 1)),
        ]
        return m


class Store(wiring.Component):
    """Follows the transfers, `latency.pack` cycles late, through the row program's store words.

    ::

        bytes ─► Packer ─► words ─► Turns ─► write ports
                  ▲  └─► StatePool ─► PoolQueue ─► a channel a cycle
                Places (which walk it is, and where its words go)

    Ports
    -----
    transfer : In(1)
        A walk's sums move to the drain registers.
    bytes : In(8), an array of units (unit k * L + l)
        The first one `latency.pack` after `transfer`.
    write_en : Out(L), write_address : Out(range(bank_words)), write_data : Out(8 * P), L of them
        To Maps, `latency.write` after a walk's last byte and as many more as the word's turn: the
        banks that are written, where, and a word for each.
    write_op : Out(range(operations))
        The operation, for monitors.
    state_en : Out(1)
        The words are of the state.
    score_en : Out(1), score_head : Out(range(heads)), score_row : Out(range(n))
        A row of S is written to the softmax unit, as late as to Maps.
    score_data : Out(8 * P), with `score_en`
    score_done : Out(1)
        One cycle after a head's last row.
    pooled : Out(Pooled(state_channels, n))
        A channel of the state, pooled over its columns.
    state_done : Out(1)
        With a row group's last pooled channel.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.places, self.packer, self.turns = Places(plan), Packer(plan), Turns(plan)
        self.pool = StatePool(channels=plan.engine.units, columns=plan.model.n, ahead=True)
        self.queue = PoolQueue(plan)
        turns = self.turns.signature.members
        self._outputs = [n for n in turns if n.startswith(("write", "score", "state"))]
        super().__init__(
            {
                "transfer": In(1),
                "bytes": In(data.ArrayLayout(8, plan.engine.units)),
                **{name: turns[name] for name in self._outputs},
                "pooled": self.queue.signature.members["pooled"],
                "state_done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        places, packer, turns, pool, queue = (
            self.places,
            self.packer,
            self.turns,
            self.pool,
            self.queue,
        )
        m.submodules += [places, packer, turns, pool, queue]
        advance = delay(m, self.transfer, self.plan.latency.pack - 1, "advance")
        walk = places.walk
        m.d.comb += [
            places.advance.eq(advance),
            packer.advance.eq(advance),
            packer.walk.eq(walk),
            packer.bytes.eq(self.bytes),
            turns.last.eq(packer.last),
            turns.walk.eq(walk.turn),
            turns.words.eq(packer.words),
        ]

        # the state's columns, summed on the way; they are not pooled in pairs
        loads = Signal()
        m.d.sync += [
            loads.eq(packer.counts & walk.turn.blend),
            pool.begin.eq(walk.first_chunk & packer.first),
        ]
        with m.If(packer.last):
            m.d.sync += [queue.row.eq(walk.turn.row), queue.last.eq(walk.last_group)]
        collect = packer.last & walk.turn.blend & walk.last_chunk
        m.d.comb += [
            pool.next.eq(self.bytes),
            pool.bytes.eq(packer.late),
            pool.load.eq(loads.replicate(pool.channels)),
            queue.collect.eq(delay(m, collect, 2, "collect")),
            queue.sums.eq(pool.sums),
            queue.maxima.eq(pool.maxima),
        ]
        m.d.comb += self.state_done.eq(queue.state_done)
        m.d.comb += [getattr(self, name).eq(getattr(turns, name)) for name in self._outputs]
        wiring.connect(m, queue.pooled, wiring.flipped(self.pooled))
        return m
