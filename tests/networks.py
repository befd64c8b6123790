"""Small networks with any blocks, for tests."""

import random

from golden.config import ModelConfig

KERNELS = {  # head_kernels: k = 3, 5, 7, 9; columns 1 and 3; one block to six
    "one": ((3, 3),),
    "tall": ((9, 3),),
    "grey": ((1, 3), (3, 1)),
    "five": ((5, 1), (1, 3)),
    "camera": ((1, 1), (3, 3), (3, 3)),
    "seven": ((3, 3), (1, 3), (3, 3), (1, 3), (3, 3)),
    "nine": ((3, 3), (3, 1), (1, 3), (3, 3), (1, 1), (3, 3)),
    "late": ((1, 3), (1, 3), (5, 3), (1, 3)),
    "paper": ((3, 3), (1, 3), (3, 3), (1, 3)),
}


def network(kind: str, seed: int) -> ModelConfig:
    """A network with the blocks of that kind; what is left open is random."""
    rng = random.Random(seed)
    kernels = KERNELS[kind]
    spatial = rng.choice(("none", "full"))
    width = rng.randint(2 ** len(kernels), 3 * 2 ** len(kernels))
    return ModelConfig(
        name=kind,
        image_height=10,
        image_width=min(width, 4 * 2 ** len(kernels) - 1),
        heads=rng.randint(1, 3),
        head_channels=tuple(rng.randint(1, 5) for _ in kernels),
        head_kernels=kernels,
        state_channels=rng.randint(2, 9),
        attention_hidden=rng.randint(1, 4),
        spatial_attention=spatial,
        in_channels=rng.choice((1, 3)),
        classes=tuple("abc"[: rng.choice((2, 3))]),
    )
