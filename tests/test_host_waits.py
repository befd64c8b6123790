"""The host tool never waits for ever, whatever is at the other end of the port."""

import os
import time

import pytest

from boards import host, port
from boards.port import BoardError, open_port
from golden.errors import BROKEN
from tests.command import invoke
from tests.fake_board import HELLO, FakeBoard


def timed(limit, *words):
    began = time.monotonic()
    found = invoke("host", *words)
    assert time.monotonic() - began < limit, found.output
    assert "Traceback" not in found.output
    return found


@pytest.mark.parametrize("rate", [25, 30, 500])
def test_a_board_whose_camera_runs(rate):
    """Today's code waits for quiet, which never comes at 25 frames/s."""
    with FakeBoard(rate=rate) as board:
        found = timed(15, "--port", board.port, "--watch", "--seconds", 1)
    assert found.exit_code == 0, found.output
    assert "vww_105x120" in found.output


def test_waiting_for_weights_to_arrive():
    with FakeBoard(rate=100) as fake:
        link = host.Connection(open_port(fake.port, 1_000_000), 1.0)
        link.greet()
        began = time.monotonic()
        with pytest.raises(BoardError, match="the weights did not arrive after 2 tries"):
            host.load(link, host.known_model(HELLO), bytes(400))
        assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "mode, rate, said",
    [
        ("silent", 0, "no hello .*within 0.5 s; nothing came at all"),
        ("garbage", 300, r"no hello .*; \d+ bytes came, but no packet: is the baud rate right\?"),
        ("gone_early", 0, "the connection over /dev/pts/.* was lost: is the cable still there?"),
        ("gone_early", 30, "the connection over /dev/pts/.* was lost"),
        ("gone", 0, "the connection over /dev/pts/.* was lost"),
    ],
)
def test_the_cable(mode, rate, said, monkeypatch):
    monkeypatch.setattr(host, "check_weights", lambda *_: None)
    with FakeBoard(mode, rate) as board:
        found = timed(60, "--port", board.port, "--patience", 0.5)
    assert found.exit_code == BROKEN == 3
    import re

    assert re.search(rf"^rasca: .*{said}", found.stderr.splitlines()[-1]), found.stderr


def test_decisions_do_not_stand_for_the_rows_that_are_waited_for():
    """A picture whose rows never come, beside a camera that never stops."""
    with FakeBoard(rate=200) as board:
        link = host.Connection(open_port(board.port, 1_000_000), 0.5)
        began = time.monotonic()
        assert any(True for _ in link.awaited(host.Row))
        for _ in link.awaited(host.Row, host.State):
            pass
        assert 0.4 < time.monotonic() - began < 8


def test_a_port_that_takes_no_bytes(monkeypatch):
    monkeypatch.setattr(port, "WRITE_S", 0.2)
    master, slave = os.openpty()
    try:
        link = open_port(os.ttyname(slave), 1_000_000)
        with pytest.raises(BoardError, match="took no bytes within 0.2 s"):
            for _ in range(10_000):
                link.write(bytes(4096))
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize(
    "error, said",
    [
        (FileNotFoundError(2, "No such file"), "no such port"),
        (PermissionError(13, "denied"), "no permission .*dialout"),
        (OSError(16, "busy"), "another program has it open"),
        (OSError("Could not exclusively lock port"), "another program has it open"),
        (ValueError("what"), "what"),
    ],
)
def test_the_likely_cause_is_named(error, said, monkeypatch):
    import serial

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(serial, "serial_for_url", fails)
    with pytest.raises(
        ValueError, match=f"X: expected a serial port that can be opened, but: .*{said}"
    ):
        open_port("X", 9600)


def test_a_port_is_not_shared():
    with FakeBoard() as board:
        first = open_port(board.port, 1_000_000)
        with pytest.raises(ValueError, match="another program has it open"):
            open_port(board.port, 1_000_000)
        first.close()
