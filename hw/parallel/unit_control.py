"""What the channel units do: their constants and function, walk by walk."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import NO_COLLISION, WordFetch, delay, read_word
from hw.interfaces import write_port
from hw.plan import Function, Plan


def constant_layout(bias_bits: int) -> data.StructLayout:
    """A channel's requantisation constants: bias, multiplier, shift minus one."""
    return data.StructLayout({"bias": signed(bias_bits), "multiplier": 8, "shift": 5})


def constant(bias: int, multiplier: int, shift: int) -> dict[str, int]:
    """A channel's constants (see golden.requant) as `constant_layout` has them."""
    return {"bias": bias, "multiplier": multiplier, "shift": shift - 1}


class UnitControl(wiring.Component):
    """Follows the array's transfers through the drain words of the row program.

    The sums leave HeadLane's drain registers by themselves; this says what is made of them.

    Between two transfers it fetches the constants of the next walk's channels from the constant
    memory, one a cycle, into staging registers; they become active with its first drained sum.

    Ports
    -----
    transfer : In(1)
        A walk's sums move to the drain registers.
    single : Out(1), with `transfer`
        Its function takes one operand.
    function : Out(Function)
        Valid with the walk's first drained sum until the last.
    active : Out(constant_layout), an array of units (unit k * L + l)
        Likewise.
    load : Out(write_port(constant_words, constant_layout))
        Of the constant memory.
    """

    def __init__(self, plan: Plan, constants=()):
        self.plan = plan
        self.layout = constant_layout(plan.sum_bits)
        self.constants = Memory(
            shape=self.layout, depth=plan.constant_words, init=constants, attrs=NO_COLLISION
        )
        super().__init__(
            {
                "transfer": In(1),
                "single": Out(1),
                "function": Out(Function),
                "active": Out(data.ArrayLayout(self.layout, plan.engine.units)),
                "load": Out(write_port(plan.constant_words, self.layout.size)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        plan, engine = self.plan, self.plan.engine
        lanes, channels = engine.lanes, engine.channels
        heads, head_lanes = plan.geometry.heads, plan.geometry.head_lanes
        fetch = WordFetch(m, plan, "drain")
        word = fetch.word

        # the walk that transfers next
        group, chunk = Signal.like(word.groups), Signal.like(word.chunks)
        last_chunk, last_walk = Signal(), Signal()
        m.d.comb += [
            last_chunk.eq(chunk == word.chunks),
            last_walk.eq(last_chunk & (group == word.groups)),
            fetch.take.eq(self.transfer & last_walk),
            self.single.eq(word.single),
        ]
        settled = Signal()  # the word belongs to the walk that transfers next
        wait = Signal(range(WordFetch.CYCLES + 1), init=WordFetch.CYCLES)
        fresh = Signal(init=1)  # ... and its constants are a new operation's
        m.d.comb += settled.eq(wait == 0)
        with m.If(~settled):
            m.d.sync += wait.eq(wait - 1)
        constant_group = Signal(range(plan.constant_words))
        moved = delay(m, self.transfer, self.plan.latency.drain - 1, "moved")
        with m.If(moved):
            m.d.sync += self.function.eq(word.function)
        with m.If(self.transfer):
            m.d.sync += chunk.eq(chunk + 1)
            with m.If(last_chunk):
                m.d.sync += [
                    chunk.eq(0),
                    group.eq(group + 1),
                    constant_group.eq(constant_group + word.constant_step),
                ]
            with m.If(last_walk):
                m.d.sync += [group.eq(0), wait.eq(WordFetch.CYCLES - 1), fresh.eq(1)]

        # constants: memory -> staging, one unit a cycle; staging -> active at the transfer
        loading, index = Signal(), Signal(range(engine.units))
        again = Signal()
        address = Signal(range(plan.constant_words), reset_less=True)
        by_head = Signal(reset_less=True)
        m.d.sync += again.eq(self.transfer & ~last_walk)
        begin = Signal()
        m.d.comb += begin.eq(again | (settled & fresh))
        with m.If(begin):
            m.d.sync += [
                loading.eq(1),
                index.eq(0),
                fresh.eq(0),
                by_head.eq(word.by_head),
                address.eq(Mux(fresh, word.constant, constant_group)),
            ]
            with m.If(fresh):
                m.d.sync += constant_group.eq(word.constant)
        with m.Elif(loading):
            m.d.sync += [index.eq(index + 1), address.eq(address + 1)]
            with m.If(index == Mux(by_head, channels * heads, engine.units) - 1):
                m.d.sync += loading.eq(0)
        m.submodules.constants = memory = self.constants
        write, read = memory.write_port(), memory.read_port()
        constant = read_word(m, plan, read.data, "constant")
        m.d.comb += [
            read.addr.eq(address),
            read.en.eq(loading),
            write.en.eq(self.load.en),
            write.addr.eq(self.load.addr),
            write.data.eq(self.load.data),
        ]
        arriving = delay(m, loading, self.plan.latency.memory, "loading")
        arriving_index = delay(m, index, self.plan.latency.memory, "index", reset_less=True)
        arriving_by_head = delay(m, by_head, self.plan.latency.memory, "by_head", reset_less=True)
        for u in range(engine.units):
            k, lane = divmod(u, lanes)
            staging = Signal(self.layout, name=f"staging{u}", reset_less=True)
            active = Signal(self.layout, name=f"active{u}", reset_less=True)
            mine = Mux(
                arriving_by_head,
                arriving_index == (lane // head_lanes) * channels + k,
                arriving_index == u,
            )
            with m.If(arriving & mine):
                m.d.sync += staging.eq(constant)
            with m.If(moved):
                m.d.sync += active.eq(staging)
            m.d.comb += self.active[u].eq(active)

        return m
