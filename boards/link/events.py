"""Events: what the engine has said and nobody has copied yet."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from boards.packets import CLASS_BITS
from hw.interfaces import Decision, RowEvent, Status

PENDING = data.StructLayout({"row": 1, "decision": 1, "fault": 1})
"""Of each kind whether one waits; copied in this order, unless the fault is older."""


def class_byte(index):
    """`boards.packets.class_byte` of a signal, eight bits."""
    bits = [Const(0, 1)] * 8
    for place, bit in zip(CLASS_BITS, index, strict=False):
        bits[place] = bit
    return Cat(bits)


class Waiting(wiring.Signature):
    """Events that wait to be copied; from `Events` to `Copier`.

    Parameters
    ----------
    classes, row_groups : int
        K; of a frame.

    Members
    -------
    pending : Out(PENDING)
    before : Out(1)
        The fault that waits is older than the row and the decision that do.
    dumping : Out(1)
        The state is to be copied, until `dumped` or until nobody wants it any more.
    group : Out(range(row_groups))
        Of the last row event.
    index : Out(range(K)), rows_used : Out(range(row_groups + 1))
        Of the decision.
    status : Out(3)
        Of the fault.
    changed : Out(1), pulse
        A row event comes: from this cycle on its logits stand where those of the row and of the
        decision that wait, or are being copied, have been.
    copied : In(PENDING), pulses
        It need not wait any longer.
    dumped : In(1), pulse
        The last channel of the state has been copied.
    """

    def __init__(self, *, classes: int, row_groups: int):
        super().__init__(
            {
                "pending": Out(PENDING),
                "before": Out(1),
                "dumping": Out(1),
                "group": Out(range(row_groups)),
                "index": Out(range(classes)),
                "rows_used": Out(range(row_groups + 1)),
                "status": Out(3),
                "changed": Out(1),
                "copied": In(PENDING),
                "dumped": In(1),
            }
        )

    def __eq__(self, other):
        return type(self) is type(other) and self.members == other.members


class Events(wiring.Component):
    """Keeps a row, a decision and a frame's fault until they are copied.

    A fault may come in the cycle after a decision. An event that comes while one of its kind still
    waits takes its place, and one of them is lost; so is a row while the state is being copied. A
    row's event also takes the place of a decision, whose logits were those of the row before; so a
    decision never finds another one, as each that is OK comes after a row event of its own. What
    waits is copied as it came.

    Parameters
    ----------
    classes, row_groups : int
        K; of a frame.

    Ports
    -----
    row : In(RowEvent(K)), decision : In(Decision(K)), as the engine gives them
    rows, state : In(1), rows and the state are wanted
    waiting : Out(Waiting(K, row_groups))
    lost : Out(1), pulse: an event found no room; a row and a fault of one cycle count as one
    """

    def __init__(self, *, classes: int, row_groups: int):
        super().__init__(
            {
                "row": In(RowEvent(classes)),
                "decision": In(Decision(classes)),
                "rows": In(1),
                "state": In(1),
                "waiting": Out(Waiting(classes=classes, row_groups=row_groups)),
                "lost": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        waiting, decision = self.waiting, self.decision
        pending = waiting.pending
        lost_row, lost_fault = Signal(), Signal()  # they may come in one cycle
        m.d.comb += [waiting.changed.eq(self.row.valid), self.lost.eq(lost_row | lost_fault)]
        fault = decision.valid & (decision.status != Status.OK)
        with m.If(fault):
            m.d.sync += waiting.before.eq(0)
        with m.If(self.row.valid):
            m.d.sync += [pending.row.eq(self.rows | self.state), pending.decision.eq(0)]
            # one that comes with a row was waiting in the engine, behind a frame before the row's
            m.d.sync += [waiting.group.eq(self.row.group), waiting.before.eq(pending.fault | fault)]
            with m.If(self.state):
                m.d.sync += waiting.dumping.eq(1)
            m.d.comb += lost_row.eq(pending.row | pending.decision | waiting.dumping)
        with m.If(decision.valid):
            with m.If(decision.status == Status.OK):
                m.d.sync += [
                    pending.decision.eq(1),
                    waiting.index.eq(decision.index),
                    waiting.rows_used.eq(decision.rows_used),
                ]
            with m.Else():
                m.d.sync += [pending.fault.eq(1), waiting.status.eq(decision.status)]
                m.d.comb += lost_fault.eq(pending.fault)
        for kind in PENDING.members:
            with m.If(waiting.copied[kind]):
                m.d.sync += pending[kind].eq(0)
        with m.If(waiting.dumped | ~self.state):
            m.d.sync += waiting.dumping.eq(0)
        return m
