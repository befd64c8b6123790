"""Hypothesis as the property tests use it: always the same few examples, many on request.

    make test ARGS="--hypothesis-profile=many tests/test_properties_bytes.py"

draws 2,000 new ones for each property; `--hypothesis-seed=` makes them again.
"""

import pytest
from hypothesis import Phase, configuration, settings

from golden.files import BUILD

FEW, MANY = 40, 2000


def register() -> None:
    """The profiles, and where Hypothesis keeps what it knows of this interpreter."""
    configuration.set_hypothesis_home_dir(BUILD / "hypothesis")
    common = {"database": None, "deadline": None, "report_multiple_bugs": False}
    settings.register_profile("few", max_examples=FEW, derandomize=True, **common)
    settings.register_profile("many", max_examples=MANY, print_blob=True, **common)
    settings.load_profile("few")


def fails(test, monkeypatch, **given) -> None:
    """Asserts that a property does not hold; whether is asked, not how shortly it can be shown."""
    own = "_hypothesis_internal_use_settings"
    quick = settings(getattr(test, own), phases=(Phase.explicit, Phase.generate))
    monkeypatch.setattr(test, own, quick)
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        test(**given)
