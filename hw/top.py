"""Top level: the engine with plain Verilog ports."""

from amaranth.hdl import Module
from amaranth.lib import wiring

from golden.config import ModelConfig
from golden.weights import Weights
from hw.plan import Plan, compile_program
from hw.plan.engine_config import EngineConfig, config_digest
from hw.row_engine import RowEngine
from hw.serial.engine import CompactEngine


class Rasca(wiring.Component):
    """The whole accelerator.

    Parameters
    ----------
    model : ModelConfig
    engine : EngineConfig
    weights : golden.weights.Weights
        First contents of the weight memories.

    Ports
    -----
    pixel_valid, pixel_red, pixel_green, pixel_blue, pixel_sof, pixel_eol : in
        One pixel in each cycle with `pixel_valid`; `pixel_sof` marks a frame's first pixel,
        `pixel_eol` each line's last. One-channel networks read `pixel_red`. Never stalls.
    frame_end : in, pulse: the camera says that the frame is over
    stop_enable, stop_threshold, skip_enable, skip_threshold : in
        Early termination: on `logit1 - logit0` (signed 32 bits).
    row_valid, row_group, row_logit0, row_logit1 : out, after each row group
    decision_valid, decision_person, decision_logit0, decision_logit1, decision_rows_used,
    decision_status : out, one for each accepted frame; status as in hw.line_buffer.Status
    count_overrun, count_truncated, count_line, count_restart, count_dropped : out, 16 bits
    busy : out
    state_read, state_channel, state_word : in, pulse; state_valid, state_data : out
        Reads a word (P columns) of a channel of the state, valid from a row event until the next
        row group's last layer. One read at a time.
    load_valid, load_data, load_last : in, load_ready, load_error : out
        Weights image (hw.image), a byte a cycle, while nothing runs.
    weights_digest : out, CRC-32 of the image in the memories, 0 while there is none
    frame_start : out, pulse in the first step of a frame
    """

    def __init__(self, model: ModelConfig, engine: EngineConfig, weights: Weights):
        self.plan: Plan = compile_program(model, engine)
        self.engine = (CompactEngine if engine.compact else RowEngine)(self.plan, weights)
        self.config_digest = config_digest(model, engine)
        super().__init__(self.engine.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = self.engine
        for name, member in self.signature.members.items():
            inner, outer = getattr(self.engine, name), getattr(self, name)
            if member.flow is wiring.In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)
        return m
