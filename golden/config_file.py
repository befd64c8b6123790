"""Fields of a TOML, YAML or JSON file, with errors in one line that say where and why."""

from __future__ import annotations

import json
import reprlib
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from golden.errors import check_size, missing, said

SUFFIXES = (".toml", ".yaml", ".yml", ".json")
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxtuple, _SHORT.maxlist = 3, 8, 20, 20
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: object) -> str:
    """`repr` of a value for an error: one line, long ones cut."""
    return " ".join(_SHORT.repr(value).split())


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean ...?``, or nothing if no known name is near."""
    found = get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


MOST_BYTES = 1 << 20
"""Of a file of fields; a network has some hundred."""


class _Loader(yaml.SafeLoader):
    """Plain values only, no key twice; no merging (<<), by which few lines make gigabytes."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    _once([key for key in keys if isinstance(key, str)])
    loader.flatten_mapping(node)
    return dict(yaml.SafeLoader.construct_mapping(loader, node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _once(keys: list[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"field {shown(key)} is given twice")
        seen.add(key)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _once([key for key, _ in pairs])
    return dict(pairs)


def read_yaml(text: str) -> Any:
    """What a YAML text holds: plain values, no key twice, nothing merged.

    Raises
    ------
    ValueError, RecursionError, yaml.YAMLError
    """
    return yaml.load(text, _Loader)


def read_fields(path: Path) -> dict[str, Any]:
    """The fields of a file, by its ending (`SUFFIXES`).

    Raises
    ------
    ValueError
        One line that begins with the path: another ending, no such file, not UTF-8, not in its
        format (with the place), no fields in it.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(f"{path}: must end in {', '.join(SUFFIXES)}, not {shown(path.suffix)}")
    if not path.is_file():
        raise ValueError(missing(path))
    try:
        check_size(path, MOST_BYTES)
        text = path.read_bytes().decode("utf-8-sig")
        if kind == ".toml":
            found = tomllib.loads(text)
        elif kind == ".json":
            found = json.loads(text, object_pairs_hook=_pairs)
        else:
            found = read_yaml(text)
    except OSError as error:
        raise ValueError(said(error)) from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not a {kind[1:].upper()} file ({reason})") from None
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{path}: must hold fields (name: value), not {shown(found)}")
    return found
