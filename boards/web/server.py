"""Serves the page, and what changes, to browsers; takes their settings.

| address | answer |
|---|---|
| ``/``, ``/page.css``, ``/page.js`` | the page; nothing in it comes from anywhere else |
| ``/stream`` | server-sent events: JSON objects of the feed's sections that changed, `PACE_S` apart at least; an empty one after `BEAT_S` without any |
| ``/picture`` | what the camera sees: bytes, row by row; ``X-Size``: rows, columns, bytes a pixel |
| ``POST /settings`` | ``stop``, ``skip`` (a probability, a margin where the unit of the logits is not known, or null), ``colour``; answers with what the board took |

Only the page itself may set something: another origin, another kind of content, and a name of this
machine that is none (DNS rebinding) are refused with 403. There are no passwords: whoever reaches
the address sees the page and can set thresholds.
"""  # noqa: E501

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from tornado import web
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError

from boards.packets import Taken
from boards.port import BoardError
from boards.web.feed import Feed
from boards.web.link import Wish
from golden.classifier import threshold

ADDRESS, PORT = "127.0.0.1", 8765
PACE_S = 0.05
"""Seconds between what a browser is sent."""
BEAT_S = 3.0
"""Seconds after which it is told that there is nothing new."""
STALLED_S = 20.0
"""Seconds after which a browser that takes nothing is let go."""
MOST_STREAMS = 32
"""Pages that may look at the same time."""
MOST_BODY = 4096
"""Bytes of what a browser may send."""
WAIT_S = 4.0
"""Seconds for the board to answer to settings."""

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Control = Callable[[Wish], "Future[Taken | None]"]


def name_of(host: str) -> str:
    """The name in a Host header, without port and brackets; empty if it cannot be one."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # an open bracket, say
        return ""


def welcome(host: str, address: str) -> bool:
    """Whether this machine is called so: an address, its own name, or the one it was given."""
    name = name_of(host)
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    own = socket.gethostname().lower()
    return name in {"localhost", address.lower(), own, f"{own.partition('.')[0]}.local"}


class Refused(web.HTTPError):
    """An answer that says in words why there is no other."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status)
        self.text = " ".join(text.split())


class _Handler(web.RequestHandler):
    """What all answers have in common."""

    page: Page

    def initialize(self, page: Page) -> None:
        self.page = page

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    def prepare(self) -> None:
        if not welcome(self.request.host, self.page.address):
            raise Refused(403, "this machine is not called so")

    def write_error(self, status_code: int, **more: Any) -> None:
        error = more["exc_info"][1] if "exc_info" in more else None
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"error": getattr(error, "text", self._reason)}))

    def log_exception(self, kind: Any, value: Any, trace: Any) -> None:
        if not isinstance(value, web.HTTPError):
            super().log_exception(kind, value, trace)


class _File(_Handler):
    def get(self) -> None:
        content, kind = self.page.files[self.request.path]
        self.set_header("Content-Type", kind)
        self.write(content)


class _Picture(_Handler):
    def get(self) -> None:
        rows, columns, channels, data = self.page.feed.picture()
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("X-Size", f"{rows},{columns},{channels}")
        self.write(data)


class _Stream(_Handler):
    _gone = False

    def on_connection_close(self) -> None:
        self._gone = True

    async def get(self) -> None:
        page = self.page
        if page.streams >= MOST_STREAMS:
            raise Refused(503, f"{MOST_STREAMS} pages look already")
        self.set_header("Content-Type", "text/event-stream")
        seen: dict[str, int] = {}
        beat = time.monotonic()
        page.streams += 1
        try:
            while not page.over.is_set() and not self._gone:
                new = page.feed.since(seen)
                if new or time.monotonic() - beat > BEAT_S:
                    self.write(f"data: {json.dumps(new, separators=(',', ':'))}\n\n")
                    await asyncio.wait_for(self.flush(), STALLED_S)
                    beat = time.monotonic()
                await asyncio.sleep(PACE_S)
        except (StreamClosedError, TimeoutError):
            self.request.connection.close()  # type: ignore[union-attr]
        finally:
            page.streams -= 1


class _Settings(_Handler):
    async def post(self) -> None:
        self._own_page()
        control = self.page.control
        if control is None:
            raise Refused(409, "nothing can be set here: there is no board")
        try:
            future = control(self._wish())
        except ValueError as error:
            raise Refused(400, str(error)) from None
        try:
            taken = await asyncio.wait_for(asyncio.wrap_future(future), WAIT_S)
        except BoardError as error:
            raise Refused(503, str(error)) from None
        except TimeoutError:
            raise Refused(503, "the board does not answer") from None
        found = None if taken is None else {"stop": taken.stop, "skip": taken.skip}
        self.write({"taken": found})

    def _own_page(self) -> None:
        """403 unless the page that was served here asks."""
        headers = self.request.headers
        origin = headers.get("Origin")
        if origin is not None and origin != f"http://{self.request.host}":
            raise Refused(403, "only the page that is served here may set something")
        if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise Refused(403, "only the page that is served here may set something")
        # what a form of another page can send is never JSON
        if headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise Refused(403, "expected application/json")

    def _wish(self) -> Wish:
        try:
            found = json.loads(self.request.body)
        except (ValueError, RecursionError):
            raise ValueError("expected JSON") from None
        if not isinstance(found, dict):
            raise ValueError("expected a JSON object")
        known = self.page.feed.known
        scale = None if known is None else known.scale
        return Wish(
            stop=steps("stop", found.get("stop"), scale, up=True),
            skip=steps("skip", found.get("skip"), scale, up=False),
            colour=found.get("colour") is True,
        )


class _Nothing(_Handler):
    def prepare(self) -> None:
        super().prepare()
        raise Refused(404, "there is no such page")


def steps(name: str, value: object, scale: float | None, *, up: bool) -> int | None:
    """A threshold in steps of the logits, of a probability or (no scale) of a margin.

    Raises
    ------
    ValueError
        No number, or outside of what it can be.
    """
    if value is None:
        return None
    # an int may have more digits than a float holds
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) < sys.float_info.max:
        raise ValueError(f"expected a number for {name}, not {json.dumps(value)[:40]}")
    if scale is None:
        if value != int(value) or not -(1 << 31) <= value < 1 << 31:
            raise ValueError(f"{name} must be a whole number of 32 bits, not {value:.12g}")
        return int(value)
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 100 %, not at {100 * value:.6g} %")
    return threshold(float(value), scale, up=up)


class Page:
    """A server of one feed, on a socket that is bound at once.

    Parameters
    ----------
    feed : Feed
    control : callable or None
        Sends a `Wish` to the board; None where nothing can be set.
    address, port
        Where it listens; port 0 takes a free one.

    Attributes
    ----------
    url : str
        Where a browser finds it.

    Raises
    ------
    ValueError
        The address is none of this machine, or the port is taken.
    """

    def __init__(
        self,
        feed: Feed,
        control: Control | None = None,
        *,
        address: str = ADDRESS,
        port: int = PORT,
    ) -> None:
        self.feed, self.control, self.address = feed, control, address
        self.streams = 0
        self.over = threading.Event()
        folder = resources.files("boards.web")
        self.files = {
            path: ((folder / name).read_bytes(), kind) for path, (name, kind) in FILES.items()
        }
        self._socket = bind(address, port)
        number = self._socket.getsockname()[1]
        shown = "localhost" if address in ("0.0.0.0", "::") else address
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{number}/"

    async def serve(self, seconds: float | None = None) -> None:
        """Until `over` is set, or so many seconds have passed."""
        more = {"page": self}
        application = web.Application(
            [
                *((path, _File, more) for path in FILES),
                ("/stream", _Stream, more),
                ("/picture", _Picture, more),
                ("/settings", _Settings, more),
            ],
            default_handler_class=_Nothing,
            default_handler_args=more,
            log_function=lambda handler: None,
        )
        server = HTTPServer(
            application,
            max_body_size=MOST_BODY,
            max_header_size=16384,
            body_timeout=10,
            idle_connection_timeout=60,
        )
        server.add_socket(self._socket)
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while not self.over.is_set() and (end is None or time.monotonic() < end):
                await asyncio.sleep(PACE_S)
        finally:
            self.over.set()
            server.stop()
            await server.close_all_connections()

    def close(self) -> None:
        """Ends `serve`, and frees the socket of one that never began."""
        self.over.set()
        self._socket.close()


def bind(address: str, port: int) -> socket.socket:
    """A socket that listens there; ValueError in words if that cannot be."""
    if not 0 <= port <= 65535:
        raise ValueError(f"--web-port must lie inside 0..65535, not {port}")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)
        found = socket.create_server((address, port), family=family, backlog=MOST_STREAMS)
        found.setblocking(False)
        return found
    except socket.gaierror:
        why = f"--web-address: expected an address of this machine, not {address!r}"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"--web-port: expected a free port, not {port}, which another program has"
        elif error.errno == errno.EADDRNOTAVAIL:
            why = f"--web-address: expected an address of this machine, not {address!r}"
        elif error.errno in (errno.EACCES, errno.EPERM):
            why = f"--web-port: expected a port that this user may take, not {port}"
        else:
            why = f"--web-address, --web-port: cannot listen there ({error.strerror})"
    raise ValueError(why) from None
