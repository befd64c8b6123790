"""The order of the site's pages, by reader. A page of docs/ that is not in it fails the tests."""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """Pages under one heading of the navigation, by their paths without ending."""

    title: str
    pages: tuple[str, ...]


CARDS = tuple(
    f"docs/model_card_vww_{name}"
    for name in ("210x240", "175x200", "140x160", "105x120", "105x120_grey")
)

PARTS = (
    Part("First steps", ("docs/tutorial", "docs/simulate", "docs/how_it_works", "docs/glossary")),
    Part("For a board", ("docs/boards", "docs/cameras", "docs/results")),
    Part(
        "For a chip",
        (
            *("docs/integration", "docs/registers", "docs/reports", "docs/asic"),
            *("docs/explore", "docs/sizes"),
        ),
    ),
    Part(
        "For data",
        (
            *("docs/pictures", "docs/training", "docs/quantisation", "docs/early_termination"),
            *CARDS,
        ),
    ),
    Part("For the code", ("docs/architecture", "docs/network", "CONTRIBUTING", "CHANGELOG")),
    Part(
        "Reference",
        ("docs/commands", "reference/commands", "reference/variables", "reference/keys"),
    ),
)
"""Pages below reference/ are made from the code (`rasca.site.reference`, `rasca.site.keys`)."""

ROOT_PAGE = "README"
MADE = "reference/"


def pages() -> tuple[str, ...]:
    """All pages in order, the first one apart."""
    return tuple(page for part in PARTS for page in part.pages)


def toctrees() -> str:
    """The navigation, as MyST has it."""
    return "\n".join(
        f"```{{toctree}}\n:hidden:\n:caption: {part.title}\n\n"
        + "".join(f"{page}\n" for page in part.pages)
        + "```\n"
        for part in PARTS
    )
