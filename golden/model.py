"""The integer network over a whole frame: what the hardware must produce, bit by bit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from golden import attention, classifier, conv_gru, head_lane, line_buffer, projection
from golden.config import ModelConfig
from golden.weights import Weights

_GROUPS_AT_ONCE = 256  # row groups that go through a head together; bounds the patches' memory


@dataclass(frozen=True, eq=False)
class Result:
    """What one run produced, for B pictures of T row groups.

    Attributes
    ----------
    state : int16 tensor [B, T, d, n]
        H after each row group. A group that was not computed repeats the state before it.
    logits : int64 tensor [B, T, K]
        After each row group; repeated likewise (group 0 is always computed).
    margin : int64 tensor [B, T]
        Of the stop class (`golden.classifier.margin`): what both thresholds are compared with.
    computed : bool tensor [B, T]
        False for skipped groups and for all groups after a stop.
    skipped : bool tensor [B, T]
        Groups left out by the skip rule.
    stopped : bool tensor [B]
        Early stop with the stop class.
    rows_used : int64 tensor [B]
        Row groups worked on; skipped ones are not counted.
    decision : int64 tensor [B]
        The class, 0..K-1, from the last computed group; of equal logits the lowest.
    trace : dict or None
        Stage name to int16 tensor [B, T, channels, columns] (names: ``ModelConfig.stages``); zeros
        where not computed.
    """

    state: Tensor
    logits: Tensor
    margin: Tensor
    computed: Tensor
    skipped: Tensor
    stopped: Tensor
    rows_used: Tensor
    decision: Tensor
    trace: dict[str, Tensor] | None


class IntegerModel:
    """RaScaNet on integers, batched over pictures.

    Parameters
    ----------
    config : ModelConfig
    weights : Weights
        Checked against `config` here (ValueError).
    """

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        weights.check(config)
        self.config = config
        self.weights = weights

    def heads(self, rows: Tensor, *, trace: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        """All heads on row groups.

        Parameters
        ----------
        rows : integer tensor [N, in_channels, k, w]
            Signed pixels.

        Returns
        -------
        (P, stages)
            [P_1 : ... : P_M] as int64 [N, features, n] (stored, zero point -128), and the stages
            (int16 [N, channels, columns]; empty unless `trace`).
        """
        chunks: list[Tensor] = []
        traces: list[dict[str, Tensor]] = []
        for part in rows.split(_GROUPS_AT_ONCE):
            stages: dict[str, Tensor] = {}
            last = []
            for index in range(self.config.heads):
                blocks = self.config.head_layers(index)
                found = head_lane.head(part, self.weights.layers, blocks)
                last.append(found[blocks[-1].stages[0]])
                if trace:
                    stages.update({name: maps.to(torch.int16) for name, maps in found.items()})
            chunks.append(torch.cat(last, dim=1))
            traces.append(stages)
        return torch.cat(chunks), {k: torch.cat([t[k] for t in traces]) for k in traces[0]}

    def step(self, features: Tensor, state: Tensor) -> dict[str, Tensor]:
        """Everything after the heads for one row group.

        Parameters
        ----------
        features : int64 tensor [B, features, n]
            [P_1 : ... : P_M], zero point -128.
        state : int64 tensor [B, d, n]
            H of the row group before.

        Returns
        -------
        dict
            Stage name to int64 tensor [B, channels, columns]; ``gru.state`` is the new H.
        """
        config, weights = self.config, self.weights
        stages: dict[str, Tensor] = {}
        if config.spatial:
            banded = config.spatial_attention == "banded"
            outputs = []
            for index, part in enumerate(features.split(config.head_channels[-1], dim=1)):
                stages.update(
                    attention.spatial_attention(
                        part, state, weights.layers, weights.exp_table, index, banded
                    )
                )
                outputs.append(stages[f"attention{index}.output"])
            features = torch.cat(outputs, dim=1)
        zero_point = config.feature_zero_point
        if config.channel_attention:
            stages.update(
                attention.channel_attention(
                    features, state, weights.layers, zero_point, weights.knots
                )
            )
            features = stages["channel_attention.output"]
        stages.update(projection.projection(features, weights.layers, zero_point))
        stages.update(
            conv_gru.conv_gru(stages["projection.1"], state, weights.layers, weights.knots)
        )
        return stages

    @torch.no_grad()
    def run(
        self,
        images: Tensor,
        trace: bool = False,
        stop_threshold: int | None = None,
        skip_threshold: int | None = None,
    ) -> Result:
        """Whole frames, row group by row group.

        Parameters
        ----------
        images : uint8 tensor [B, in_channels, h, w]
            Already stretched to the config's size.
        trace : bool
            Keep every stage of every row group.
        stop_threshold : int or None
            Stop with the stop class after a group whose margin is at least this.
        skip_threshold : int or None
            After a group whose margin is at most this, leave out the next one altogether
            (it may be the last: then the last computed state decides).

        Raises
        ------
        ValueError
            Shape or dtype of `images`.
        """
        config = self.config
        wanted = (config.in_channels, config.image_height, config.image_width)
        if images.dim() != 4 or tuple(images.shape[1:]) != wanted:
            rule = ", ".join(map(str, wanted))
            raise ValueError(f"images must be [B, {rule}], not {list(images.shape)}")
        if images.dtype != torch.uint8:
            kind = str(images.dtype).removeprefix("torch.")
            raise ValueError(f"images must be uint8, not {kind}")
        batch, groups = images.shape[0], config.row_groups
        rows = line_buffer.split_row_groups(line_buffer.to_signed(images), config.rows_per_group)
        features, stages = self.heads(rows.flatten(0, 1), trace=trace)
        features = features.unflatten(0, (batch, groups))
        traced: dict[str, Tensor] = {}
        if trace:
            for stage in config.stages:
                if stage.name in stages:
                    traced[stage.name] = stages[stage.name].unflatten(0, (batch, groups))
                else:
                    shape = (batch, groups, stage.channels, stage.columns)
                    traced[stage.name] = torch.zeros(shape, dtype=torch.int16)
        return self.scan(
            features,
            stop_threshold=stop_threshold,
            skip_threshold=skip_threshold,
            trace=traced if trace else None,
        )

    @torch.no_grad()
    def scan(
        self,
        features: Tensor,
        *,
        stop_threshold: int | None = None,
        skip_threshold: int | None = None,
        trace: dict[str, Tensor] | None = None,
    ) -> Result:
        """What `run` does after the heads, so that several thresholds can share their work.

        Parameters
        ----------
        features : int64 tensor [B, T, features, n]
            [P_1 : ... : P_M] of every row group, from `heads`.
        stop_threshold, skip_threshold : int or None
            As in `run`.
        trace : dict or None
            Stage name to int16 tensor [B, T, channels, columns]; filled, with zeros where not
            computed.
        """
        config = self.config
        batch, groups = features.shape[:2]
        state = torch.zeros((batch, config.state_channels, config.n), dtype=torch.int64)
        logits = torch.zeros((batch, config.class_count), dtype=torch.int64)
        stopped = torch.zeros(batch, dtype=torch.bool)
        skip_next = torch.zeros(batch, dtype=torch.bool)
        all_state = torch.empty((batch, groups, *state.shape[1:]), dtype=torch.int16)
        all_logits = torch.empty((batch, groups, config.class_count), dtype=torch.int64)
        computed = torch.empty((batch, groups), dtype=torch.bool)
        skipped = torch.empty((batch, groups), dtype=torch.bool)
        for t in range(groups):
            work = ~stopped & ~skip_next
            skipped[:, t] = ~stopped & skip_next
            computed[:, t] = work
            if bool(work.any()):
                found = self.step(features[:, t], state)
                state = torch.where(work[:, None, None], found["gru.state"], state)
                fresh = classifier.classify(state, self.weights.layers)
                logits = torch.where(work[:, None], fresh, logits)
                if trace is not None:
                    for name, maps in found.items():
                        trace[name][:, t] = maps.to(torch.int16)
            margin = classifier.margin(logits, config.stop_index)
            skip_next = torch.zeros_like(stopped)  # a skipped group makes no new decision to skip
            if stop_threshold is not None:
                stop = work & (margin >= stop_threshold)
                stopped |= stop
            if skip_threshold is not None:
                skip_next = work & ~stopped & (margin <= skip_threshold)
            all_state[:, t] = state.to(torch.int16)
            all_logits[:, t] = logits
        for maps in (trace or {}).values():
            maps[~computed] = 0
        decision = torch.where(stopped, config.stop_index, classifier.decide(logits))
        return Result(
            state=all_state,
            logits=all_logits,
            margin=classifier.margin(all_logits, config.stop_index),
            computed=computed,
            skipped=skipped,
            stopped=stopped,
            rows_used=computed.sum(1),
            decision=decision,
            trace=trace,
        )
