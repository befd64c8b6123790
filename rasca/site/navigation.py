"""The order of the site's pages, by reader. A page of docs/ that is not in it fails the tests."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """Pages under one heading of the navigation, by their paths without ending."""

    title: str
    pages: tuple[str, ...]


CARDS = tuple(
    f"docs/model_card_vww_{name}"
    for name in (
        *("210x240", "210x240_full", "175x200", "140x160", "105x120"),
        *("210x240_grey", "105x120_grey"),
    )
)

PARTS = (
    Part("First steps", ("docs/tutorial", "docs/simulate", "docs/how_it_works", "docs/glossary")),
    Part(
        "For a board",
        (
            *("docs/boards", "docs/cameras", "docs/results", "docs/packets"),
            *("docs/boards_inside", "docs/boards_timing", "docs/netlist"),
        ),
    ),
    Part(
        "For a chip",
        (
            *("docs/integration", "docs/registers", "examples/litex/README"),
            *("docs/reports", "docs/asic"),
            *("docs/explore", "docs/sizes"),
        ),
    ),
    Part(
        "For data",
        (
            *("docs/pictures", "docs/training", "docs/training_log", "docs/quantisation"),
            "docs/early_termination",
            *CARDS,
        ),
    ),
    Part(
        "For the code",
        (
            *("docs/library", "docs/architecture", "docs/network", "docs/verification"),
            *("docs/faults_found", "CONTRIBUTING", "CHANGELOG"),
        ),
    ),
    Part(
        "Reference",
        ("docs/commands", "reference/commands", "reference/variables", "reference/keys"),
    ),
)
"""Pages below reference/ are made from the code (`rasca.site.reference`, `rasca.site.keys`)."""

TITLES = {
    "docs/tutorial": "Tutorial",
    "docs/boards": "Boards",
    "docs/boards_inside": "Inside a design",
    "docs/boards_timing": "Clocks and pins",
    "docs/netlist": "Netlists, simulated",
    "docs/results": "Results of place and route",
    "docs/integration": "Integration",
    "docs/reports": "Report of an engine",
    "docs/asic": "Standard cells",
    "docs/explore": "Exploration",
    "docs/quantisation": "Integers from floats",
    "docs/early_termination": "Early termination",
    "docs/network": "Network and equations",
    "docs/verification": "Verification",
    "docs/faults_found": "Faults found",
    "docs/commands": "Commands and files",
    "reference/keys": "JSON keys",
    **{
        one: f"Model card {one.removeprefix('docs/model_card_vww_').replace('_', ' ')}"
        for one in CARDS
    },
}
"""Short names in the navigation, where a page's own title is long."""

ROOT_PAGE = "README"
MADE = "reference/"


def pages() -> tuple[str, ...]:
    """All pages in order, the first one apart."""
    return tuple(page for part in PARTS for page in part.pages)


def _entry(page: str) -> str:
    return f"{TITLES[page]} <{page}>" if page in TITLES else page


def toctrees() -> str:
    """The navigation, as MyST has it."""
    return "\n".join(
        f"```{{toctree}}\n:hidden:\n:caption: {part.title}\n\n"
        + "".join(f"{_entry(page)}\n" for page in part.pages)
        + "```\n"
        for part in PARTS
    )
