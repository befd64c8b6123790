"""A made-up checkpoint in the layout of the authors' release.

The keys and shapes are spelled out here a second time, so that a slip in the float model's names
does not go unseen.
"""

from pathlib import Path

import torch

from golden.config import ModelConfig


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every key of the state dict with its shape."""
    found: dict[str, tuple[int, ...]] = {}

    def norm(prefix: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{prefix}.{part}"] = (channels,)
        found[f"{prefix}.num_batches_tracked"] = ()

    def dense(prefix: str, *shape: int) -> None:
        found[f"{prefix}.weight"] = shape
        found[f"{prefix}.bias"] = shape[:1]

    c, d = config.head_channels, config.state_channels
    kernels = ((c[0], config.in_channels, 3, 3), (c[1], c[0], 1, 3))
    kernels += ((c[2], c[1], 3, 3), (c[3], c[2], 1, 3))
    for head in range(config.heads):
        for block, kernel in enumerate(kernels, start=1):
            prefix = f"raster_cnn_{head}.conv_block{block}"
            found[f"{prefix}.conv.weight"] = kernel
            norm(f"{prefix}.bn", kernel[0])
    if config.spatial_attention != "none":
        for head in range(config.heads):
            prefix = f"raster_att.spatial_attention_{head}"
            found[f"{prefix}.key_conv.weight"] = (d, c[3], 1)
            found[f"{prefix}.value_conv.weight"] = (c[3], c[3], 1)
    prefix, features = "raster_att.channel_prj", config.heads * c[3]
    if config.channel_attention:
        dense(f"{prefix}.channel_att.0", d // 4, features + d, 1)
        dense(f"{prefix}.channel_att.2", features, d // 4, 1)
    found[f"{prefix}.projection.0.weight"] = (d, features, 3)
    norm(f"{prefix}.projection.1", d)
    found[f"{prefix}.projection.3.weight"] = (d, d, 3)
    norm(f"{prefix}.projection.4", d)
    for gate in ("reset", "update", "h"):
        dense(f"raster_rnn.gru.cell.conv_{gate}", d, 2 * d, 1)
    dense("raster_confidence.out_classifier.1", 1, d)
    dense("out_classifier.out_classifier.0", d // 4, d)
    norm("out_classifier.out_classifier.1", d // 4)
    dense("out_classifier.out_classifier.3", 2, d // 4)
    return found


def state_dict(config: ModelConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Values of the release's size: variances up to 1.7e5 in block 1, whose inputs reach 127."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes(config).items():
        values = torch.randn(shape, generator=generator)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(12345)
        elif key.endswith("running_var"):
            most = 1.7e5 if "conv_block1" in key else 2.0
            state[key] = most * (0.3 + 0.7 * torch.rand(shape, generator=generator))
        elif key.endswith("running_mean"):
            state[key] = values * (20 if "conv_block1" in key else 0.3)
        elif ".bn.weight" in key or key.endswith(
            ("projection.1.weight", "projection.4.weight", "out_classifier.1.weight")
        ):
            state[key] = 1 + 0.15 * values if len(shape) == 1 else 0.2 * values
        elif len(shape) > 1:
            fan_in = values[0].numel()
            state[key] = 1.4 * values / fan_in**0.5
        else:
            state[key] = 0.2 * values
    return state


def save(path: Path, config: ModelConfig, seed: int = 0, **changes) -> Path:
    """The file, with an optimizer of tensors and plain numbers; `changes` replace its entries."""
    content = {
        "state_dict": state_dict(config, seed),
        "optimizer": {
            "state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.zeros(3)}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0]}],
        },
    }
    content.update(changes)
    torch.save({key: value for key, value in content.items() if value is not None}, path)
    return path
