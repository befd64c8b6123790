"""Classifier: pooled state, FC, hard-swish, FC, decision; on one multiplier beside the array."""

from collections.abc import Sequence
from enum import IntEnum

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.arithmetic.multiplier import TreeMultiplier, times
from hw.common import NO_COLLISION, delay
from hw.interfaces import LOGIT, Classify, Pooled, write_port
from hw.plan.beside import POOL_STAGES, SHIFT_BITS, ClassifierTiming, check_classes
from hw.plan.limits import PARALLEL

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


class Product(IntEnum):
    """What a product belongs to. One bit each for the hard-swish and FC2."""

    FC1 = 0
    SWISH = 1
    FC2 = 2


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


def data(shape, name: str | None = None) -> Signal:
    """A register that holds data only: no reset."""
    return Signal(shape, name=name, reset_less=True, src_loc_at=1)


class PoolSum(wiring.Component):
    """p = sum + n * max of each channel of the state, Eq. 14.

    Bit-exact model: golden.classifier.pool.

    Ports
    -----
    pooled : In(Pooled(channels, columns))
    en : Out(1)
        A p is there, three cycles after `pooled`.
    channel : Out(range(channels)), value : Out(signed(`value_bits`)), with `en`
    """

    def __init__(self, *, channels: int, columns: int):
        self.columns = columns
        self.value_bits = (256 * columns - 1).bit_length() + 1
        pooled = Pooled(channels, columns)
        super().__init__(
            {
                "pooled": In(pooled),
                "en": Out(1),
                "channel": Out(pooled.members["channel"].shape),
                "value": Out(signed(self.value_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pooled, stages = self.pooled, POOL_STAGES - 1
        scaled = data(signed(9 + self.columns.bit_length()))
        # Stage 1: take the channel. Stage 2: n * max. Stage 3: p; stage 4 is the write register
        m.d.comb += [
            self.en.eq(delay(m, pooled.en, stages, "en")),
            self.channel.eq(delay(m, pooled.channel, stages, "channel", reset_less=True)),
        ]
        total = delay(m, pooled.sum, 2, "sum", reset_less=True)
        maximum = delay(m, pooled.max, 1, "max", reset_less=True)
        value = data(signed(self.value_bits))
        m.d.sync += [scaled.eq(times(maximum, self.columns)), value.eq(total + scaled)]
        m.d.comb += self.value.eq(value)
        return m


class Issue(wiring.Component):
    """Order of work: one product a cycle is asked for.

    Ports
    -----
    start : In(1), pulse
        Waits until the last p is written.
    abort : In(1)
        Back to idle.
    begin : Out(1)
        A run's first cycle is the next one.
    valid : Out(1)
        A product is asked for.
    first, last : Out(1), kind : Out(Product), with `valid`
        It is its sum's first, last; what it belongs to.
    digit : Out(1), with `valid`
        Of the hard-swish: the low digit.
    value : Out(range(channels + hidden)), weight : Out(range(words))
        Addresses.
    weight_en : Out(1)
        A weight is read.
    """

    def __init__(self, timing: ClassifierTiming):
        self.timing, self.classes = timing, timing.classes
        d, hidden = timing.channels, timing.hidden
        super().__init__(
            {
                "start": In(1),
                "abort": In(1),
                "begin": Out(1),
                "valid": Out(1),
                "first": Out(1),
                "last": Out(1),
                "kind": Out(Product),
                "digit": Out(1),
                "value": Out(range(d + hidden)),
                "weight": Out(range(hidden * (d + timing.classes))),
                "weight_en": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        when, d, hidden = self.timing, self.timing.channels, self.timing.hidden
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
        output = Signal(range(max(self.classes, hidden)))
        starting, last_output = Signal(POOL_STAGES - 1), Signal()
        m.d.sync += starting.eq(Cat(self.start, starting))
        m.d.comb += [
            self.begin.eq(starting[-1]),
            self.valid.eq(phase[Phase.FC1] | phase[Phase.SWISH] | phase[Phase.FC2]),
            self.weight_en.eq(phase[Phase.FC1] | phase[Phase.FC2]),
            self.last.eq(left == 0),
            last_output.eq(output == Mux(phase[Phase.FC2], self.classes - 1, hidden - 1)),
            self.digit.eq(~self.first),
        ]
        with m.If(phase[Phase.SWISH]):
            m.d.comb += self.kind.eq(Product.SWISH)
        with m.If(phase[Phase.FC2]):
            m.d.comb += self.kind.eq(Product.FC2)

        def enter(*options: Phase):
            """Statements that begin the first of these phases that is not empty."""
            new = next(option for option in options if lengths[option])
            return [phase.eq(1 << new), left.eq(lengths[new] - 1), self.first.eq(1)]

        m.d.sync += [left.eq(left - 1), self.first.eq(0)]
        with m.If(self.weight_en):
            m.d.sync += [self.weight.eq(self.weight + 1), self.value.eq(self.value + 1)]
        with m.If(self.valid & self.last):
            m.d.sync += output.eq(Mux(last_output, 0, output + 1))
        with m.If(phase[Phase.IDLE]):
            m.d.sync += [output.eq(0), self.value.eq(0), self.weight.eq(0)]
            with m.If(self.begin):
                m.d.sync += enter(Phase.FC1)
        with m.If(phase[Phase.FC1] & self.last):
            m.d.sync += self.value.eq(Mux(last_output, d, 0))
            with m.If(last_output):
                m.d.sync += enter(Phase.SWISH_WAIT)
            with m.Else():
                m.d.sync += enter(Phase.FC1_WAIT, Phase.FC1)
        with m.If(phase[Phase.FC1_WAIT] & self.last):
            m.d.sync += enter(Phase.FC1)
        with m.If(phase[Phase.SWISH_WAIT] & self.last):
            m.d.sync += enter(Phase.SWISH)
        with m.If(phase[Phase.SWISH] & self.last):
            m.d.sync += self.value.eq(Mux(last_output, d, self.value + 1))
            with m.If(last_output):
                m.d.sync += enter(Phase.FC2_WAIT, Phase.FC2)
            with m.Else():
                m.d.sync += enter(Phase.SWISH)
        with m.If(phase[Phase.FC2_WAIT] & self.last):
            m.d.sync += enter(Phase.FC2)
        with m.If(phase[Phase.FC2] & self.last):
            m.d.sync += self.value.eq(d)
            with m.If(last_output):
                m.d.sync += phase.eq(1 << Phase.IDLE)
            with m.Else():
                m.d.sync += enter(Phase.FC2)
        with m.If(self.abort):
            m.d.sync += [phase.eq(1 << Phase.IDLE), starting.eq(0)]
        return m


class Factors(wiring.Component):
    """What a product's two factors are: stages 2 to 4 after its addresses.

    Ports
    -----
    value : In(signed), weight : In(8)
        What the memories give.
    swish : In(1), low_digit : In(1)
        Two cycles later: of the hard-swish, with the factor's low digit.
    a : Out(signed(18)), b : Out(signed(8))
        Two cycles after `value`, and one.
    """

    def __init__(self, *, value_bits: int):
        self.value_bits = value_bits
        super().__init__(
            {
                "value": In(signed(value_bits)),
                "weight": In(8),
                "swish": In(1),
                "low_digit": In(1),
                "a": Out(signed(A_BITS)),
                "b": Out(signed(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Stage 2: the memories' output registers
        value2, weight2 = data(signed(self.value_bits)), data(8)
        m.d.sync += [value2.eq(self.value), weight2.eq(self.weight)]

        # Stage 3: hard-swish factor, clip(x + 768, 0, 1536); 1536 is 0b11 << 9
        value3, weight3, factor3 = data(signed(self.value_bits)), data(8), data(11)
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
        with m.If(self.swish):
            with m.If(self.low_digit):
                m.d.sync += b4.eq(factor3[:_DIGIT_BITS])
            with m.Else():
                m.d.sync += [a4.eq(value3 << _DIGIT_BITS), b4.eq(factor3[_DIGIT_BITS:])]
        m.d.comb += [self.a.eq(a4), self.b.eq(b4)]
        return m


class Results(wiring.Component):
    """What becomes of the sums of FC1 and FC2: an x each, or a logit each and the margin.

    FC1's are shifted right a place a cycle. Of K logits the first K - 1 are kept here; while they
    come, so is the largest of those that are not the stop class's.

    Ports
    -----
    begin : In(1)
        A run begins.
    abort : In(1)
        No x, no logits come any more.
    sum : In(signed(32))
        The accumulator.
    fc1, fc2 : In(1), pulse
        An output's sum is complete.
    shift : In(5), with `fc1`
    x_valid : Out(1)
    x : Out(signed(13)), with `x_valid`
    complete : Out(1), pulse
        All logits have come: what follows is valid, `logits` and `largest` from the cycle before.
    logits : Out(signed(32)), an array of K
    margin : Out(signed(33))
        The stop class's logit less the largest of the others.
    largest : Out(range(K))
        Class of that one, the lowest of equals.
    """

    def __init__(self, *, classes: int, stop_class: int):
        self.classes, self.stop_class = classes, stop_class
        super().__init__(
            {
                "begin": In(1),
                "abort": In(1),
                "sum": In(signed(32)),
                "fc1": In(1),
                "fc2": In(1),
                "shift": In(SHIFT_BITS),
                "x_valid": Out(1),
                "x": Out(signed(X_BITS)),
                "complete": Out(1),
                "logits": Out(LOGIT).array(self.classes),
                "margin": Out(signed(33)),
                "largest": Out(range(self.classes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        kept = [data(LOGIT, f"kept{i}") for i in range(self.classes - 1)]
        held, left, shifting = kept[0], data(SHIFT_BITS), Signal()
        clamped, clamped_valid = data(signed(X_BITS + 1)), Signal()
        # Stage 9: shift right one place a cycle, all but the last place.
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
        self._logits(m, kept)
        with m.If(self.fc1):
            m.d.sync += [held.eq(self.sum), left.eq(self.shift - 1), shifting.eq(1)]
        # Round: the place that is left; the largest value would round up beyond X_BITS
        x, rounded = data(signed(X_BITS)), Signal(signed(X_BITS + 1))
        top = (1 << X_BITS - 1) - 1
        m.d.comb += [rounded.eq((clamped + 1) >> 1), self.x.eq(x)]
        m.d.sync += [x.eq(Mux(rounded == top + 1, top, rounded)), self.x_valid.eq(clamped_valid)]
        with m.If(self.abort):
            m.d.sync += [
                shifting.eq(0),
                clamped_valid.eq(0),
                self.x_valid.eq(0),
                self.complete.eq(0),
            ]
        return m

    def _logits(self, m, kept):
        number = Signal(range(self.classes))
        margin, ended = data(signed(33)), Signal()
        last = self.fc2 & (number == self.classes - 1)
        m.d.comb += [
            ended.eq(last),
            self.margin.eq(margin),
            *[logit.eq(v) for logit, v in zip(self.logits, [*kept, self.sum], strict=True)],
        ]
        with m.If(self.fc2 & ~last):
            m.d.sync += number.eq(number + 1)
            # the first one comes to the front at last; nothing follows the last one in `sum`
            m.d.sync += [k.eq(n) for k, n in zip(kept, [*kept[1:], self.sum], strict=True)]
        with m.If(self.begin):
            m.d.sync += number.eq(0)
        own = self.logits[self.stop_class]
        if self.classes == 2:
            m.d.sync += self.complete.eq(ended)
            with m.If(ended):
                m.d.sync += margin.eq(own - self.logits[1 - self.stop_class])
            return
        others, largest, late = data(LOGIT), data(range(self.classes)), Signal()
        first = number == (1 if self.stop_class == 0 else 0)
        with m.If(self.fc2 & (number != self.stop_class) & (first | (self.sum > others))):
            m.d.sync += [others.eq(self.sum), largest.eq(number)]
        m.d.sync += [late.eq(ended), self.complete.eq(late), margin.eq(own - others)]
        m.d.comb += self.largest.eq(largest)
        with m.If(self.abort):
            m.d.sync += late.eq(0)


class Classifier(wiring.Component):
    """Which class, from the pooled state, with the two comparisons of early termination.

    Eq. 14 and Sec. 3.5 of the paper; with classes 0 .. K - 1, of which c is the stop class::

        p = sum_j H + n * max_j H
        x = saturate13((W1 p + b1 + half) >> shift)
        y = (x * clip(x + 768, 0, 1536) + 128) >> 8
        logits = W2 y + b2
        index = the first largest logit's;  margin = logit_c - max(the others)
        stop = margin >= stop threshold;  skip = margin <= skip threshold

    Bit-exact model: golden.classifier.

    One multiplier, 18 x 8 bits, makes every product, beside the array. The factor of the hard-swish
    has 11 bits and is taken as two digits: ``x * t = (32 x) * (t >> 5) + x * (t & 31)``.
    The values p, then x and y, lie in one memory; weights and constants in two more, loadable while
    the block is idle.

    ::

        PoolSum ─► values ─┐                  ┌─► y
        Issue ───► weights ┴► Factors ─► TreeMultiplier ─► sum ─► Results ─► compare ─► answer
                   constants ───────────────────────────────┘        └─► x

    Parameters
    ----------
    channels : int
        d, channels of the state, at least 1.
    hidden : int
        Outputs of FC1, 1..344.
    columns : int
        n, 1..512; d * n at most 33286 (32-bit accumulator).
    classes : int
        K, 2..16.
    stop_class : int
        c, 0..K - 1.
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
        From ``start`` to ``answer.valid``, the same for all data; with h for
        hidden, ``h d + (h - 1) max(0, 32 - d) + max(44 - 2h, 32) + max(0, 10 - h) + (2 + K) h
        + 14``, and one more where K > 2.

    Ports
    -----
    pooled, start, abort, busy, thresholds, answer : those of hw.interfaces.Classify
        `start` is ignored while busy; `abort` wins over it, changes no output, and stored p stay;
        `busy` ends a cycle before ``answer.valid``; `thresholds` are read in the two cycles before
        it, and `answer` changes only with its `valid`.
    weights : Out(write_port(weight_words, 8))
        Write a weight byte while idle.
    constants : Out(write_port(constant_count, constant_bits))
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
        classes: int = 2,
        stop_class: int = 1,
        bias_bits: int = 27,
        weights: Sequence[int] | None = None,
        constants: Sequence[int] | None = None,
    ):
        if channels < 1:
            raise ValueError(f"channels must be at least 1, not {channels}")
        if not 1 <= hidden <= _HIDDEN_LIMIT:
            raise ValueError(f"hidden must be 1..{_HIDDEN_LIMIT}, not {hidden}")
        if not 1 <= columns <= PARALLEL.columns:
            raise ValueError(f"columns must be 1..{PARALLEL.columns}, not {columns}")
        assert 256 * PARALLEL.columns <= 2 ** (A_BITS - 1), "p is an operand"
        if channels * columns > _POOLED_LIMIT:
            raise ValueError(
                f"channels * columns must be at most {_POOLED_LIMIT} "
                f"(32-bit accumulator), not {channels * columns}"
            )
        if not 2 <= bias_bits <= 32:
            raise ValueError(f"bias_bits must be 2..32, not {bias_bits}")
        check_classes(classes, stop_class)
        self.channels, self.hidden, self.columns = channels, hidden, columns
        self.classes, self.stop_class, self.bias_bits = classes, stop_class, bias_bits
        self.timing = ClassifierTiming(channels=channels, hidden=hidden, classes=classes)
        weights = [0] * self.weight_words if weights is None else list(weights)
        constants = [0] * self.constant_count if constants is None else list(constants)
        if len(weights) != self.weight_words:
            raise ValueError(
                f"weights must be hidden * (channels + {classes}) = {self.weight_words} numbers, "
                f"not {len(weights)}"
            )
        if any(not -128 <= value <= 127 for value in weights):
            raise ValueError("weights must be -128..127")
        if len(constants) != self.constant_count:
            raise ValueError(
                f"constants must be hidden + {classes} = {self.constant_count} words, "
                f"not {len(constants)}"
            )
        if any(not 0 <= value < 1 << self.constant_bits for value in constants):
            raise ValueError(f"constants must be words of {self.constant_bits} bits")
        # first contents
        self._init = {"values": [], "constants": constants}
        self._init["weights"] = [value & 0xFF for value in weights]
        self.pool = PoolSum(channels=channels, columns=columns)
        self.issue = Issue(self.timing)
        self.operands = Factors(value_bits=self.memory_shapes["values"][1])
        self.results = Results(classes=classes, stop_class=stop_class)
        super().__init__(
            {
                **Classify(channels=channels, columns=columns, classes=classes).members,
                "weights": Out(write_port(self.weight_words, 8)),
                "constants": Out(write_port(self.constant_count, self.constant_bits)),
            }
        )

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
    def memory_shapes(self) -> dict[str, tuple[int, int]]:
        """Words and bits of the memories."""
        return self.timing.shapes(columns=self.columns, bias_bits=self.bias_bits)

    @property
    def cycles(self) -> int:
        """``start`` -> ``answer.valid``."""
        return self.timing.cycles

    def elaborate(self, platform):
        m = Module()
        pool, issue, operands, results = self.pool, self.issue, self.operands, self.results
        m.submodules.pool, m.submodules.issue = pool, issue
        m.submodules.operands, m.submodules.results = operands, results
        memories = {}
        for name, (depth, bits) in self.memory_shapes.items():
            memories[name] = m.submodules[name] = Memory(
                shape=unsigned(bits), depth=depth, init=self._init[name], attrs=NO_COLLISION
            )
        for name in ("weights", "constants"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), memories[name].write_port())
        wiring.connect(m, wiring.flipped(self.pooled), pool.pooled)
        m.d.comb += [
            issue.start.eq(self.start & ~self.busy),
            issue.abort.eq(self.abort),
            results.begin.eq(issue.begin),
            results.abort.eq(self.abort),
        ]
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)

        # What travels beside a product: tags[s] stands in stage s.
        tags = [(issue.valid, issue.first, issue.last, issue.kind)]
        for stage in range(1, self.timing.capture + 1):
            now = tuple(
                Signal.like(tag, name=f"{name}{stage}", init=0)
                for name, tag in zip(("valid", "first", "last", "kind"), tags[-1], strict=True)
            )
            m.d.sync += [new.eq(old) for new, old in zip(now, tags[-1], strict=True)]
            tags.append(now)
        low_digit = data(3, "low_digit")
        m.d.sync += low_digit.eq(Cat(issue.digit, low_digit))
        v_read, w_read = memories["values"].read_port(), memories["weights"].read_port()
        # Stage 1: memories read. Stages 2 to 4: operands.
        m.d.comb += [
            v_read.addr.eq(issue.value),
            v_read.en.eq(issue.valid),
            w_read.addr.eq(issue.weight),
            w_read.en.eq(issue.weight_en),
            operands.value.eq(v_read.data.as_signed()),
            operands.weight.eq(w_read.data),
            operands.swish.eq(tags[3][3] == Product.SWISH),
            operands.low_digit.eq(low_digit[2]),
        ]
        total = self._sum(m, tags, memories["constants"].read_port())
        done, _, end, kind = tags[-1]
        m.d.comb += [
            results.sum.eq(total),
            results.fc1.eq(done & end & (kind == Product.FC1)),
            results.fc2.eq(done & end & (kind == Product.FC2)),
        ]
        self._keep(m, total, done & end & (kind == Product.SWISH), memories["values"].write_port())
        self._decide(m)
        with m.If(self.abort):
            m.d.sync += [Cat(tag[0] for tag in tags[1:]).eq(0), self.busy.eq(0)]
        return m

    def _sum(self, m, tags, read):
        """The accumulator."""
        # Stages 5..7: product.  Stages 6, 7: constants read, output register
        product = TreeMultiplier(a_shape=signed(A_BITS), b_shape=signed(8))
        m.submodules.multiplier = product
        address = Signal.like(read.addr)
        valid, first, last, kind = tags[-4]
        constant = data(self.constant_bits)
        m.d.comb += [
            product.a.eq(self.operands.a),
            product.b.eq(self.operands.b),
            read.addr.eq(address),
            read.en.eq(valid & first & (kind != Product.SWISH)),
        ]
        m.d.sync += constant.eq(read.data)
        with m.If(valid & last & (kind != Product.SWISH)):
            m.d.sync += address.eq(address + 1)
        with m.If(self.issue.begin):
            m.d.sync += address.eq(0)

        # Stage 8: sum; it begins with the bias, or with the half of the hard-swish's rounding
        total, shift = data(signed(32)), data(SHIFT_BITS)
        adding, first, _, kind = tags[-2]
        begin = Signal(signed(32))
        m.d.comb += [
            begin.eq(constant[: self.bias_bits].as_signed()),
            self.results.shift.eq(shift),
        ]
        with m.If(kind[1]):  # FC2; single bits keep the sum's path short
            m.d.comb += begin.eq(constant[:32])
        with m.If(kind[0]):  # SWISH
            m.d.comb += begin.eq(128)
        with m.If(adding):
            m.d.sync += total.eq(Mux(first, begin, total) + product.o)
            with m.If(first):
                m.d.sync += shift.eq(constant[self.bias_bits :])
        return total

    def _keep(self, m, total, y_valid, write):
        """Write register of the value memory: p, x, y never come together."""
        d, h, pool, results = self.channels, self.hidden, self.pool, self.results
        x_valid, target = results.x_valid, Signal.like(write.addr)
        m.d.sync += write.en.eq(pool.en | x_valid | y_valid)
        with m.If(pool.en):
            m.d.sync += [write.addr.eq(pool.channel), write.data.eq(pool.value)]
        with m.Else():
            m.d.sync += write.addr.eq(target)
            with m.If(x_valid):
                m.d.sync += write.data.eq(results.x)
            with m.Else():
                m.d.sync += write.data.eq(total[8:].as_signed())
        with m.If(x_valid | y_valid):
            m.d.sync += target.eq(Mux(target == d + h - 1, d, target + 1))
        with m.If(self.issue.begin):
            m.d.sync += target.eq(d)
        with m.If(self.abort & ~pool.en):
            m.d.sync += write.en.eq(0)

    def _decide(self, m):
        answer, limits, results = self.answer, self.thresholds, self.results
        # Stage 10: compare, by the signs of two differences
        beyond, below, compared, margin = data(1), data(1), Signal(), results.margin
        m.d.sync += [
            compared.eq(results.complete),
            beyond.eq(~(margin - limits.stop)[-1]),
            below.eq(~(limits.skip - margin)[-1]),
        ]
        # Stage 11: decision
        m.d.sync += answer.valid.eq(compared)
        takes = compared & ~self.abort
        with m.If(takes):
            m.d.sync += [
                *[out.eq(v) for out, v in zip(answer.logits, results.logits, strict=True)],
                answer.stop.eq(limits.stop_enable & beyond),
                answer.skip.eq(limits.skip_enable & below),
                self.busy.eq(0),
            ]
        c, index = self.stop_class, data(range(self.classes))
        largest = 1 - c if self.classes == 2 else results.largest  # of the others
        larger = (margin > 0) | ((margin == 0) & (c < largest))
        m.d.sync += index.eq(Mux(larger, c, largest))
        with m.If(takes):
            m.d.sync += answer.index.eq(index)
        with m.If(self.abort):
            m.d.sync += [compared.eq(0), answer.valid.eq(0)]
