"""Interfaces: the signals between camera, engine and host, and between the engine's parts.

Each is a signature seen from the side that speaks first (the camera sends pixels, the engine sends
decisions, the host asks for the state), the other side has it flipped. `wiring.connect` joins the
two, so that a member's name stands in one place only::

    wiring.connect(m, front.o, rasca.pixels)
    wiring.connect(m, rasca.decision, link.decision)

What is `valid`-only never waits: it is taken in that cycle or lost.
"""

from enum import IntEnum

from amaranth.hdl import signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out


class Status(IntEnum):
    """How a frame ended."""

    OK = 0
    OVERRUN = 1  # a word would have overwritten a row that was still needed
    TRUNCATED = 2  # the camera ended the frame early
    LINE = 3  # a line too short or too long
    RESTART = 4  # a new frame began inside this one


LOGIT = signed(32)
"""Shape of a logit and of a threshold."""


class _Interface(wiring.Signature):
    """A signature that is equal to another of its class with the same members."""

    def __eq__(self, other):
        return type(self) is type(other) and self.members == other.members


class Pixels(_Interface):
    """A camera's picture, a pixel at a time; from camera to engine, never stalls.

    Parameters
    ----------
    in_channels : int
        3 (colours) or 1 (luma).

    Members
    -------
    valid : Out(1)
        A pixel is there in this cycle.
    red, green, blue : Out(8)
        0..255; only with three channels.
    luma : Out(8)
        0..255; only with one channel.
    sof : Out(1), with `valid`
        The frame's first pixel.
    eol : Out(1), with `valid`
        The last pixel of its line.
    frame_end : Out(1), pulse
        The camera says that the frame is over. With a frame's first pixel it is the frame before
        that, which ends as `RESTART` unless it is whole; with any other it comes behind the pixel.
    """

    def __init__(self, in_channels: int):
        if in_channels not in (1, 3):
            raise ValueError(f"in_channels must be 1 or 3, not {in_channels!r}")
        self.colours = ("luma",) if in_channels == 1 else ("red", "green", "blue")
        """Names of the colour members, in the order of the network's input channels."""
        super().__init__(
            {
                "valid": Out(1),
                **dict.fromkeys(self.colours, Out(8)),
                "sof": Out(1),
                "eol": Out(1),
                "frame_end": Out(1),
            }
        )


class Thresholds(_Interface):
    """Early termination (Sec. 3.5); from host to engine, looked at as a row group is answered.

    The margin is the stop class's logit less the largest of the others; with two classes
    `logit1 - logit0`.

    Members
    -------
    stop_enable : Out(1)
        A margin of `stop` or more ends the frame with the stop class.
    stop : Out(signed(32))
        A margin.
    skip_enable : Out(1)
        A margin of `skip` or less leaves the next row group out, unless the frame has ended.
    skip : Out(signed(32))
        A margin.
    """

    def __init__(self):
        super().__init__(
            {"stop_enable": Out(1), "stop": Out(LOGIT), "skip_enable": Out(1), "skip": Out(LOGIT)}
        )


class RowEvent(_Interface):
    """The classifier's answer to a row group; from engine to host.

    Parameters
    ----------
    classes : int
        K, at least 2.

    Members
    -------
    valid : Out(1), pulse
        A row group is answered; its frame may yet go wrong.
    group : Out(16), with `valid`
        Row group of the frame, 0 is the topmost.
    logits : Out(signed(32)).array(K)
        All on one scale; they stay until the next answer.
    """

    def __init__(self, classes: int):
        super().__init__({"valid": Out(1), "group": Out(16), "logits": Out(LOGIT).array(classes)})


class Decision(_Interface):
    """What has become of a frame, one for each that was accepted, in their order; from engine to
    host.

    Parameters
    ----------
    classes : int
        K, at least 2.

    Members
    -------
    valid : Out(1), pulse
        What follows stays until the next decision.
    index : Out(range(K))
        The class: that of the largest logit, of equal ones the lowest; the stop class where the
        stop threshold is reached, also by the last row group. 0 where `status` is not OK.
    logits : Out(signed(32)).array(K)
        Of the last row group that was worked on; 0 where `status` is not OK.
    rows_used : Out(16)
        Row groups that were worked on; 0 where `status` is not OK.
    status : Out(Status)
        How the frame ended: 0 OK, 1 overrun, 2 truncated, 3 line, 4 restart.
    """

    def __init__(self, classes: int):
        super().__init__(
            {
                "valid": Out(1),
                "index": Out(range(classes)),
                "logits": Out(LOGIT).array(classes),
                "rows_used": Out(16),
                "status": Out(Status),
            }
        )


class Counters(_Interface):
    """What has gone wrong since the reset; from engine to host.

    Members
    -------
    dropped : Out(16)
        Frames that were not accepted: one was waiting already, there were no weights, or as many
        had no decision yet as may (hw.plan.memory.UNDECIDED).
    overrun, truncated, line, restart : Out(16)
        Frames that ended with that `Status`. All saturate, a cycle after the fault.
    """

    names = ("dropped", "overrun", "truncated", "line", "restart")
    """The members' names, each at the place of its `Status`; dropped frames at that of OK."""

    def __init__(self):
        super().__init__(dict.fromkeys(self.names, Out(16)))


class Room(_Interface):
    """Whether pixels find room; from engine to a source that can wait.

    Both speak of what the engine has seen: of the pixels before `hw.engine.RowEngine.room_delay`
    cycles. Once a row or a frame may begin, it may until it does.

    Members
    -------
    row : Out(1)
        The next row's pixels, but for a frame's first one, find their place or are ignored.
    frame : Out(1)
        A frame's first row does, and the frame is accepted.
    """

    def __init__(self):
        super().__init__({"row": Out(1), "frame": Out(1)})


class StateRead(_Interface):
    """Reading the state; from host to engine, one read at a time.

    Words are those of the row group answered last, if they come from its row event until the next
    group's last operation writes: within `Plan.state_stays` cycles, or later where the camera is
    waited for.

    Parameters
    ----------
    pixels : int
        P, bytes of a word.

    Members
    -------
    read : Out(1), pulse
        A word is asked for. Before the answer to another read it takes that one's place.
    channel : Out(16), with `read`
        Channel of the state, 0..state_channels - 1.
    word : Out(16), with `read`
        Word of the channel: columns `word * P` and on.
    valid : In(1), pulse
        The answer to the last read before this cycle; it takes some cycles for each lane-full of
        channels below `channel`.
    data : In(8 * P), with `valid`
        Signed bytes, the leftmost column's lowest.
    """

    def __init__(self, pixels: int):
        super().__init__(
            {
                "read": Out(1),
                "channel": Out(16),
                "word": Out(16),
                "valid": In(1),
                "data": In(8 * pixels),
            }
        )


class LoadPort(_Interface):
    """The weights image as a byte stream; from host or flash to engine.

    Members
    -------
    valid : Out(1)
        A byte is there.
    data : Out(8)
        Taken in a cycle with `valid` and `ready`.
    last : Out(1), with `valid`
        The image's last byte.
    ready : In(1)
        The engine is between frames and takes bytes.
    error : In(1)
        `last` came at the wrong byte; until the next load begins.
    """

    def __init__(self):
        super().__init__(
            {"valid": Out(1), "data": Out(8), "last": Out(1), "ready": In(1), "error": In(1)}
        )


class Pooled(_Interface):
    """A channel of the new state, pooled over its columns; from store to classifier.

    Parameters
    ----------
    channels : int
        d, channels of the state.
    columns : int
        n, columns of the state.

    Members
    -------
    en : Out(1), pulse, at most one a cycle, in any order of channels
    channel : Out(range(d))
    sum : Out(signed, holds 128 * n)
        Over the columns of H.
    max : Out(signed(8))
        Over the columns of H.
    """

    def __init__(self, channels: int, columns: int):
        super().__init__(
            {
                "en": Out(1),
                "channel": Out(range(channels)),
                "sum": Out(signed((128 * columns).bit_length() + 1)),
                "max": Out(signed(8)),
            }
        )


class Answer(_Interface):
    """What the classifier makes of a row group's state; from classifier to frame control.

    Parameters
    ----------
    classes : int
        K, at least 2.

    Members
    -------
    valid : Out(1), pulse
        What follows counts in this cycle.
    logits : Out(signed(32)).array(K)
        They stay until the next answer.
    index : Out(range(K))
        Class of the largest logit, of equal ones the lowest.
    stop, skip : Out(1)
        The margin has reached that threshold, and the threshold is enabled (`Thresholds`).
    """

    def __init__(self, classes: int):
        super().__init__(
            {
                "valid": Out(1),
                "logits": Out(LOGIT).array(classes),
                "index": Out(range(classes)),
                "stop": Out(1),
                "skip": Out(1),
            }
        )


class Classify(_Interface):
    """A classifier's ports beside those that its weights come by, as it has them itself.

    Parameters
    ----------
    channels, columns, classes : int
        d and n of the state; K.

    Members
    -------
    pooled : In(Pooled(d, n))
        Not while busy.
    start : In(1), pulse
        From the cycle after the last `pooled` on, while idle.
    abort : In(1)
        Forgets the run in progress: no answer, ready for a start in the next cycle.
    busy : Out(1)
        From the cycle after `start` until shortly before the answer.
    thresholds : In(Thresholds())
        Read as the answer is made: they stand still for the two cycles before it and in its own.
    answer : Out(Answer(K))
    """

    def __init__(self, *, channels: int, columns: int, classes: int):
        super().__init__(
            {
                "pooled": In(Pooled(channels, columns)),
                "start": In(1),
                "abort": In(1),
                "busy": Out(1),
                "thresholds": In(Thresholds()),
                "answer": Out(Answer(classes)),
            }
        )


class WordRead(_Interface):
    """A read of a word of maps and state that waits for a free cycle; from host read to the maps.

    Parameters
    ----------
    lanes, words, pixels : int
        Banks L, words of a bank, bytes of a word P.

    Members
    -------
    en : Out(1)
        Held until `done`.
    bank : Out(range(L)), address : Out(range(words)), with `en`
    done : In(1)
        Granted in this cycle.
    valid : In(1), pulse
        Some cycles after `done`.
    data : In(8 * P), with `valid`
    """

    def __init__(self, *, lanes: int, words: int, pixels: int):
        super().__init__(
            {
                "en": Out(1),
                "bank": Out(range(lanes)),
                "address": Out(range(words)),
                "done": In(1),
                "valid": In(1),
                "data": In(8 * pixels),
            }
        )


class LineControl(_Interface):
    """The camera's frames; from line buffer to frame control. See hw.line_buffer, hw.frames.

    Parameters
    ----------
    frame_rows : int
        Camera rows of a frame that the network sees, row groups * k.

    Members
    -------
    accept : Out(1), pulse
        A frame begins: the pixel's, a cycle after the wires.
    waiting : Out(1)
        A frame waits for the engine.
    receiving : Out(1)
        A frame is being received.
    current : Out(1)
        The frame being received is the one that the engine works on.
    rows : Out(range(frame_rows + 1))
        Complete rows of the frame being received, readable.
    fault : Out(1), pulse
        A frame ended badly; of two that end in one cycle the later one's comes a cycle later. The
        engine's counts for nothing if it comes with `stop` or a cycle after: the frame is decided.
    status : Out(Status), fault_current : Out(1), with `fault`
        How; and that it was the engine's.
    enable : In(1)
        Frames may be accepted.
    busy : In(1)
        The engine works on a frame.
    released : In(range(frame_rows + 1))
        Rows of that frame that it no longer needs.
    take : In(1), pulse
        The engine begins the waiting frame; what goes wrong in the same cycle is its own.
    stop : In(1), pulse
        The engine needs no more rows of its frame.
    done : In(1), pulse
        The engine has finished its frame.
    """

    def __init__(self, frame_rows: int):
        super().__init__(
            {
                "accept": Out(1),
                "waiting": Out(1),
                "receiving": Out(1),
                "current": Out(1),
                "rows": Out(range(frame_rows + 1)),
                "fault": Out(1),
                "status": Out(Status),
                "fault_current": Out(1),
                "enable": In(1),
                "busy": In(1),
                "released": In(range(frame_rows + 1)),
                "take": In(1),
                "stop": In(1),
                "done": In(1),
            }
        )


class WalkControl(_Interface):
    """Row groups; from frame control to the walk sequencer. See hw.sequencer, hw.frames.

    Parameters
    ----------
    needs : sequence of int
        The different numbers of camera rows that operations wait for, ascending, 1..k.
    rows : int
        k, camera rows of a row group.

    Members
    -------
    more : Out(1)
        There is a row group to begin with (looked at when idle).
    again : Out(1)
        Another one follows (looked at at a group's last step).
    rows : Out(len(needs))
        So many rows of the present group are in the line buffer, a bit for each of `needs`.
    group_first, group_done : In(1)
        This is the first, the last step of a row group.
    release : In(1), pulse
        `released` rows of the group will not be read again.
    released : In(range(k + 1)), with `release`
    """

    def __init__(self, needs, rows: int):
        super().__init__(
            {
                "more": Out(1),
                "again": Out(1),
                "rows": Out(len(needs)),
                "group_first": In(1),
                "group_done": In(1),
                "release": In(1),
                "released": In(range(rows + 1)),
            }
        )


class CameraRead(_Interface):
    """Reads of the line buffer, a bank for each lane of a head; from window to line buffer.

    Parameters
    ----------
    banks, words, pixels : int
        Banks, words of a bank, bytes of a word P.

    Members
    -------
    read_en : Out(banks)
        Banks that are read; the others keep their word.
    read_address : Out(range(words)), an array of banks
    words : In(8 * P), an array of banks
        As many cycles later as the line buffer takes (`Latency.memory`, and one where the address
        has a register).
    """

    def __init__(self, *, banks: int, words: int, pixels: int):
        super().__init__(
            {
                "read_en": Out(banks, init=(1 << banks) - 1),
                "read_address": Out(data.ArrayLayout(range(words), banks)),
                "words": In(data.ArrayLayout(8 * pixels, banks)),
            }
        )


class WeightRead(_Interface):
    """Reads of the weight memory; from array to memory.

    Parameters
    ----------
    words, bits : int
        Of the memory.

    Members
    -------
    read_en : Out(1)
    address : Out(range(words))
        Registered outside.
    word : In(bits)
        Until the next word is read.
    """

    def __init__(self, *, words: int, bits: int):
        super().__init__({"read_en": Out(1), "address": Out(range(words)), "word": In(bits)})


def write_port(words: int, shape) -> memory.WritePort.Signature:
    """Signature of a memory's write port: `en`, `addr`, `data` (its own side: In).

    Parameters
    ----------
    words : int
        Words of the memory; `addr` has the bits for 0..words - 1, none for one word.
    shape : shape-like
        A word.
    """
    return memory.WritePort.Signature(addr_width=(words - 1).bit_length(), shape=shape)


class Engine(_Interface):
    """All of the engine's ports, as `hw.top.Rasca` has them.

    Parameters
    ----------
    in_channels, classes, pixels : int
        Of the picture; K; P.
    room : bool
        Whether it has the members `room` and `stale`.

    Members
    -------
    pixels : In(Pixels(in_channels))
    thresholds : In(Thresholds())
    row : Out(RowEvent(K))
        After each row group.
    decision : Out(Decision(K))
        One for each accepted frame.
    counts : Out(Counters())
    state : In(StateRead(P))
    load : In(LoadPort())
        The weights image (hw.image), taken while nothing runs.
    weights_digest : Out(32)
        CRC-32 of the image in the memories, 0 while there is none.
    busy : Out(1)
        A frame is being received, waits or is worked on.
    frame_start : Out(1), pulse
        The first step of a frame.
    room : Out(Room())
    stale : Out(1)
        The state may no longer be that of the row group answered last.
    """

    def __init__(self, *, in_channels: int, classes: int, pixels: int, room: bool = False):
        super().__init__(
            {
                **({"room": Out(Room()), "stale": Out(1)} if room else {}),
                "pixels": In(Pixels(in_channels)),
                "thresholds": In(Thresholds()),
                "row": Out(RowEvent(classes)),
                "decision": Out(Decision(classes)),
                "counts": Out(Counters()),
                "state": In(StateRead(pixels)),
                "load": In(LoadPort()),
                "weights_digest": Out(32),
                "busy": Out(1),
                "frame_start": Out(1),
            }
        )


_FLAT = {
    "pixels": "pixel",
    "thresholds": "",
    "counts": "count",
    "pixels__frame_end": "frame_end",
    "thresholds__stop": "stop_threshold",
    "thresholds__skip": "skip_threshold",
}


def flat_name(path: tuple, classes: int) -> str:
    """Name in Verilog of the port at a path of `Engine`: `("pixels", "red")` is `pixel_red`.

    A two-class engine's `decision.index` is `decision_person`, another's `decision_class`.
    """
    whole = "__".join(str(part) for part in path)
    if whole in _FLAT:
        return _FLAT[whole]
    if whole == "decision__index":
        return "decision_person" if classes == 2 else "decision_class"
    first, *rest = path
    if rest and rest[0] == "logits":
        return f"{first}_logit{rest[1]}"
    return "_".join(part for part in (_FLAT.get(first, first), *rest) if part)
