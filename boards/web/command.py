"""`rasca host --web`: a page of a board, or of a recorded run, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from pathlib import Path

from rich.console import Console

from boards.web import replay
from boards.web.feed import Feed
from boards.web.known import assumed
from boards.web.link import BoardLink, SmallLink
from boards.web.server import Page
from golden.errors import note


def show(
    console: Console,
    *,
    port: str | None,
    recording: str | Path | None,
    baud: int,
    patience: float,
    small: str | None,
    preset_name: str | None,
    weights_file: str | Path | None,
    address: str,
    web_port: int,
    seconds: float | None,
) -> None:
    """Serves the page.

    Parameters
    ----------
    port, recording
        One of them: a board's serial port, or the packets of a run.
    small : str or None
        A small board, which sends bytes only, with this network.
    seconds : float or None
        Ends after so long.

    Raises
    ------
    ValueError
        No such port or recording, one that is in use, an address that cannot be listened on, or
        something else than packets comes from the port.
    BoardError
        The board does not answer.
    """
    # what can be refused at once, before a board is waited for
    events = None if recording is None else replay.read(recording)
    source = str(port if recording is None else recording)
    feed = Feed(source=source, replay=events is not None, small=small is not None)
    link: BoardLink | SmallLink | replay.Replay
    if events is not None:
        link = replay.Replay(feed, events, preset_name=preset_name, weights_file=weights_file)
    elif small is not None:
        feed.identify(assumed(small))
        link = SmallLink(feed, source, baud, patience)
    else:
        link = BoardLink(
            feed, source, baud, patience, preset_name=preset_name, weights_file=weights_file
        )
    control = link.wish if isinstance(link, BoardLink) else None
    page = Page(feed, control, address=address, port=web_port)
    try:
        link.start()
        console.print(f"{page.url}  shows {source} in a browser; Ctrl-C ends it")
        if not local(address):
            note(f"whoever reaches {address} sees the page and can set thresholds")
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(page.serve(seconds))
    finally:
        page.close()
        link.close()


def local(address: str) -> bool:
    """Whether nobody but this machine reaches it."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return address == "localhost"
