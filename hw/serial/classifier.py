"""The compact engine's classifier: a bit of a weight a cycle, everything in one memory."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.weights import LayerWeights
from hw.common import delay
from hw.parallel.classifier import _times
from hw.plan.beside import FACTOR_BITS, TOP, WAIT, SerialClassifierTiming
from hw.weight_sram import WeightSram


def words(first: LayerWeights, second: LayerWeights) -> list[int]:
    """Words of the memory, 16 bits: for each output bias, shift and weights, FC1, then FC2.

    FC1's biases have the half of the rounding in them.

    Raises
    ------
    ValueError
        If an FC1 shift is not 1..19.
    """
    found = []
    for layer, rounds in ((first, True), (second, False)):
        rows = layer.weight.reshape(layer.weight.shape[0], -1).tolist()
        for row, bias, shift in zip(rows, layer.bias.tolist(), layer.shift.tolist(), strict=True):
            if rounds and not 1 <= shift <= TOP:
                raise ValueError(f"a compact classifier's shifts must be 1..{TOP}, not {shift}")
            value = bias + (1 << shift - 1 if rounds else 0)
            found += [value & 0xFFFF, value >> 16 & 0xFFFF, shift, *(w & 0xFFFF for w in row)]
    return found


class SerialClassifier(wiring.Component):
    """Person or not: hw.parallel.classifier with one adder and one memory of 16 bits.

    The values p, then x and y, lie below the weights. A product takes eight cycles (hard-swish:
    eleven), for which there is time beside a row group.

    Bit-exact model: golden.classifier.

    Ports
    -----
    load_en, load_address, load_data : in, writes weights and constants (`words`) while idle
    person : out, logit1 > logit0
    and those of hw.parallel.classifier.Classifier, less its memories'. The outputs count in the
    cycle with `o_valid` only.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: int,
        columns: int,
        words: Sequence[int] = (),
        cells: str = "generic",
    ):
        self.channels, self.hidden, self.columns = channels, hidden, columns
        self.words, self.cells = list(words), cells
        self.count = SerialClassifierTiming(channels=channels, hidden=hidden).words
        self.sum_bits = (128 * columns - 1).bit_length() + 1
        super().__init__(
            {
                "p_en": In(1),
                "p_channel": In(range(channels)),
                "p_sum": In(signed(self.sum_bits)),
                "p_max": In(signed(8)),
                "start": In(1),
                "abort": In(1),  # the engine's: it resets the block
                "busy": Out(1),
                "stop_enable": In(1),
                "skip_enable": In(1),
                "stop_threshold": In(signed(32)),
                "skip_threshold": In(signed(32)),
                "o_valid": Out(1),
                "logit0": Out(signed(32)),
                "logit1": Out(signed(32)),
                "stop": Out(1),
                "skip": Out(1),
                "person": Out(1),
                "load_en": In(1),
                "load_address": In(range(self.count)),
                "load_data": In(16),
            }
        )

    @staticmethod
    def run_cycles(*, channels: int, hidden: int) -> int:
        """``start`` -> ``o_valid``, the same for all data."""
        return SerialClassifierTiming(channels=channels, hidden=hidden).cycles

    @property
    def cycles(self) -> int:
        return self.run_cycles(channels=self.channels, hidden=self.hidden)

    def elaborate(self, platform):
        m = Module()
        d, hidden = self.channels, self.hidden
        lowest = d + hidden  # first word of the weights
        # never read and written at once: one port would do
        memory = m.submodules.classifier_memory = WeightSram(
            depth=lowest + self.count,
            bits=16,
            init=[0] * lowest + self.words if self.words else (),
            cells=self.cells,
            compact=True,
        )
        found = memory.word

        # p = sum + n * max, one register
        p_en = delay(m, self.p_en, 1, "p_en")
        p_channel = delay(m, self.p_channel, 1, "p_channel", reset_less=True)
        p = Signal(signed(16), reset_less=True)
        m.d.sync += p.eq(self.p_sum + _times(self.p_max, self.columns))

        # value << i, its weight's bits, the sum
        value, factor = Signal(32, reset_less=True), Signal(FACTOR_BITS, reset_less=True)
        total = Signal(signed(32), reset_less=True)
        # `minus`: the last bit of a weight counts downwards; `double`: the sum goes up by a place
        clear, add, minus, double = (Signal(name=n) for n in ("clear", "add", "minus", "double"))
        addend = Signal(32)
        m.d.comb += addend.eq(Mux(double, total, Mux(minus, ~value, value)))
        m.d.sync += minus.eq(0)
        with m.If(clear):
            m.d.sync += total.eq(0)
        with m.Elif(add | double):
            m.d.sync += total.eq(total + addend + minus)
        m.d.sync += [value.eq(value << 1), factor.eq(factor >> 1)]

        # hard-swish: clip(x + 768, 0, 1536)
        raised = Signal(signed(14))
        m.d.comb += raised.eq(found[:13].as_signed() + 768)
        clipped = Mux(raised[-1], 0, Mux(raised[11:].any() | raised[9:11].all(), 1536, raised[:11]))

        # counters are set before they are used: without a reset, their bits share their controls
        left = Signal(6, reset_less=True)  # cycles of a state, less one; negative in the last one
        ending = Signal()
        # products of a sum that are still to come
        inputs = Signal(range(max(d, hidden)), reset_less=True)
        output = Signal(range(lowest), reset_less=True)  # d + its number: where x is written
        values = Signal(range(lowest), reset_less=True)
        weights = Signal(range(lowest + self.count), reset_less=True)
        second = Signal(reset_less=True)  # FC2
        rounding = Signal()  # of the hard-swish
        shift = Signal(5, reset_less=True)
        beyond, sign = Signal(reset_less=True), Signal(reset_less=True)
        x = Signal(signed(13))
        m.d.comb += [
            x.eq(Mux(beyond, Cat(~sign.replicate(12), sign).as_signed(), total[TOP:])),
            memory.address.eq(values),
        ]
        use_weights = Signal()
        with m.If(use_weights):
            m.d.comb += memory.address.eq(weights)
            m.d.sync += weights.eq(weights + 1)
        m.d.comb += [
            memory.write_en.eq(p_en | self.load_en),
            memory.write_address.eq(Mux(self.load_en, self.load_address + lowest, p_channel)),
            memory.write_data.eq(Mux(self.load_en, self.load_data, p)),
        ]
        m.d.sync += left.eq(left - 1)
        m.d.comb += ending.eq(left[-1])
        done, compared = Signal(), Signal()
        # inverted, because a sum takes fewer LUTs than a difference
        logit0_not = Signal(signed(32), reset_less=True)
        difference = Signal(signed(33), reset_less=True)  # less one

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    values.eq(0),
                    output.eq(d),
                    second.eq(0),
                    weights.eq(lowest),
                    left.eq(WAIT - 2),
                ]
                with m.If(self.start):
                    m.d.sync += self.busy.eq(1)
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(ending):
                    m.next = "BIAS_LOW"
            with m.State("BIAS_LOW"):  # ask for the bias' low half
                m.d.comb += [use_weights.eq(1), clear.eq(1)]
                m.d.sync += inputs.eq(Mux(second, hidden - 1, d - 1))
                m.next = "BIAS_HIGH"
            with m.State("BIAS_HIGH"):
                m.d.comb += use_weights.eq(1)
                m.d.sync += value.eq(found)
                m.next = "SHIFT"
            with m.State("SHIFT"):
                m.d.comb += [use_weights.eq(1), add.eq(1)]
                m.d.sync += [value.eq(found), left.eq(14), shift.eq(0)]
                m.next = "RAISE"
            with m.State("RAISE"):  # the high half goes up by 16
                with m.If(left == 14):
                    m.d.sync += shift.eq(found)
                with m.If(ending):
                    m.next = "BIAS"
            with m.State("BIAS"):
                m.d.comb += add.eq(1)
                m.next = "VALUE"
            with m.State("VALUE"):
                m.d.sync += values.eq(values + 1)
                m.next = "WEIGHT"
            with m.State("WEIGHT"):
                m.d.comb += use_weights.eq(1)
                m.d.sync += value.eq(found.as_signed())
                m.next = "READY"
            with m.State("READY"):
                m.d.sync += [factor.eq(found[:8]), value.eq(value), left.eq(6)]
                m.next = "PRODUCT"
            with m.State("PRODUCT"):
                m.d.comb += add.eq(factor[0])
                m.d.sync += minus.eq(left == 0)
                with m.If(ending):
                    m.d.sync += inputs.eq(inputs - 1)
                    m.next = "VALUE"
                    with m.If(inputs == 0):
                        m.d.sync += [values.eq(Mux(second, d, 0)), left.eq(TOP - 2)]
                        with m.If(second):
                            m.next = "LOGIT"
                        with m.Else():
                            m.next = "ALIGN"
                            m.d.sync += [beyond.eq(0), double.eq(shift != TOP)]
            with m.State("ALIGN"):  # x to the upper bits, unless it is too large for them
                with m.If(left == TOP - 2):
                    m.d.sync += sign.eq(total[31])
                # TOP - shift times
                m.d.sync += double.eq(double & (left + 1 != shift))
                with m.If(double & (total[31] != total[30])):
                    m.d.sync += beyond.eq(1)
                with m.If(ending):
                    m.next = "X"
            with m.State("X"):
                m.d.comb += [
                    memory.write_en.eq(1),
                    memory.write_address.eq(output),
                    memory.write_data.eq(x),
                ]
                m.d.sync += output.eq(output + 1)
                m.next = "BIAS_LOW"
                with m.If(output == lowest - 1):
                    m.d.sync += [values.eq(d), output.eq(d)]
                    m.next = "SWISH_READ"
            with m.State("SWISH_READ"):
                m.d.comb += [clear.eq(1), rounding.eq(1)]
                m.next = "FACTOR"
            with m.State("FACTOR"):
                m.d.sync += [
                    value.eq(found.as_signed()),
                    factor.eq(clipped),
                    left.eq(FACTOR_BITS - 2),
                ]
                m.next = "SWISH"
            with m.State("SWISH"):
                m.d.comb += add.eq(factor[0])
                with m.If(ending):
                    m.next = "Y"
            with m.State("Y"):
                m.d.comb += [
                    memory.write_en.eq(1),
                    memory.write_address.eq(values),
                    memory.write_data.eq(total[8:]),
                ]
                m.d.sync += [values.eq(values + 1), output.eq(output + 1)]
                m.next = "SWISH_READ"
                with m.If(output == lowest - 1):
                    m.d.sync += [values.eq(d), output.eq(d), second.eq(1)]
                    m.next = "BIAS_LOW"
            with m.State("LOGIT"):
                m.d.sync += output.eq(d + 1)
                m.next = "BIAS_LOW"
                with m.If(output[0] == (d & 1)):
                    m.d.sync += logit0_not.eq(~total)
                with m.Else():
                    m.d.comb += done.eq(1)
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"
        with m.If(clear & rounding):
            m.d.sync += total[7].eq(1)
        m.d.sync += [
            compared.eq(done),
            difference.eq(total + logit0_not),
            self.o_valid.eq(compared),
        ]
        m.d.comb += [
            self.logit0.eq(~logit0_not),
            self.logit1.eq(total),
            self.person.eq(~difference[-1]),
            self.stop.eq(self.stop_enable & (difference + 1 >= self.stop_threshold)),
            self.skip.eq(self.skip_enable & (difference < self.skip_threshold)),
        ]
        return m
