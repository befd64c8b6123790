"""Runs a command as `python -m rasca` does, in this process."""

import contextlib
import io
import os
from dataclasses import dataclass
from unittest import mock

from rasca import make
from rasca.__main__ import load, run


@dataclass(frozen=True)
class Result:
    """What a command said (`output`: both streams as they came) and its exit status."""

    exit_code: int
    stdout: str
    stderr: str
    output: str


class _Tee(io.StringIO):
    def __init__(self, both):
        super().__init__()
        self.both = both

    def write(self, text):
        self.both.write(text)
        return super().write(text)


def invoke(*words, from_make=False):
    """`rasca WORDS`."""
    both = io.StringIO()
    out, err = _Tee(both), _Tee(both)
    with (
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in [one for one in os.environ if one.startswith("MAKE") or one == make.GOALS]:
            del os.environ[name]  # of the make that runs the tests
        status = run([str(word) for word in words], from_make)
    return Result(status, out.getvalue(), err.getvalue(), both.getvalue())


def refused(*words, from_make=False):
    """The one line with which a command refuses what it was given."""
    result = invoke(*words, from_make=from_make)
    assert result.exit_code == 2, result.output
    lines = result.output.splitlines()
    assert len(lines) == 1 and lines[0].startswith("rasca: "), result.output
    return lines[0]


def parse(words):
    """The options of a command line; one that the command has not got is an error."""
    return load(words[0]).make_context(words[0], list(words[1:])).params
