"""A scan on a screen: from the engine's events to the bits of a DVI cable."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from boards.video.activation import ActivationMap
from boards.video.screen import Scoreboard, Screen
from boards.video.serialiser import Serialiser
from boards.video.timing import VideoTiming
from boards.video.tmds import TmdsEncoder
from golden.screen import Layout
from golden.video import slopes
from golden.weights import Weights
from hw.interfaces import Decision, Pixels, RowEvent, StateRead


class Display(wiring.Component):
    """Puts the parts together.

    ::

        pixels ──────────────────────────────────┐
        row, decision, toggles ─► Scoreboard ──► Screen ─► 3 x TmdsEncoder ─► Serialiser ─► pairs
        state ◄────────────────► ActivationMap ──┘  ▲
                                                 VideoTiming

    Left of `Screen` all is in `sync`, right of it in `video`, the last in `shift`.

    Model: golden.screen.compose, golden.video.tmds_encode.

    Parameters
    ----------
    layout : Layout
    weights : Weights
        What the activation is worked out with, and the scale of a logit.
    pixels : int
        P, bytes of a word of the state.
    counters : int
        Bits of `toggles`.

    Ports
    -----
    pixels : In(Pixels(in_channels)), row : In(RowEvent(K)), decision : In(Decision(K))
    toggles : In(counters)
    state : Out(StateRead(P))
    pairs : Out(2).array(4), shift; as in Serialiser
    """

    def __init__(self, *, layout: Layout, weights: Weights, pixels: int, counters: int):
        model = layout.model
        self.layout = layout
        slope, shift = slopes(weights, model)
        self.activation = ActivationMap(model=model, pixels=pixels, slope=slope, shift=shift)
        self.scoreboard = Scoreboard(
            classes=model.class_count,
            row_groups=model.row_groups,
            stop_class=model.stop_index,
            scale=weights.scales["logit"],
            counters=counters,
        )
        self.screen = Screen(layout=layout)
        super().__init__(
            {
                "pixels": In(Pixels(model.in_channels)),
                "row": In(RowEvent(model.class_count)),
                "decision": In(Decision(model.class_count)),
                "toggles": In(counters),
                "state": Out(StateRead(pixels)),
                "pairs": Out(2).array(4),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.screen = screen = self.screen
        m.submodules.scoreboard = board = self.scoreboard
        m.submodules.activation = activation = self.activation
        m.submodules.timing = timing = VideoTiming(mode=self.layout.mode)
        m.submodules.serialiser = serialiser = Serialiser()
        connect(m, flipped(self.pixels), screen.pixels)
        connect(m, flipped(self.row), board.row)
        connect(m, flipped(self.row), activation.row)
        connect(m, flipped(self.decision), board.decision)
        connect(m, activation.state, flipped(self.state))
        connect(m, activation.heat, screen.heat)
        connect(m, timing.beam, screen.beam)
        m.d.comb += [
            board.toggles.eq(self.toggles),
            *(getattr(screen, name).eq(getattr(board, name)) for name in _SAID),
            *(screen.digits[i].eq(digit) for i, digit in enumerate(board.digits)),
            *(self.pairs[i].eq(pair) for i, pair in enumerate(serialiser.pairs)),
        ]
        for i, name in enumerate(("blue", "green", "red")):
            encoder = m.submodules[f"encoder_{name}"] = TmdsEncoder()
            m.d.comb += [
                encoder.active.eq(screen.active),
                encoder.data.eq(getattr(screen, name)),
                serialiser.words[i].eq(encoder.word),
            ]
            if name == "blue":
                m.d.comb += encoder.control.eq(Cat(screen.hsync, screen.vsync))
        return m


_SAID = ("en", "group", "probability", "page")
