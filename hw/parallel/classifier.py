"""Classifier: pooled state, FC, hard-swish, FC, decision; on one multiplier beside the array."""

from collections.abc import Sequence
from enum import IntEnum

from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.plan.beside import POOL_STAGES, SHIFT_BITS, ClassifierTiming, tree_cycles

X_BITS = 13  # x, scale 1/256: -4096..4095
A_BITS = 18  # operand that carries p, y, or x * 32
_DIGIT_BITS = 5  # the hard-swish factor (0..1536, 11 bits) is multiplied in two digits
_LIMIT = 2**30  # half the range of the 32-bit accumulator; the bias has the rest
_HIDDEN_LIMIT = _LIMIT // (24570 * 127)
_POOLED_LIMIT = _LIMIT // (2 * 127 * 127)


class Phase(IntEnum):
    """What the issue stage does."""

    IDLE = 0
    FC1 = 1
    FC1_WAIT = 2
    SWISH_WAIT = 3
    SWISH = 4
    FC2_WAIT = 5
    FC2 = 6


class Kind(IntEnum):
    """What a product belongs to. One bit each for the hard-swish and FC2."""

    FC1 = 0
    SWISH = 1
    FC2 = 2


def _times(value: Value, factor: int) -> Value:
    """``value * factor`` in shifts, sums and differences: no tool makes a DSP block of it."""
    total, shift = Const(0), 0
    while factor:
        if factor & 1:
            # A run of ones costs one difference
            digit = 2 - (factor & 3)
            total = total + (value << shift) if digit == 1 else total - (value << shift)
            factor -= digit
        factor >>= 1
        shift += 1
    return total


class TreeMultiplier(wiring.Component):
    """Product of two numbers in a pipelined tree of adders, one adder between registers.

    Written as rows and sums so that no tool spends a DSP block on it: those belong to the array.
    A new pair of operands may come every cycle.

    Parameters
    ----------
    a_shape, b_shape : shape
        Shapes of the operands, signed or unsigned. ``b`` (at least 2 bits) selects the rows: give
        the narrow one.

    Attributes
    ----------
    latency : int
        Cycles from operands to product, ``ceil(log2(len(b)))``.

    Ports
    -----
    a : In(a_shape)
    b : In(b_shape)
    o : Out(len(a) + len(b) bits, signed if a or b is)
    """

    def __init__(self, *, a_shape, b_shape):
        a_shape, b_shape = Shape.cast(a_shape), Shape.cast(b_shape)
        if a_shape.width < 1:
            raise ValueError(f"a must have at least 1 bit, not {a_shape.width}")
        if b_shape.width < 2:
            raise ValueError(f"b must have at least 2 bits, not {b_shape.width}")
        self.latency = self.cycles(b_bits=b_shape.width)
        super().__init__(
            {
                "a": In(a_shape),
                "b": In(b_shape),
                "o": Out(Shape(a_shape.width + b_shape.width, a_shape.signed or b_shape.signed)),
            }
        )

    @staticmethod
    def cycles(*, b_bits: int) -> int:
        """Latency for a ``b`` of so many bits."""
        return tree_cycles(b_bits)

    def elaborate(self, platform):
        m = Module()
        bits, b = len(self.b), self.b.as_unsigned()
        signed_b = Shape.cast(self.b.shape()).signed
        rows: list[tuple[Value, int]] = [(Mux(b[i], self.a, 0), i) for i in range(bits)]
        # Stages 1..latency: neighbours meet; the sign row of b is subtracted.
        for level in range(self.latency):
            sums = []
            for i in range(0, len(rows), 2):
                low, shift = rows[i]
                negative = signed_b and level == 0
                if i + 1 < len(rows):
                    high = rows[i + 1][0] << (rows[i + 1][1] - shift)
                    last = negative and i + 1 == bits - 1
                    value = low - high if last else low + high
                else:
                    value = -low if negative and i == bits - 1 else low
                total = Signal(value.shape(), name=f"sum{level + 1}_{i // 2}", reset_less=True)
                m.d.sync += total.eq(value)
                sums.append((total, shift))
            rows = sums
        m.d.comb += self.o.eq(rows[0][0])
        return m


def constant_words(
    fc1: Sequence[tuple[int, int]], fc2: Sequence[int], *, bias_bits: int = 27
) -> list[int]:
    """Words of the constants memory: ``(bias, shift)`` of each FC1 output, then FC2's biases.

    An FC1 word is ``bias + (shift << bias_bits)``, an FC2 word the 32-bit bias (two's complement).
    """
    words = []
    for bias, shift in fc1:
        if not -(1 << bias_bits - 1) <= bias < 1 << bias_bits - 1:
            raise ValueError(f"an FC1 bias must fit {bias_bits} signed bits, not {bias}")
        if not 1 <= shift <= 31:
            raise ValueError(f"an FC1 shift must be 1..31, not {shift}")
        words.append((bias & (1 << bias_bits) - 1) | shift << bias_bits)
    for bias in fc2:
        if not -(2**31) <= bias < 2**31:
            raise ValueError(f"an FC2 bias must fit 32 signed bits, not {bias}")
        words.append(bias & 0xFFFFFFFF)
    return words


class Classifier(wiring.Component):
    """Person or not, from the pooled state, with the two comparisons of early termination.

    Eq. 14 and Sec. 3.5 of the paper::

        p = sum_j H + n * max_j H
        x = saturate13((W1 p + b1 + half) >> shift)
        y = (x * clip(x + 768, 0, 1536) + 128) >> 8
        logits = W2 y + b2
        stop = logit1 - logit0 >= stop_threshold;  skip = logit1 - logit0 <= skip_threshold

    Bit-exact model: golden.classifier.

    One multiplier, 18 x 8 bits, makes every product, beside the array. The factor of the hard-swish
    has 11 bits and is taken as two digits: ``x * t = (32 x) * (t >> 5) + x * (t & 31)``.
    The values p, then x and y, lie in one memory; weights and constants in two more, loadable while
    the block is idle.

    Parameters
    ----------
    channels : int
        d, channels of the state, at least 1.
    hidden : int
        Outputs of FC1, 1..344.
    columns : int
        n, 1..512; d * n at most 33286 (32-bit accumulator).
    bias_bits : int
        Signed bits of an FC1 bias, 2..32; the bias itself at most 2**30 in size.
    weights : sequence of int or None
        First contents, -128..127: W1 row after row (an output's d weights), then W2. None: zeros.
    constants : sequence of int or None
        First contents as `constant_words` gives them. None: zeros; a shift of 0 is no valid
        constant, so such a block must be loaded before its first run.

    Attributes
    ----------
    cycles : int
        From ``start`` to ``o_valid``, the same for all data; with h for
        hidden, ``h d + (h - 1) max(0, 32 - d) + max(44 - 2h, 32) + max(0, 10 - h) + 4h + 14``.

    Ports
    -----
    p_en : In(1)
        One channel's pooled values are there; at most one a cycle, any order, not while busy.
    p_channel : In(range(channels))
    p_sum : In(signed, holds 128 * n)
        Sum over the n columns of H.
    p_max : In(signed(8))
        Maximum over the n columns of H.
    start : In(1)
        Pulse, from the cycle after the last ``p_en`` on. Ignored while busy.
    abort : In(1)
        Forgets the run in progress: no ``o_valid``, outputs unchanged, ready for a start in the
        next cycle. Wins over ``start``. Stored p stay.
    busy : Out(1)
        From the cycle after ``start`` to the cycle before ``o_valid``.
    stop_enable, skip_enable : In(1)
    stop_threshold, skip_threshold : In(signed(32))
        Read in the two cycles before ``o_valid``.
    o_valid : Out(1)
        Pulse; the outputs below change only with it.
    logit0, logit1 : Out(signed(32))
        Not person, person.
    stop, skip : Out(1)
    w_en : In(1), w_addr : In(range(words)), w_data : In(8)
        Write a weight byte while idle.
    c_en : In(1), c_addr : In(range(hidden + 2)), c_data : In(`constant_bits`)
        Write a constants word while idle.

    Not handled: logits beyond 32 bits wrap (the quantiser keeps b2 small enough). Weights and state
    are at home in -127..127; -128 also works but for sizes at the limit.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: int,
        columns: int,
        bias_bits: int = 27,
        weights: Sequence[int] | None = None,
        constants: Sequence[int] | None = None,
    ):
        if channels < 1:
            raise ValueError(f"channels must be at least 1, not {channels}")
        if not 1 <= hidden <= _HIDDEN_LIMIT:
            raise ValueError(f"hidden must be 1..{_HIDDEN_LIMIT}, not {hidden}")
        if not 1 <= columns <= 2 ** (A_BITS - 1) // 256:
            raise ValueError(f"columns must be 1..{2 ** (A_BITS - 1) // 256}, not {columns}")
        if channels * columns > _POOLED_LIMIT:
            raise ValueError(
                f"channels * columns must be at most {_POOLED_LIMIT} "
                f"(32-bit accumulator), not {channels * columns}"
            )
        if not 2 <= bias_bits <= 32:
            raise ValueError(f"bias_bits must be 2..32, not {bias_bits}")
        self.channels, self.hidden = channels, hidden
        self.columns, self.bias_bits = columns, bias_bits
        weights = [0] * self.weight_words if weights is None else list(weights)
        constants = [0] * self.constant_count if constants is None else list(constants)
        if len(weights) != self.weight_words:
            raise ValueError(
                f"weights must be hidden * (channels + 2) = {self.weight_words} numbers, "
                f"not {len(weights)}"
            )
        if any(not -128 <= value <= 127 for value in weights):
            raise ValueError("weights must be -128..127")
        if len(constants) != self.constant_count:
            raise ValueError(
                f"constants must be hidden + 2 = {self.constant_count} words, not {len(constants)}"
            )
        if any(not 0 <= value < 1 << self.constant_bits for value in constants):
            raise ValueError(f"constants must be words of {self.constant_bits} bits")
        self.weights, self.constants = weights, constants
        super().__init__(
            {
                "p_en": In(1),
                "p_channel": In(max(1, (channels - 1).bit_length())),
                "p_sum": In(signed((128 * columns - 1).bit_length() + 1)),
                "p_max": In(signed(8)),
                "start": In(1),
                "abort": In(1),
                "busy": Out(1),
                "stop_enable": In(1),
                "stop_threshold": In(signed(32)),
                "skip_enable": In(1),
                "skip_threshold": In(signed(32)),
                "o_valid": Out(1),
                "logit0": Out(signed(32)),
                "logit1": Out(signed(32)),
                "stop": Out(1),
                "skip": Out(1),
                "w_en": In(1),
                "w_addr": In((self.weight_words - 1).bit_length()),
                "w_data": In(8),
                "c_en": In(1),
                "c_addr": In((self.constant_count - 1).bit_length()),
                "c_data": In(self.constant_bits),
            }
        )
        self._timing = ClassifierTiming(channels=channels, hidden=hidden)

    # ---- sizes ----

    @property
    def weight_words(self) -> int:
        """Bytes of the weight memory."""
        return self.memory_shapes["weights"][0]

    @property
    def constant_count(self) -> int:
        """Words of the constants memory."""
        return self.memory_shapes["constants"][0]

    @property
    def constant_bits(self) -> int:
        """Bits of a word of the constants memory."""
        return self.memory_shapes["constants"][1]

    @property
    def pooled_bits(self) -> int:
        """Signed bits of p."""
        return (256 * self.columns - 1).bit_length() + 1

    @property
    def values_shape(self) -> tuple[int, int]:
        """Words and bits of the memory of p, x and y."""
        return self.memory_shapes["values"]

    @property
    def memory_shapes(self) -> dict[str, tuple[int, int]]:
        """Words and bits of the memories."""
        return self.shapes(
            channels=self.channels,
            hidden=self.hidden,
            columns=self.columns,
            bias_bits=self.bias_bits,
        )

    @staticmethod
    def shapes(
        *, channels: int, hidden: int, columns: int, bias_bits: int
    ) -> dict[str, tuple[int, int]]:
        """Words and bits of a classifier's memories, without building one."""
        return ClassifierTiming(channels=channels, hidden=hidden).shapes(
            columns=columns, bias_bits=bias_bits
        )

    @staticmethod
    def run_cycles(*, channels: int, hidden: int) -> int:
        """``start`` -> ``o_valid`` of a classifier of these sizes, without building one."""
        return ClassifierTiming(channels=channels, hidden=hidden).cycles

    @property
    def cycles(self) -> int:
        """``start`` -> ``o_valid``."""
        return self._timing.cycles

    def elaborate(self, platform):
        m = Module()
        d, hidden = self.channels, self.hidden
        when = self._timing
        capture = when.capture
        attrs = {"no_rw_check": True}  # a read in the cycle of its address's write is never used

        def data(shape, name: str | None = None) -> Signal:
            """A register that holds data only: no reset."""
            return Signal(shape, name=name, reset_less=True, src_loc_at=1)

        depth, value_bits = self.values_shape
        m.submodules.values = values = Memory(
            shape=unsigned(value_bits), depth=depth, init=[], attrs=attrs
        )
        m.submodules.weights = weights = Memory(
            shape=unsigned(8),
            depth=self.weight_words,
            init=[value & 0xFF for value in self.weights],
            attrs=attrs,
        )
        m.submodules.constants = constants = Memory(
            shape=unsigned(self.constant_bits),
            depth=self.constant_count,
            init=self.constants,
            attrs=attrs,
        )
        multiplier = TreeMultiplier(a_shape=signed(A_BITS), b_shape=signed(8))
        m.submodules.multiplier = multiplier
        v_write, v_read = values.write_port(), values.read_port()
        w_write, w_read = weights.write_port(), weights.read_port()
        c_write, c_read = constants.write_port(), constants.read_port()
        m.d.comb += [
            w_write.en.eq(self.w_en),
            w_write.addr.eq(self.w_addr),
            w_write.data.eq(self.w_data),
            c_write.en.eq(self.c_en),
            c_write.addr.eq(self.c_addr),
            c_write.data.eq(self.c_data),
        ]

        # ---- pooling: p = sum + n * max ----
        pool_en = Signal(POOL_STAGES - 1)
        channel = [data(self.p_channel.shape(), f"channel{i}") for i in range(1, POOL_STAGES)]
        sums = [data(self.p_sum.shape(), f"sum{i}") for i in (1, 2)]
        maximum = data(signed(8))
        scaled = data(signed(9 + self.columns.bit_length()))
        pooled = data(signed(self.pooled_bits))
        m.d.sync += [
            # Stage 1: take the channel
            pool_en.eq(Cat(self.p_en, pool_en)),
            channel[0].eq(self.p_channel),
            sums[0].eq(self.p_sum),
            maximum.eq(self.p_max),
            # Stage 2: n * max
            channel[1].eq(channel[0]),
            sums[1].eq(sums[0]),
            scaled.eq(_times(maximum, self.columns)),
            # Stage 3: p; stage 4 is the write register
            channel[2].eq(channel[1]),
            pooled.eq(sums[1] + scaled),
        ]

        # ---- order of work: one product issued a cycle ----
        lengths = {
            Phase.FC1: d,
            Phase.FC1_WAIT: when.fc1_wait,
            Phase.SWISH_WAIT: when.swish_wait,
            Phase.SWISH: 2,
            Phase.FC2_WAIT: when.fc2_wait,
            Phase.FC2: hidden,
        }
        phase = Signal(len(Phase), init=1 << Phase.IDLE)  # one bit a phase: quick to decode
        left = Signal(range(max(lengths.values())))
        output = Signal(range(max(2, hidden)))
        v_addr = Signal.like(v_read.addr)
        w_addr = Signal.like(w_read.addr)
        # A start waits until the last p is written
        starting = Signal(POOL_STAGES - 1)
        m.d.sync += starting.eq(Cat(self.start & ~self.busy, starting))
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)

        valid, first, last, kind = Signal(), Signal(), Signal(), Signal(Kind)
        digit, last_output = Signal(), Signal()
        m.d.comb += [
            valid.eq(phase[Phase.FC1] | phase[Phase.SWISH] | phase[Phase.FC2]),
            last.eq(left == 0),
            last_output.eq(output == Mux(phase[Phase.FC2], 1, hidden - 1)),
            digit.eq(~first),
        ]
        with m.If(phase[Phase.SWISH]):
            m.d.comb += kind.eq(Kind.SWISH)
        with m.If(phase[Phase.FC2]):
            m.d.comb += kind.eq(Kind.FC2)

        def enter(*options: Phase):
            """Statements that begin the first of these phases that is not empty."""
            new = next(option for option in options if lengths[option])
            return [phase.eq(1 << new), left.eq(lengths[new] - 1), first.eq(1)]

        m.d.sync += [left.eq(left - 1), first.eq(0)]
        with m.If(phase[Phase.FC1] | phase[Phase.FC2]):
            m.d.sync += [w_addr.eq(w_addr + 1), v_addr.eq(v_addr + 1)]
        with m.If(valid & last):
            m.d.sync += output.eq(Mux(last_output, 0, output + 1))
        with m.If(phase[Phase.IDLE]):
            m.d.sync += [output.eq(0), v_addr.eq(0), w_addr.eq(0)]
            with m.If(starting[-1]):
                m.d.sync += enter(Phase.FC1)
        with m.If(phase[Phase.FC1] & last):
            m.d.sync += v_addr.eq(Mux(last_output, d, 0))
            with m.If(last_output):
                m.d.sync += enter(Phase.SWISH_WAIT)
            with m.Else():
                m.d.sync += enter(Phase.FC1_WAIT, Phase.FC1)
        with m.If(phase[Phase.FC1_WAIT] & last):
            m.d.sync += enter(Phase.FC1)
        with m.If(phase[Phase.SWISH_WAIT] & last):
            m.d.sync += enter(Phase.SWISH)
        with m.If(phase[Phase.SWISH] & last):
            m.d.sync += v_addr.eq(Mux(last_output, d, v_addr + 1))
            with m.If(last_output):
                m.d.sync += enter(Phase.FC2_WAIT, Phase.FC2)
            with m.Else():
                m.d.sync += enter(Phase.SWISH)
        with m.If(phase[Phase.FC2_WAIT] & last):
            m.d.sync += enter(Phase.FC2)
        with m.If(phase[Phase.FC2] & last):
            m.d.sync += v_addr.eq(d)
            with m.If(last_output):
                m.d.sync += phase.eq(1 << Phase.IDLE)
            with m.Else():
                m.d.sync += enter(Phase.FC2)

        # What travels beside a product: tags[s] stands in stage s.
        tags = [(valid, first, last, kind)]
        for stage in range(1, capture + 1):
            now = tuple(Signal.like(tag, name=f"{tag.name}{stage}") for tag in tags[-1])
            m.d.sync += [new.eq(old) for new, old in zip(now, tags[-1], strict=True)]
            tags.append(now)
        valids = Cat(*(tag[0] for tag in tags[1:]))
        digits = data(3)
        m.d.sync += digits.eq(Cat(digit, digits))

        # Stage 1: memories read.  Stage 2: their output registers.
        m.d.comb += [
            v_read.addr.eq(v_addr),
            v_read.en.eq(valid),
            w_read.addr.eq(w_addr),
            w_read.en.eq(phase[Phase.FC1] | phase[Phase.FC2]),
        ]
        value2, weight2 = data(signed(value_bits)), data(8)
        m.d.sync += [value2.eq(v_read.data.as_signed()), weight2.eq(w_read.data)]

        # Stage 3: hard-swish factor, clip(x + 768, 0, 1536); 1536 is 0b11 << 9
        value3, weight3, factor3 = data(signed(value_bits)), data(8), data(11)
        raised = Signal(signed(X_BITS + 1))
        m.d.comb += raised.eq(value2[:X_BITS].as_signed() + 768)
        m.d.sync += [value3.eq(value2), weight3.eq(weight2), factor3.eq(raised)]
        with m.If(raised[11:].any() | raised[9:11].all()):
            m.d.sync += factor3.eq(1536)
        with m.If(raised < 0):
            m.d.sync += factor3.eq(0)

        # Stage 4: operands
        a4, b4 = data(signed(A_BITS)), data(signed(8))
        m.d.sync += [a4.eq(value3), b4.eq(weight3.as_signed())]
        with m.If(tags[3][3] == Kind.SWISH):
            with m.If(digits[2]):
                m.d.sync += b4.eq(factor3[:_DIGIT_BITS])
            with m.Else():
                m.d.sync += [a4.eq(value3 << _DIGIT_BITS), b4.eq(factor3[_DIGIT_BITS:])]

        # Stages 5..7: product.  Stages 6, 7: constants read, output register
        m.d.comb += [multiplier.a.eq(a4), multiplier.b.eq(b4)]
        c_addr = Signal.like(c_read.addr)
        addressed = tags[capture - 3]
        m.d.comb += [
            c_read.addr.eq(c_addr),
            c_read.en.eq(addressed[0] & addressed[1] & (addressed[3] != Kind.SWISH)),
        ]
        constant = data(self.constant_bits)
        m.d.sync += constant.eq(c_read.data)
        with m.If(addressed[0] & addressed[2] & (addressed[3] != Kind.SWISH)):
            m.d.sync += c_addr.eq(c_addr + 1)
        with m.If(starting[-1]):
            m.d.sync += c_addr.eq(0)

        # Stage 8: sum; it begins with the bias, or with the half of the hard-swish's rounding
        total, shift = data(signed(32)), data(SHIFT_BITS)
        adding, first7, _, kind7 = tags[capture - 1]
        begin = Signal(signed(32))
        m.d.comb += begin.eq(constant[: self.bias_bits].as_signed())
        with m.If(kind7[1]):  # FC2; single bits keep the sum's path short
            m.d.comb += begin.eq(constant[:32])
        with m.If(kind7[0]):  # SWISH
            m.d.comb += begin.eq(128)
        with m.If(adding):
            m.d.sync += total.eq(Mux(first7, begin, total) + multiplier.o)
            with m.If(first7):
                m.d.sync += shift.eq(constant[self.bias_bits :])

        # Stage 9: FC1: shift right one place a cycle, all but the last place.
        done, _, end, done_kind = tags[capture]
        held, left, shifting = data(signed(32)), data(SHIFT_BITS), Signal()
        clamped, clamped_valid = data(signed(X_BITS + 1)), Signal()
        m.d.sync += clamped_valid.eq(0)
        with m.If(shifting):
            with m.If(left != 0):
                m.d.sync += [held.eq(held >> 1), left.eq(left - 1)]
            with m.Else():
                # Clamp to X_BITS + 1 bits
                m.d.sync += [shifting.eq(0), clamped_valid.eq(1), clamped.eq(held)]
                with m.If(~held[-1] & held[X_BITS:-1].any()):
                    m.d.sync += clamped.eq((1 << X_BITS) - 1)
                with m.If(held[-1] & ~held[X_BITS:-1].all()):
                    m.d.sync += clamped.eq(-(1 << X_BITS))
        second, logits, compared = Signal(), Signal(), Signal()
        difference = data(signed(33))
        m.d.sync += logits.eq(0)
        with m.If(done & end):
            with m.If(done_kind == Kind.FC1):
                m.d.sync += [held.eq(total), left.eq(shift - 1), shifting.eq(1)]
            with m.If(done_kind == Kind.FC2):
                m.d.sync += second.eq(1)
                with m.If(second):
                    # ``total`` and ``held`` are the logits; nothing follows them.
                    m.d.sync += [logits.eq(1), difference.eq(total - held)]
                with m.Else():
                    m.d.sync += held.eq(total)

        # Round: the place that is left; the largest value would round up beyond X_BITS
        x, x_valid = data(signed(X_BITS)), Signal()
        rounded = Signal(signed(X_BITS + 1))
        top = (1 << X_BITS - 1) - 1
        m.d.comb += rounded.eq((clamped + 1) >> 1)
        m.d.sync += [x.eq(Mux(rounded == top + 1, top, rounded)), x_valid.eq(clamped_valid)]

        # Write register of the value memory: p, x, y never come together.
        y_valid = Signal()
        target = Signal.like(v_write.addr)
        m.d.comb += y_valid.eq(done & end & (done_kind == Kind.SWISH))
        m.d.sync += v_write.en.eq(pool_en[-1] | x_valid | y_valid)
        with m.If(pool_en[-1]):
            m.d.sync += [v_write.addr.eq(channel[-1]), v_write.data.eq(pooled)]
        with m.Else():
            m.d.sync += v_write.addr.eq(target)
            with m.If(x_valid):
                m.d.sync += v_write.data.eq(x)
            with m.Else():
                m.d.sync += v_write.data.eq(total[8:].as_signed())
        with m.If(x_valid | y_valid):
            m.d.sync += target.eq(Mux(target == d + hidden - 1, d, target + 1))
        with m.If(starting[-1]):
            m.d.sync += [target.eq(d), second.eq(0)]

        # Stage 10: compare, by the signs of two differences
        beyond, below = data(1), data(1)
        m.d.sync += [
            compared.eq(logits),
            beyond.eq(~(difference - self.stop_threshold)[-1]),
            below.eq(~(self.skip_threshold - difference)[-1]),
        ]

        # Stage 11: decision
        m.d.sync += self.o_valid.eq(compared)
        with m.If(compared):
            m.d.sync += [
                self.logit0.eq(held),
                self.logit1.eq(total),
                self.stop.eq(self.stop_enable & beyond),
                self.skip.eq(self.skip_enable & below),
                self.busy.eq(0),
            ]

        with m.If(self.abort):
            m.d.sync += [
                phase.eq(1 << Phase.IDLE),
                starting.eq(0),
                valids.eq(0),
                shifting.eq(0),
                clamped_valid.eq(0),
                x_valid.eq(0),
                logits.eq(0),
                compared.eq(0),
                self.o_valid.eq(0),
                self.busy.eq(0),
            ]
            with m.If(~pool_en[-1]):
                m.d.sync += v_write.en.eq(0)
        return m
