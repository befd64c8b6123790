"""What early termination saves on photographs, by the integer model, for `make report`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from golden import images
from golden.classifier import threshold
from golden.command_line import in_parallel
from golden.config import ModelConfig
from golden.early_termination import PAPER_SAVED, Answers, scans
from golden.errors import note
from golden.evaluate import BATCH
from golden.model import IntegerModel
from golden.weights import Weights

RELEASE = (0.99, 0.005)  # thresholds of the authors' release
DRAWN = 40  # photographs whose person probability is kept
OTHERS = ((0.9, None), (0.9, 0.2), (0.8, 0.1))


@dataclass(frozen=True, eq=False, kw_only=True)
class Pictures:
    """Photographs by name: of a folder, or None for those that `make sim` takes."""

    names: tuple[str, ...]
    paths: tuple[Path, ...] | None

    @classmethod
    def of(cls, folder: Path | None, skip_bad: bool = False) -> "Pictures":
        """ValueError for a folder that is not there or has no picture in it.

        skip_bad: leave files out that cannot be read, with a note.
        """
        if folder is None:
            names = (Path(name).stem for name in images.DEFAULT_PHOTOGRAPHS)
            return cls(names=tuple(names), paths=None)
        paths = images.list_images(folder)
        if skip_bad:
            paths = images.usable(paths, skip_bad=True, tell=note)
        return cls(names=tuple(path.name for path in paths), paths=tuple(paths))

    def batches(self, config: ModelConfig):
        """Functions that load a batch each, and how many pictures are in it."""
        if self.paths is None:
            yield lambda: images.default_images(config), len(self.names)
            return
        for start in range(0, len(self.paths), BATCH):
            part = self.paths[start : start + BATCH]
            yield (lambda part=part: images.load_images(part, config)), len(part)


def scan(
    pictures: Pictures, config: ModelConfig, weights: Weights, skips: Sequence[float | None]
) -> dict[float | None, Answers]:
    """Every picture's margins, for each skip threshold."""
    model = IntegerModel(config, weights)
    loads, sizes = zip(*pictures.batches(config), strict=True)
    parts = in_parallel(
        lambda load: scans(model, load(), skips), loads, sizes, "early termination", "photographs"
    )
    return {skip: Answers.joined([part[skip] for part in parts]) for skip in skips}


def savings(
    pictures: Pictures,
    config: ModelConfig,
    weights: Weights,
    chosen: tuple[float | None, float | None],
    work_uj: float,
) -> dict[str, Any]:
    """MACs and energy saved for several pairs of thresholds, `chosen` first; picture by picture
    for that one.

    work_uj: energy of a whole frame that ends with its work.
    """
    pairs = list(dict.fromkeys([chosen, RELEASE, *OTHERS]))
    skips = list(dict.fromkeys([None, *(skip for _, skip in pairs)]))
    found, scale = scan(pictures, config, weights, skips), weights.scales["logit"]
    whole, _ = found[None].outcome(None)
    lines = []
    for stop, skip in pairs:
        level = None if stop is None else threshold(stop, scale, up=True)
        decision, used = found[skip].outcome(level)
        saved = 1 - float(used.mean()) / config.row_groups
        lines.append(
            {
                "stop": stop,
                "skip": skip,
                "mean_rows_used": round(float(used.mean()), 4),
                "macs_saved": round(saved, 6),
                "energy_saved_uj": round(saved * work_uj, 4),
                "persons": int((decision == config.stop_index).sum()),
                "changed": int((decision != whole).sum()),
            }
        )
    stop, skip = chosen
    level = None if stop is None else threshold(stop, scale, up=True)
    decision, used = found[skip].outcome(level)
    ends = found[skip].stopped_at(level)
    sure = 1 / (1 + np.exp(-found[None].margin * scale))
    return {
        "weights_digest": weights.digest,
        "photographs": len(pictures.names),
        "paper_macs_saved": PAPER_SAVED,
        "thresholds": lines,
        "pictures": [
            {
                "name": name,
                "whole": config.classes[whole[i]],
                "decision": config.classes[decision[i]],
                "last_row_group": int(ends[i]),
                "rows_used": int(used[i]),
                "macs_saved": round(1 - int(used[i]) / config.row_groups, 6),
                "person": [round(float(value), 6) for value in sure[i]] if i < DRAWN else [],
            }
            for i, name in enumerate(pictures.names)
        ],
    }
