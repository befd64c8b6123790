"""What a page shows of a board, made of its packets; bounded, whatever a stranger sends."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from boards.packets import (
    COUNTERS,
    PROBLEM_TEXT,
    BoardStatus,
    Counters,
    Decision,
    Event,
    Hello,
    Preview,
    Row,
    State,
    Taken,
)
from boards.picture import Picture
from golden.config import ModelConfig
from golden.expected import STATUS
from golden.visualise import class_activation_map, probability, words
from golden.weights import Weights

MOST_GROUPS = 512
"""Row groups of a frame that are kept of a network that is not known."""
MOST_FRAMES = 24
"""Decisions that are shown."""
RATE_S = 5.0
"""Seconds over which the frame rate is taken."""
SLOW = 4.0
"""Frames a second up to which a scan is shown as it comes; of faster ones the last whole one."""
LIMIT_SHARE = 0.98
"""Of the values of an activation map so many do not exceed the strongest colour."""

COUNTER_TEXT = {
    "overrun": "frames lost because the camera was faster than the engine",
    "truncated": "frames that ended before their last row",
    "line": "frames with a line of another length",
    "restart": "frames in which another one began",
    "dropped": "frames left out: one was waiting already, many had no decision, or no weights",
    "lost_clock": "times that the camera's clock stopped (no camera counts once)",
    "overflow": "frames cut because pixels came faster than the engine's clock takes them",
    "short_line": "lines from the camera that were too short",
    "long_line": "lines from the camera that were too long",
    "short_frame": "frames from the camera with too few lines",
    "long_frame": "frames from the camera with too many lines, or without an end",
    "uart": "glitches on the way to the board",
    "packet": "packets from here that the board could not use",
    "event": "rows and decisions that the board had no time to send",
}
"""What the board's counters count."""
HOST_TEXT = {
    "damaged": "damaged packets from the board",
    "strange": "packets from the board that nobody here knows",
    "noise": "bytes from the board that are in no packet",
    "missed": "decisions lost on the way from the board",
}
"""What is counted here."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known here of the network that a board says it has.

    Attributes
    ----------
    model : ModelConfig
    weights : Weights or None
        Those in the board; None if it has others.
    text : str
        Which weights these are, or why they are not known.
    """

    model: ModelConfig
    weights: Weights | None
    text: str

    @property
    def scale(self) -> float | None:
        """Of the logits: real units in one step."""
        return None if self.weights is None else self.weights.scales["logit"]


@dataclass
class Scan:
    """A frame as it comes: margins of the stop class, and rows of the activation map."""

    frame: int
    margins: dict[int, int] = field(default_factory=dict)
    map: dict[int, list[float]] = field(default_factory=dict)
    decision: dict[str, Any] | None = None

    def taken(self, row: Row) -> bool:
        """Whether a row can be this frame's next one."""
        return (
            self.decision is None
            and row.frame == self.frame
            and row.row_group > max(self.margins, default=-1)
        )


def told(margin: float, scale: float | None) -> float | None:
    """Probability of the stop class beside the most likely other one, to what a screen can show;
    None if the logits' unit is unknown."""
    return None if scale is None else round(float(probability(margin * scale)), 5)


class Feed:
    """All that a page shows, in sections; each has a version that grows when it changes.

    Every method may be called from any thread.

    Parameters
    ----------
    source : str
        The port, or what is replayed.
    replay : bool
        A recorded run: nothing can be set.
    small : bool
        A small board: single bytes, of a network that it does not name.
    clock : callable
        Seconds, for rates.

    Attributes
    ----------
    known : Known or None
    """

    SECTIONS = ("link", "board", "settings", "scan", "frames", "counters", "picture")

    def __init__(
        self,
        *,
        source: str,
        replay: bool = False,
        small: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source, self.replay, self.small, self._clock = source, replay, small, clock
        self.known: Known | None = None
        self._lock = threading.RLock()
        self._versions = dict.fromkeys(self.SECTIONS, 1)
        self._link = ("starting", "Starting.")
        self._hello: Hello | None = None
        self._asked: dict[str, Any] = {"stop": None, "skip": None}
        self._taken: Taken | None = None
        self._scan: Scan | None = None
        self._before: Scan | None = None
        self._channels: list[bytes] = []
        self._frames: deque[dict[str, Any]] = deque(maxlen=MOST_FRAMES)
        self._times: deque[float] = deque(maxlen=2048)
        self._total = {"seen": 0, "sought": 0, "lost": 0}
        self._last_frame: int | None = None
        self._counters: Counters | None = None
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._here = dict.fromkeys(HOST_TEXT, 0)
        self._picture = Picture()
        self._small_status = 0

    # ---- filled by a link ----

    def say(self, state: str, text: str) -> None:
        """State of the connection ("starting", "up", "lost", "replay", "over"), and in words."""
        with self._lock:
            if (state, text) != self._link:
                self._link = (state, text)
                self._changed("link")

    def identify(self, known: Known | None) -> None:
        """What has been found out of the board's network."""
        with self._lock:
            self.known = known
            self._changed("board", "settings", "scan", "frames")

    def begin(self) -> None:
        """A connection begins: what was half there is gone, counters may have been reset."""
        with self._lock:
            self._keep()
            self._scan, self._channels = None, []
            self._last_frame, self._counters = None, None

    def asked(self, stop: int | None, skip: int | None) -> None:
        """Thresholds that are on their way to the board."""
        with self._lock:
            self._asked, self._taken = {"stop": stop, "skip": skip}, None
            self._changed("settings")

    def count(self, **more: int) -> None:
        """Adds to what is counted here, see `HOST_TEXT`."""
        if any(more.values()):
            with self._lock:
                for name, value in more.items():
                    self._here[name] += value
                self._changed("counters")

    def take(self, event: Event) -> None:
        """A packet from the board."""
        with self._lock:
            if isinstance(event, Row):
                self._row(event)
            elif isinstance(event, State):
                self._state(event)
            elif isinstance(event, Decision):
                self._decision(event)
            elif isinstance(event, Counters):
                self._count(event)
            elif isinstance(event, Preview):
                self._picture.take(event)
                self._changed("picture")
            elif isinstance(event, Taken):
                self._taken = event
                self._changed("settings")
            elif isinstance(event, Hello) and event != self._hello:
                self._hello = event
                self._changed("board")

    def small_decision(self, index: int, status: int) -> None:
        """A small board's byte of a frame."""
        with self._lock:
            self._decided(index, status, None, None)

    def small_report(self, status: int) -> None:
        """A small board's byte when its weights or its camera are ready."""
        with self._lock:
            self._small_status = status
            self._changed("board")

    # ---- given to the browsers ----

    def since(self, seen: dict[str, int]) -> dict[str, Any]:
        """Sections that are newer than `seen`, which is brought up to date."""
        with self._lock:
            new = [name for name in self.SECTIONS if self._versions[name] > seen.get(name, 0)]
            for name in new:
                seen[name] = self._versions[name]
            return {name: getattr(self, f"_{name}_section")() for name in new}

    def picture(self) -> tuple[int, int, int, bytes]:
        """Rows, columns, bytes a pixel, and the bytes of what the camera sees."""
        with self._lock:
            return (*self._picture.pixels.shape, self._picture.pixels.tobytes())

    def thresholds(self) -> dict[str, Any]:
        """The thresholds as they are known here; the section "settings"."""
        with self._lock:
            return self._settings_section()

    # ---- inside, locked ----

    def _changed(self, *names: str) -> None:
        for name in names:
            self._versions[name] += 1

    @property
    def _model(self) -> ModelConfig | None:
        return None if self.known is None else self.known.model

    def _margin(self, logits: tuple[int, ...]) -> int:
        stop = 1 if self._model is None else self._model.stop_index
        if stop >= len(logits):
            return 0
        return logits[stop] - max(logits[:stop] + logits[stop + 1 :])

    def _keep(self) -> None:
        """The last whole scan, before another one begins."""
        if self._scan is not None and self._scan.decision is not None:
            self._before = self._scan

    def _row(self, row: Row) -> None:
        groups = MOST_GROUPS if self._model is None else self._model.row_groups
        if row.row_group >= groups:
            return self.count(strange=1)
        if self._scan is None or not self._scan.taken(row):
            self._keep()
            self._scan = Scan(frame=row.frame)
        self._scan.margins[row.row_group] = self._margin(row.logits)
        self._channels = []
        self._changed("scan")

    def _state(self, state: State) -> None:
        model, scan = self._model, self._scan
        if model is None or scan is None or state.row_group != max(scan.margins, default=-1):
            return
        if state.channel != len(self._channels) or len(state.data) != model.n:
            self._channels = []
            return
        self._channels.append(state.data)
        if len(self._channels) == model.state_channels and self.known is not None:
            if self.known.weights is not None:
                whole = np.frombuffer(bytearray().join(self._channels), np.int8)
                states = whole.reshape(1, model.state_channels, model.n)
                row = class_activation_map(states, self.known.weights, model.stop_index)[0]
                scan.map[state.row_group] = [float(value) for value in row]
                self._changed("scan")
            self._channels = []

    def _decision(self, decision: Decision) -> None:
        if self._last_frame is not None:
            missed = (decision.frame - self._last_frame - 1) & 255
            self.count(missed=missed)
        self._last_frame = decision.frame
        margin = None if decision.status else self._margin(decision.logits)
        self._decided(decision.index, decision.status, decision.rows_used, margin)
        scan = self._scan
        if scan is None or scan.decision is not None or scan.frame != decision.frame:
            self._keep()
            self._scan = scan = Scan(frame=decision.frame)
        scan.decision = self._frames[0]
        self._changed("scan")

    def _decided(self, index: int, status: int, rows: int | None, margin: int | None) -> None:
        now = self._clock()
        self._times.append(now)
        self._total["seen"] += 1
        stop = 1 if self._model is None else self._model.stop_index
        if status:
            self._total["lost"] += 1
        elif index == stop:
            self._total["sought"] += 1
        self._frames.appendleft(
            {
                "number": self._total["seen"],
                "index": index,
                "status": STATUS[status] if status < len(STATUS) else f"status {status}",
                "rows": rows,
                "margin": margin,
            }
        )
        self._changed("frames")

    def _count(self, counters: Counters) -> None:
        before = Counters() if self._counters is None else self._counters
        first = self._counters is None
        self._counters = counters
        if first and any(self._counts.values()):
            before = counters  # of a board that came back: what it counted meanwhile is not known
        for name, more in counters.since(before).items():
            self._counts[name] += more
        self._changed("counters")

    # ---- sections ----

    def _link_section(self) -> dict[str, Any]:
        state, text = self._link
        return {"state": state, "text": text, "source": self.source, "replay": self.replay}

    def _class(self, index: int) -> str:
        names = () if self._model is None else self._model.classes
        return words(names[index]) if index < len(names) else f"class {index}"

    def _board_section(self) -> dict[str, Any]:
        hello, model = self._hello, self._model
        found: dict[str, Any] = {"small": self.small, "preview": False, "facts": [], "wrong": []}
        if hello is not None:
            found["preview"] = bool(hello.status & BoardStatus.PREVIEW)
            found["wrong"] = status_words(hello)
            found["facts"] = [
                ("Network", "not known here" if model is None else model.name),
                ("Array", ",".join(map(str, hello.shape)) + " (pixels, channels, lanes)"),
                ("Weights", f"{hello.weights:08x}" if hello.weights else "none"),
                ("Network's digest", hello.model.hex()),
                ("Configuration's digest", hello.config.hex()),
            ]
            if self.known is not None:
                found["facts"].insert(3, ("These weights", self.known.text))
        elif model is not None:
            found["facts"] = [("Network", f"{model.name}, as this command was told")]
            found["wrong"] = report_words(self._small_status)
        found["warning"] = None
        if self.known is not None and self.known.weights is not None:
            found["warning"] = self.known.weights.warning
        if model is not None:
            found |= {
                "classes": [words(name) for name in model.classes],
                "stop": words(model.stop_class or ""),
                "stop_index": model.stop_index,
                "groups": model.row_groups,
                "rows": model.rows_per_group,
                "size": [model.image_height, model.image_width],
            }
        else:
            found |= {"classes": [], "stop": "class 1", "stop_index": 1}
        found["scale"] = None if self.known is None else self.known.scale
        return found

    def _settings_section(self) -> dict[str, Any]:
        early = None
        if self.known is not None and self.known.weights is not None:
            early = self.known.weights.early
        taken = self._taken
        return {
            "settable": not self.replay and not self.small,
            "asked": self._asked,
            "taken": None if taken is None else {"stop": taken.stop, "skip": taken.skip},
            "usual": None if early is None else {"stop": early.tau, "skip": early.skip},
        }

    def _rate(self) -> float:
        now = self._clock()
        recent = [moment for moment in self._times if moment > now - RATE_S]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(1e-3, recent[-1] - recent[0])

    def _scan_section(self) -> dict[str, Any] | None:
        scan, before = self._scan, self._before
        if scan is None or (scan.decision is None and self._rate() > SLOW):
            scan, before = before, None
        if scan is None:
            return None
        found = self._drawn(scan)
        # under a scan in progress lies the last whole one
        if scan.decision is None and before is not None:
            found["before"] = self._drawn(before)
        return found

    def _drawn(self, scan: Scan) -> dict[str, Any]:
        scale = None if self.known is None else self.known.scale
        values = [abs(value) for row in scan.map.values() for value in row]
        limit = max(1e-9, float(np.quantile(values, LIMIT_SHARE))) if values else 1.0
        return {
            "frame": scan.frame,
            "rows": [
                [group, margin, told(margin, scale)] for group, margin in scan.margins.items()
            ],
            "map": {
                group: [round(max(-1.0, min(1.0, value / limit)), 3) for value in row]
                for group, row in scan.map.items()
            },
            "decision": None if scan.decision is None else self._told(scan.decision),
        }

    def _told(self, frame: dict[str, Any]) -> dict[str, Any]:
        scale = None if self.known is None else self.known.scale
        margin = frame["margin"]
        return {
            **frame,
            "class": self._class(frame["index"]),
            "probability": None if margin is None else told(margin, scale),
        }

    def _frames_section(self) -> dict[str, Any]:
        return {
            **self._total,
            "rate": round(self._rate(), 1),
            "last": [self._told(frame) for frame in self._frames],
        }

    def _counters_section(self) -> dict[str, Any]:
        board = [] if self.small else [
            (name, COUNTER_TEXT[name], self._counts[name]) for name in COUNTERS
        ]  # fmt: skip
        here = [(name, text, self._here[name]) for name, text in HOST_TEXT.items()]
        return {"board": board, "here": here, "told": self._counters is not None or self.small}

    def _picture_section(self) -> dict[str, Any]:
        rows, columns, channels = self._picture.pixels.shape
        return {
            "rows": rows,
            "columns": columns,
            "channels": channels,
            "missing": self._picture.missing,
            "version": self._versions["picture"],
        }


def status_words(hello: Hello) -> list[str]:
    """What is wrong with a board as its hello says; nothing if all is well."""
    found = []
    if hello.weights == 0 and not hello.status & (BoardStatus.LOADING | BoardStatus.PROBLEM):
        found.append("The board has no weights (nothing was loaded): it decides nothing.")
    if hello.status & BoardStatus.LOAD_ERROR:
        found.append("The last weights that were sent to the board had a wrong length.")
    return report_words(hello.status) + found


def report_words(status: int) -> list[str]:
    """What a status byte tells of weights in flash and of the camera."""
    found, problem = [], status & BoardStatus.PROBLEM
    if status & BoardStatus.LOADING:
        found.append("The weights are still being read from the flash.")
    elif problem:
        why = PROBLEM_TEXT.get(problem, f"problem {problem}")
        found.append(f"The weights in flash were not taken: {why}.")
    if status & BoardStatus.CAMERA_FAILED:
        found.append("The camera could not be set up: are its wires right?")
    return found
