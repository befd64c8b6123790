"""Events: answers and decisions, kept and counted for registers."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.interfaces import LOGIT, Decision, RowEvent, Status


class Events(wiring.Component):
    """Counts answers and decisions and tells of them in the cycle in which registers have them.

    Parameters
    ----------
    classes : int
        K.

    Ports
    -----
    row : In(RowEvent(K)), decision : In(Decision(K)), loaded : In(1)
    rows, frames : Out(32)
        Row groups answered, decisions.
    group : Out(16), row_logits : Out(signed(32)).array(K)
        Of the last answer.
    row_now, decision_now, fault_now, loaded_now : Out(1), pulse
        An answer, a decision, one that is not OK; weights are complete.
    """

    def __init__(self, *, classes: int):
        super().__init__(
            {
                "row": In(RowEvent(classes)),
                "decision": In(Decision(classes)),
                "loaded": In(1),
                "rows": Out(32),
                "frames": Out(32),
                "group": Out(16),
                "row_logits": Out(LOGIT).array(classes),
                "row_now": Out(1),
                "decision_now": Out(1),
                "fault_now": Out(1),
                "loaded_now": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        row, decision = self.row, self.decision
        was_loaded = Signal()
        m.d.sync += [
            self.row_now.eq(row.valid),
            self.decision_now.eq(decision.valid),
            self.fault_now.eq(decision.valid & (decision.status != Status.OK)),
            was_loaded.eq(self.loaded),
            self.loaded_now.eq(self.loaded & ~was_loaded),
        ]
        with m.If(row.valid):
            m.d.sync += [self.rows.eq(self.rows + 1), self.group.eq(row.group)]
            for kept, logit in zip(self.row_logits, row.logits, strict=True):
                m.d.sync += kept.eq(logit)
        with m.If(decision.valid):
            m.d.sync += self.frames.eq(self.frames + 1)
        return m
