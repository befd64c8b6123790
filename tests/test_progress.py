"""boards.progress: nextpnr's phases, and what is told of them on a terminal and without one."""

import io
from types import SimpleNamespace as Namespace

from rich.console import Console

from boards.progress import Phases, Runs

LOG = """\
Info: constraining clock net 'clock' to 150.00 MHz
Info: Packing LUT5-7s...
Info: Promoting globals...
Info: Creating initial analytic placement for 5214 cells, random placement wirelen = 336945.
Info:     at initial placer iter 0, wirelen = 2231
Info:     at iteration #1, type ALL: wirelen solved = 1902, spread = 58256, legal = 69975; time = 2s
Info: Running simulated annealing placer for refinement.
Info:   at iteration #29: temp = 0.000000, timing cost = 736, wirelen = 30566
Info: Routing globals...
Info: Routing 22510 arcs.
Info:      27000 |     4810      21139 |  185   815 |      1467|       1.85      50.56|
Info:     iter=3 wires=51234 overused=1234 overuse=1300 archfail=NA
Info: Routing complete.
Info: Max frequency for clock '$glbnet$clock': 111.23 MHz (FAIL at 150.01 MHz)
"""
TEXTS = [
    "starts",
    "packing, LUT5-7s",
    "packing, global nets",
    "placing, 5,214 cells",
    "placing, 5,214 cells",
    "placing, pass 1, wire length 69,975",
    "placing, refinement",
    "placing, refinement 29, wire length 30,566",
    "routing, global nets",
    "routing, 22,510 wires",
    "routing, 1,467 wires left",
    "routing, pass 3, 1,234 wires overused",
    "timing",
    "timing",
]


def test_phases():
    phases, texts = Phases(), []
    for line in LOG.splitlines():
        phases.read(line)
        texts.append(phases.text)
    assert texts == TEXTS and phases.phase == "timing"


def shown(terminal, step, names=(None,)):
    """(what is printed, what the live line was)"""
    seconds, live = [0.0], []
    console = Console(file=io.StringIO(), force_terminal=terminal, width=60)
    runs = Runs("place", console, Namespace(update=live.append), lambda: seconds[0])
    readers = [runs.reader(name) for name in names]
    for line in LOG.splitlines():
        for reader in readers:
            reader(line)
        seconds[0] += step
    for name in names:
        runs.done(name)
    return console.file.getvalue().splitlines(), live


def test_a_live_line():
    lines, live = shown(True, 1)
    assert not lines and live[0] == "place, 1 s: packing, LUT5-7s"
    assert live[-2:] == [
        "place, 11 s: routing, pass 3, 1,234 wires overused",
        "place, 12 s: timing",
    ]


def test_plain_lines():
    """One a phase, and one a minute."""
    assert shown(False, 1)[0] == [
        "place, 1 s: packing, LUT5-7s",
        "place, 3 s: placing, 5,214 cells",
        "place, 8 s: routing, global nets",
        "place, 12 s: timing",
    ]
    assert len(shown(False, 61)[0]) == len(set(TEXTS)) - 1


def test_side_by_side():
    lines, live = shown(False, 1, ("seed 1", "seed 2"))
    assert live[-1] == "place, 12 s: seed 1: timing; seed 2: timing"
    assert lines[:2] == [f"place, 1 s: seed {seed}: packing, LUT5-7s" for seed in (1, 2)]
