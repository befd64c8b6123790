"""A serial port whose faults are told in words: what it is, and the likely cause."""

from __future__ import annotations

import contextlib
import errno
from typing import Any

WRITE_S = 3.0
"""Seconds after which a port that takes no bytes is given up."""


class BoardError(Exception):
    """The board does not answer, or not as it should, or its port is gone."""


class Port:
    """A byte stream over an open `serial.Serial`; BoardError when the connection ends."""

    def __init__(self, serial: Any, name: str) -> None:
        self._serial, self.name = serial, name

    def read(self, size: int) -> bytes:
        """At most so many bytes; fewer, or none, after a short time."""
        with self._lost():
            return self._serial.read(size)

    def write(self, data: bytes) -> int | None:
        with self._lost():
            return self._serial.write(data)

    def close(self) -> None:
        with contextlib.suppress(Exception):  # of a port that is gone
            self._serial.close()

    @contextlib.contextmanager
    def _lost(self):
        import serial

        try:
            yield
        except serial.SerialTimeoutException:
            raise BoardError(
                f"{self.name} took no bytes within {WRITE_S:g} s: is it the board's port?"
            ) from None
        except (OSError, TypeError, AttributeError) as error:  # pyserial's, of a closed handle
            raise BoardError(
                f"the connection over {self.name} was lost: is the cable still there? "
                f"({' '.join(str(error).split())})"
            ) from None


def open_port(port: str, baud: int) -> Port:
    """A serial port.

    Raises
    ------
    ValueError
        In a line, with the likely cause: no such port, no permission, another program has it.
    """
    import serial

    more = {} if "://" in port else {"exclusive": True}
    try:
        found = serial.serial_for_url(
            port, baudrate=baud, timeout=0.02, write_timeout=WRITE_S, **more
        )
    except (serial.SerialException, OSError, ValueError) as error:
        raise ValueError(
            f"{port}: expected a serial port that can be opened, but: {_cause(error)}"
        ) from None
    return Port(found, port)


def _cause(error: Exception) -> str:
    text = " ".join(str(error).split())
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return "there is no such port (is the board plugged in, and is it this one?)"
    if number in (errno.EACCES, errno.EPERM):
        return "no permission (on Debian and Ubuntu: sudo usermod -aG dialout $USER, log in again)"
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        return "another program has it open"
    return text
