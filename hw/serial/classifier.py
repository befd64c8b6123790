"""The serial engine's classifier: a bit of a weight a cycle, everything in one memory."""

from collections.abc import Sequence
from types import SimpleNamespace

from amaranth.hdl import C, Cat, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from golden.weights import LayerWeights
from hw.arithmetic.multiplier import times
from hw.common import delay
from hw.interfaces import LOGIT, Classify, write_port
from hw.plan.beside import FACTOR_BITS, TOP, WAIT, SerialClassifierTiming, check_classes
from hw.plan.limits import SERIAL
from hw.weight_sram import WeightSram


def words(first: LayerWeights, second: LayerWeights) -> list[int]:
    """Words of the memory, 16 bits: for each output bias, shift and weights, FC1, then FC2. A word
    has two weights, the first one in its lower byte.

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
                raise ValueError(
                    f"a {SERIAL.called} classifier's shifts must be 1..{TOP}, not {shift}"
                )
            value = bias + (1 << shift - 1 if rounds else 0)
            pairs = zip(row[::2], [*row[1::2], 0], strict=False)
            two = [low & 0xFF | (high & 0xFF) << 8 for low, high in pairs]
            found += [value & 0xFFFF, value >> 16 & 0xFFFF, shift, *two]
    return found


class SerialClassifier(wiring.Component):
    """Which class: hw.parallel.classifier with one adder and one memory of 16 bits.

    The values p, then x and y, lie below the weights. A product takes eight cycles (hard-swish:
    eleven), for which there is time beside a row group.

    Bit-exact model: golden.classifier.

    Parameters
    ----------
    channels, hidden, columns, classes, stop_class : int
        As hw.parallel.classifier.Classifier has them, `columns` at most 128.
    words : sequence of int
        First contents as `words` gives them; may be empty.
    cells : str
        Kind of memories, see hw.weight_sram.

    Attributes
    ----------
    cycles : int
        From ``start`` to ``answer.valid``, the same for all data.

    Ports
    -----
    pooled, start, abort, busy, thresholds, answer : those of hw.interfaces.Classify
        `abort` resets the block; `busy` ends two cycles before ``answer.valid``; `thresholds` are
        read in the cycle with ``answer.valid``, in which alone all of `answer` but its logits
        counts.
    load : Out(write_port(count, 16))
        Writes weights and constants (`words`) while idle.

    Raises
    ------
    ValueError
        If there is no such number of columns, of classes, or no such stop class.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: int,
        columns: int,
        classes: int = 2,
        stop_class: int = 1,
        words: Sequence[int] = (),
        cells: str = "generic",
    ):
        check_classes(classes, stop_class)
        if not 1 <= columns <= SERIAL.columns:
            raise ValueError(f"columns must be 1..{SERIAL.columns}, not {columns}")
        assert 256 * SERIAL.columns <= 1 << 15, "p is a word"
        self.channels, self.hidden, self.columns = channels, hidden, columns
        self.classes, self.stop_class = classes, stop_class
        self.words, self.cells = list(words), cells
        self.timing = SerialClassifierTiming(channels=channels, hidden=hidden, classes=classes)
        self.count = self.timing.words
        super().__init__(
            {
                **Classify(channels=channels, columns=columns, classes=classes).members,
                "load": Out(write_port(self.count, 16)),
            }
        )

    @property
    def cycles(self) -> int:
        """``start`` -> ``answer.valid``."""
        return self.timing.cycles

    def elaborate(self, platform):
        m = Module()
        r = self._registers(m)
        found = self._memory(m, r)
        self._clip(m, r, found)
        with m.FSM():
            self._begin(m, r, found)
            self._product(m, r, found)
            self._x(m, r)
            self._swish(m, r, found)
            self._logit(m, r)
        with m.If(r.clear & r.rounding):
            m.d.sync += r.total[7].eq(1)
        self._answer(m, r)
        return ResetInserter({"sync": self.abort})(m)

    def _registers(self, m):
        """Signals of the states; the sum that they work on."""
        d, lowest = self.channels, self.channels + self.hidden
        outputs = lowest if self.classes == 2 else max(lowest, d + self.classes)
        # counters are set before they are used: without a reset, their bits share their controls
        shapes = {
            "value": 32,
            "factor": FACTOR_BITS,
            "total": signed(32),
            "left": 6,  # cycles of a state, less one; negative in the last one
            "inputs": range(max(d, self.hidden)),  # products of a sum that are still to come
            "output": range(outputs),  # d + its number: where x is written
            "values": range(lowest),
            "weights": range(lowest + self.count),
            "second": 1,  # FC2
            "upper": 1,  # the next weight is in the upper byte
            "shift": 5,
            "beyond": 1,
            "sign": 1,
            "no_inputs": 1,  # `inputs` is 0, `output` that of the last x: a cycle late
            "last_x": 1,
            "fresh": 1,  # RAISE, ALIGN have just begun
            "aligned": 1,  # ALIGN: the sum is doubled for the last time
        }
        r = SimpleNamespace(
            **{name: Signal(shape, name=name, reset_less=True) for name, shape in shapes.items()}
        )
        # `minus`: the last bit of a weight counts downwards; `double`: the sum goes up by a place;
        # `rounding`: of the hard-swish
        names = ["clear", "add", "minus", "double", "ending", "rounding", "done"]
        # registers that say what the memory does, set with the state before: it reads a weight
        # (else a value), x or y is written
        # (and the next one is not read after it: a weight, which has half a word)
        for name in (*names, "use_weights", "halves", "write_x", "write_y"):
            setattr(r, name, Signal(name=name))
        # value << i, its weight's bits, the sum
        addend = Signal(32)
        m.d.comb += [
            addend.eq(Mux(r.double, r.total, Mux(r.minus, ~r.value, r.value))),
            r.ending.eq(r.left[-1]),
        ]
        m.d.sync += [
            *[
                getattr(r, n).eq(0)
                for n in ("minus", "fresh", "use_weights", "halves", "write_x", "write_y")
            ],
            r.no_inputs.eq(r.inputs == 0),
            r.last_x.eq(r.output == self.channels + self.hidden - 1),
        ]
        with m.If(r.clear):
            m.d.sync += r.total.eq(0)
        with m.Elif(r.add | r.double):
            m.d.sync += r.total.eq(r.total + addend + r.minus)
        m.d.sync += [
            r.value.eq(r.value << 1),
            r.factor.eq(r.factor >> 1),
            r.left.eq(r.left - 1),
        ]
        return r

    def _memory(self, m, r):
        """Values and weights; p is written as it comes. Returns what is read."""
        pooled, lowest = self.pooled, self.channels + self.hidden
        # never read and written at once: one port would do
        memory = m.submodules.classifier_memory = WeightSram(
            depth=lowest + self.count,
            bits=16,
            init=[0] * lowest + self.words if self.words else (),
            cells=self.cells,
            registered=False,
        )
        # p = sum + n * max, one register
        en = delay(m, pooled.en, 1, "p_en")
        channel = delay(m, pooled.channel, 1, "p_channel", reset_less=True)
        p = Signal(signed(16), reset_less=True)
        m.d.sync += p.eq(pooled.sum + times(pooled.max, self.columns))
        r.onward = Signal(name="onward")  # a word's last weight is there
        with m.If((r.use_weights & ~r.halves) | r.onward):
            m.d.sync += r.weights.eq(r.weights + 1)
        x = Signal(signed(13))
        m.d.comb += x.eq(
            Mux(r.beyond, Cat(~r.sign.replicate(12), r.sign).as_signed(), r.total[TOP:])
        )
        load, write = self.load, memory.write
        here = Mux(r.write_x, r.output, Mux(r.use_weights, r.weights, r.values))
        outside = Mux(load.en, load.addr + lowest, channel)
        m.d.comb += [
            write.en.eq(en | load.en | r.write_x | r.write_y),
            # one for both ports
            memory.address.eq(Mux(en | load.en, outside, here)),
            write.addr.eq(memory.address),
            write.data.eq(
                Mux(r.write_x, x, Mux(r.write_y, r.total[8:], Mux(load.en, load.data, p)))
            ),
        ]
        return memory.word

    def _begin(self, m, r, found):
        """States up to a sum's bias."""
        d, hidden = self.channels, self.hidden
        with m.State("IDLE"):
            m.d.sync += [
                r.values.eq(0),
                r.output.eq(d),
                r.second.eq(0),
                r.weights.eq(d + hidden),
                r.left.eq(WAIT - 2),
            ]
            with m.If(self.start):
                m.d.sync += self.busy.eq(1)
                m.next = "WAIT"
        with m.State("WAIT"):
            with m.If(r.ending):
                self._to_bias(m, r)
        with m.State("BIAS_LOW"):  # ask for the bias' low half
            m.d.comb += r.clear.eq(1)
            m.d.sync += [r.inputs.eq(Mux(r.second, hidden - 1, d - 1)), r.use_weights.eq(1)]
            m.d.sync += r.upper.eq(0)
            m.next = "BIAS_HIGH"
        with m.State("BIAS_HIGH"):
            m.d.sync += [r.value.eq(found), r.use_weights.eq(1)]
            m.next = "SHIFT"
        with m.State("SHIFT"):
            m.d.comb += r.add.eq(1)
            m.d.sync += [r.value.eq(found), r.left.eq(14), r.shift.eq(0), r.fresh.eq(1)]
            m.next = "RAISE"
        with m.State("RAISE"):  # the high half goes up by 16
            with m.If(r.fresh):
                m.d.sync += r.shift.eq(found)
            with m.If(r.ending):
                m.next = "BIAS"
        with m.State("BIAS"):
            m.d.comb += r.add.eq(1)
            m.next = "VALUE"

    @staticmethod
    def _to_bias(m, r):
        """The next state asks for a bias."""
        m.d.sync += r.use_weights.eq(1)
        m.next = "BIAS_LOW"

    def _product(self, m, r, found):
        """States of a value times its weight."""
        with m.State("VALUE"):
            m.d.sync += [r.values.eq(r.values + 1), r.use_weights.eq(1), r.halves.eq(1)]
            m.next = "WEIGHT"
        with m.State("WEIGHT"):
            m.d.sync += r.value.eq(found.as_signed())
            m.next = "READY"
        with m.State("READY"):
            m.d.comb += r.onward.eq(r.upper | r.no_inputs)
            m.d.sync += [
                r.factor.eq(Mux(r.upper, found[8:], found[:8])),
                r.upper.eq(~r.upper),
                r.value.eq(r.value),
                r.left.eq(6),
            ]
            m.next = "PRODUCT"
        with m.State("PRODUCT"):
            m.d.comb += r.add.eq(r.factor[0])
            m.d.sync += r.minus.eq(r.left == 0)
            # what ALIGN begins with, which may not be next
            with m.If(r.ending):
                m.d.sync += [
                    r.inputs.eq(r.inputs - 1),
                    r.left.eq(TOP - 2),
                    r.fresh.eq(1),
                    r.beyond.eq(0),
                    r.aligned.eq(r.shift == TOP - 1),
                ]
                m.next = "VALUE"
                with m.If(r.no_inputs):
                    m.d.sync += r.values.eq(Mux(r.second, self.channels, 0))
                    with m.If(r.second):
                        m.next = "LOGIT"
                    with m.Else():
                        m.next = "ALIGN"
                        m.d.sync += r.double.eq(r.shift != TOP)

    def _x(self, m, r):
        """States that make x of an FC1 sum."""
        d = self.channels
        with m.State("ALIGN"):  # x to the upper bits, unless it is too large for them
            with m.If(r.fresh):
                m.d.sync += r.sign.eq(r.total[31])
            # TOP - shift times; `left` is one less in the next cycle
            m.d.sync += [r.double.eq(r.double & ~r.aligned), r.aligned.eq(r.left == r.shift)]
            with m.If(r.double & (r.total[31] != r.total[30])):
                m.d.sync += r.beyond.eq(1)
            m.d.sync += r.write_x.eq(r.ending)
            with m.If(r.ending):
                m.next = "X"
        with m.State("X"):
            m.d.sync += r.output.eq(r.output + 1)
            with m.If(r.last_x):
                m.d.sync += [r.values.eq(d), r.output.eq(d)]
                m.next = "SWISH_READ"
            with m.Else():
                self._to_bias(m, r)

    @staticmethod
    def _clip(m, r, found):
        """clip(x + 768, 0, 1536) of the x that is read: 3 and 6 times 256, so that all hangs on its
        upper bits."""
        r.clipped, upper = Signal(FACTOR_BITS, name="clipped"), found[8:13]
        with m.Switch(upper):
            for value in range(-3, 3):
                with m.Case(value % 32):
                    m.d.comb += r.clipped.eq(Cat(found[:8], C(value + 3, 3)))
            with m.Default():
                m.d.comb += r.clipped.eq(Mux(upper[-1], 0, 1536))

    def _swish(self, m, r, found):
        """States that make y of x: hard-swish, with the factor that `_clip` makes."""
        d = self.channels
        with m.State("SWISH_READ"):
            m.d.comb += [r.clear.eq(1), r.rounding.eq(1)]
            m.next = "FACTOR"
        with m.State("FACTOR"):
            m.d.sync += [
                r.value.eq(found.as_signed()),
                r.factor.eq(r.clipped),
                r.left.eq(FACTOR_BITS - 2),
            ]
            m.next = "SWISH"
        with m.State("SWISH"):
            m.d.comb += r.add.eq(r.factor[0])
            m.d.sync += r.write_y.eq(r.ending)
            with m.If(r.ending):
                m.next = "Y"
        with m.State("Y"):
            m.d.sync += [r.values.eq(r.values + 1), r.output.eq(r.output + 1)]
            m.next = "SWISH_READ"
            with m.If(r.last_x):
                m.d.sync += [r.values.eq(d), r.output.eq(d), r.second.eq(1)]
                self._to_bias(m, r)

    def _logit(self, m, r):
        """State of a complete logit; with more than two classes the largest is found on the way."""
        d = self.channels
        # inverted, because a sum takes fewer LUTs than a difference
        others_not = Signal(LOGIT, reset_less=True, name="others_not")
        r.margin = Signal(signed(33), reset_less=True, name="margin")  # less one
        if self.classes == 2:
            last = r.output[0] != (d & 1)
            r.logits = [~others_not, r.total]
            own, other = r.total, others_not
            if self.stop_class == 0:
                own, other = ~others_not, ~r.total
            m.d.sync += r.margin.eq(own + other)
        else:
            last = r.output == d + self.classes - 1
            kept = [
                Signal(LOGIT, name=f"kept{i}", reset_less=True) for i in range(self.classes - 1)
            ]
            r.largest = Signal(range(self.classes), reset_less=True, name="largest")
            r.logits = logits = [*kept, r.total]
            m.d.sync += r.margin.eq(logits[self.stop_class] + others_not)
            first = r.output == (d + 1 if self.stop_class == 0 else d)
        with m.State("LOGIT"):
            m.d.sync += r.output.eq(d + 1 if self.classes == 2 else r.output + 1)
            self._to_bias(m, r)
            if self.classes > 2:
                larger = first | ~(r.total + others_not)[-1]
                with m.If((r.output != d + self.stop_class) & larger):
                    m.d.sync += [others_not.eq(~r.total), r.largest.eq(r.output - d)]
            with m.If(~last):
                if self.classes == 2:
                    m.d.sync += others_not.eq(~r.total)
                else:
                    m.d.sync += [k.eq(v) for k, v in zip(kept, logits[1:], strict=True)]
            with m.Else():
                m.d.comb += r.done.eq(1)
                m.d.sync += [self.busy.eq(0), r.use_weights.eq(0)]
                m.next = "IDLE"

    def _answer(self, m, r):
        compared, limits, answer, c = Signal(), self.thresholds, self.answer, self.stop_class
        m.d.sync += [compared.eq(r.done), answer.valid.eq(compared)]
        # the sum moves with the next run, and a row event may wait longer to be told
        for i, (out, logit) in enumerate(zip(answer.logits, r.logits, strict=True)):
            told = Signal(LOGIT, reset_less=True, name=f"told{i}")
            m.d.comb += out.eq(told)
            with m.If(compared & ~self.abort):
                m.d.sync += told.eq(logit)
        equal = r.margin.all()
        larger = ~r.margin[-1]
        m.d.comb += [
            answer.stop.eq(limits.stop_enable & (r.margin + 1 >= limits.stop)),
            answer.skip.eq(limits.skip_enable & (r.margin < limits.skip)),
        ]
        if self.classes > 2:
            index = Mux(larger | (equal & (c < r.largest)), c, r.largest)
        else:
            index = larger if c else ~(larger | equal)
        m.d.comb += answer.index.eq(index)
