"""The integer model against a slow reference in plain Python, and its early termination."""

import math
from dataclasses import replace

import pytest
import torch

from golden import classifier, line_buffer
from golden.array import convolve, exact_matmul
from golden.config import ModelConfig, preset
from golden.model import IntegerModel
from golden.random_weights import random_weights
from golden.weights import constants

TINY = ModelConfig(
    name="tiny",
    image_height=18,  # 3 row groups and 3 rows to drop
    image_width=67,  # 33, 16, 8, 4: two odd columns to drop, and n = 4 shows the band
    heads=2,
    head_channels=(2, 3, 2, 3),
    state_channels=5,
    attention_hidden=2,
    classifier_hidden=3,
)


def pictures(config, count, generator):
    size = (count, config.in_channels, config.image_height, config.image_width)
    images = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    images[-1] = 0  # and the extremes
    images[-1, :, ::2] = 255
    return images


class Reference:
    """One picture in loops over Python integers: ``sum w * (b - zero point)``, padded with real 0.

    Shares nothing with golden/ but the weights; written from docs/architecture.md.
    """

    def __init__(self, config, weights):
        self.config, self.weights = config, weights
        self.knots = weights.knots.tolist()

    def layer(self, name, maps, zeros):
        """Requantised convolution of maps[channel][row][column] with a zero point per channel."""
        layer = self.weights.layers[name]
        w, bias = layer.weight.tolist(), layer.bias.tolist()
        multiplier, shift = layer.multiplier.tolist(), layer.shift.tolist()
        kernel_rows, kernel_cols = len(w[0][0]), len(w[0][0][0])
        rows, cols, side = len(maps[0]), len(maps[0][0]), kernel_cols // 2
        out = []
        for o in range(len(w)):
            # take the zero points out of the bias, and out of the map
            offset = bias[o] + sum(sum(map(sum, w[o][i])) * zeros[i] for i in range(len(maps)))
            plane = []
            for r in range(rows - kernel_rows + 1):
                line = []
                for c in range(cols):
                    acc = offset
                    for i, channel in enumerate(maps):
                        for dr in range(kernel_rows):
                            for dc in range(kernel_cols):
                                x = c + dc - side
                                if 0 <= x < cols:
                                    acc += w[o][i][dr][dc] * (channel[r + dr][x] - zeros[i])
                    line.append(self.scale(acc, multiplier[o], shift[o]))
                plane.append(line)
            out.append(plane)
        return out

    @staticmethod
    def scale(acc, multiplier, shift):
        return math.floor((acc * multiplier + 2 ** (shift - 1)) / 2**shift)

    @staticmethod
    def relu(value):
        return max(0, min(255, value)) - 128

    @staticmethod
    def signed(value):
        return max(-128, min(127, value))

    def height(self, value):
        value = min(511, abs(value))
        low, high = self.knots[value // 32], self.knots[value // 32 + 1]
        return low + (2 * (high - low) * (value % 32) + 32) // 64

    def sigmoid(self, value):
        half = (self.height(value) + 1) // 2
        return 128 + half if value >= 0 else 128 - half

    def tanh(self, value):
        height = (self.height(value) * 127 + 128) // 256
        return height if value >= 0 else -height

    def block(self, name, maps, zero):
        found = self.layer(name, maps, [zero] * len(maps))
        return [
            [
                [max(map(self.relu, line[x : x + 2])) for x in range(0, len(line) // 2 * 2, 2)]
                for line in plane
            ]
            for plane in found
        ]

    @staticmethod
    def each(function, *maps):
        """Apply to every value of maps[channel][row][column]."""
        return [
            [[function(*values) for values in zip(*lines, strict=True)]
             for lines in zip(*planes, strict=True)]
            for planes in zip(*maps, strict=True)
        ]  # fmt: skip

    def attend(self, head, features, state, stages):
        name, n, table = f"attention{head}", self.config.n, self.weights.exp_table.tolist()
        d, c = len(state), len(features)
        key = self.each(self.signed, self.layer(f"{name}.key", features, [-128] * c))
        value = self.each(self.signed, self.layer(f"{name}.value", features, [-128] * c))
        layer = self.weights.layers[f"{name}.score"]
        multiplier, shift = int(layer.multiplier), int(layer.shift)
        scores, weights = [], []
        for row in range(n):
            line = []
            for column in range(n):
                acc = sum(state[k][0][row] * key[k][0][column] for k in range(d))
                far = self.config.spatial_attention == "banded" and abs(row - column) > 2
                line.append(0 if far else self.signed(self.scale(acc, multiplier, shift)))
            e = [table[max(line) - s] for s in line]
            reciprocal = (127 * 4096 + sum(e) // 2) // sum(e)
            scores.append([line])
            weights.append([[(x * reciprocal + 2048) // 4096 for x in e]])
        layer = self.weights.layers[f"{name}.mix"]
        gain, multiplier, shift = int(layer.bias), int(layer.multiplier), int(layer.shift)
        output = []
        for i in range(c):
            line = []
            for k in range(n):
                acc = sum(value[i][0][j] * weights[j][0][k] for j in range(n))
                residual = ((features[i][0][k] + 128) * gain + 128) // 256
                line.append(self.signed(self.scale(acc, multiplier, shift) + residual))
            output.append([line])
        stages |= {f"{name}.key": key, f"{name}.score": scores, f"{name}.weights": weights}
        stages |= {f"{name}.value": value, f"{name}.output": output}
        return output

    def group(self, rows, state):
        """One row group: rows[channel][5][w] of signed pixels to all stages."""
        stages, joined, d = {}, [], self.config.state_channels
        for head in range(self.config.heads):
            maps, zero = rows, 0
            for number in (1, 2, 3, 4):
                name = f"head{head}.block{number}"
                maps, zero = self.block(name, maps, zero), -128
                if number <= 2:
                    for row in range(3):
                        stages[f"{name}.row{row}"] = [[plane[row]] for plane in maps]
                else:
                    stages[name] = maps
            joined += self.attend(head, maps, state, stages) if self.config.spatial else maps
        zero = 0 if self.config.spatial else -128
        if self.config.channel_attention:
            zeros = [0] * d + [zero] * len(joined)
            hidden = self.layer("channel_attention.0", state + joined, zeros)
            hidden = stages["channel_attention.hidden"] = self.each(self.relu, hidden)
            unit = self.layer("channel_attention.1", hidden, [-128] * len(hidden))
            joined = stages["channel_attention.output"] = self.each(
                lambda x, v: ((x - zero) * self.sigmoid(v) + 128) // 256 + zero, joined, unit
            )
        for name, start in (("projection.0", zero), ("projection.1", -128)):
            joined = self.each(self.relu, self.layer(name, joined, [start] * len(joined)))
            stages[name] = joined
        zeros = [0] * d + [-128] * d
        reset = self.layer("gru.reset", state + joined, zeros)
        reset = self.each(lambda h, v: (h * self.sigmoid(v) + 128) // 256, state, reset)
        update = self.each(self.sigmoid, self.layer("gru.update", state + joined, zeros))
        update = self.each(lambda u: u - 1 if u >= 128 else u, update)
        candidate = self.layer("gru.candidate", joined + reset, [-128] * d + [0] * d)
        stages |= {"gru.reset": reset, "gru.update": update}
        stages["gru.state"] = self.each(
            lambda h, n, u: n + ((h - n) * (u + 1 if u >= 128 else u) + 128) // 256,
            state,
            self.each(self.tanh, candidate),
            update,
        )
        return stages

    def logits(self, state):
        first, last = self.weights.layers["classifier.0"], self.weights.layers["classifier.1"]
        p = [sum(lines[0]) + self.config.n * max(lines[0]) for lines in state]
        y = []
        for k, row in enumerate(first.weight.tolist()):
            acc = sum(w[0][0] * v for w, v in zip(row, p, strict=True)) + int(first.bias[k])
            x = max(-4096, min(4095, self.scale(acc, 1, int(first.shift[k]))))
            y.append((x * max(0, min(1536, x + 768)) + 128) // 256)
        return [
            sum(w[0][0] * v for w, v in zip(row, y, strict=True)) + int(last.bias[k])
            for k, row in enumerate(last.weight.tolist())
        ]


CASES = {
    "plain": {},
    "full": dict(spatial_attention="full"),
    "banded": dict(spatial_attention="banded"),
    "no channel attention": dict(channel_attention=False),
    "spatial only": dict(spatial_attention="banded", channel_attention=False),
    "one head, grey": dict(heads=1, in_channels=1),
    "three heads": dict(heads=3, head_channels=(1, 2, 1, 2)),
    "n = 1": dict(image_width=17, state_channels=2, spatial_attention="full"),
}


@pytest.mark.parametrize("extreme", [False, True], ids=["random", "extreme"])
@pytest.mark.parametrize("case", CASES)
def test_every_stage_equals_the_slow_reference(case, extreme, generator):
    config = replace(TINY, **CASES[case])
    weights = random_weights(config, 7, extreme)
    images = pictures(config, 2, generator)
    result = IntegerModel(config, weights).run(images, trace=True)
    assert list(result.trace) == [stage.name for stage in config.stages]
    reference = Reference(config, weights)
    for b in range(2):
        state = [[[0] * config.n] for _ in range(config.state_channels)]
        for t in range(config.row_groups):
            rows = images[b, :, 5 * t : 5 * t + 5].to(torch.int64)
            rows = (rows - 127 - (rows >= 128).to(torch.int64)).tolist()
            stages = reference.group(rows, state)
            for stage in config.stages:
                expected = torch.tensor(stages[stage.name])[:, 0]
                assert expected.shape == (stage.channels, stage.columns)
                found = result.trace[stage.name][b, t].to(torch.int64)
                assert torch.equal(found, expected), (stage.name, b, t)
            state = stages["gru.state"]
            assert torch.equal(result.state[b, t].to(torch.int64), torch.tensor(state)[:, 0])
            assert result.logits[b, t].tolist() == reference.logits(state)


def test_random_weights_use_the_ranges(generator):
    """No stage of the random networks is dead or stuck: else hardware tests would prove little."""
    for name in ("vww_105x120", "vww_105x120_full"):
        config = preset(name)
        images = pictures(config, 2, generator)[:1]
        trace = IntegerModel(config, random_weights(config, 1)).run(images, trace=True).trace
        for stage, maps in trace.items():
            low, high = int(maps.min()), int(maps.max())
            least = 30 if stage.endswith(".weights") else 100
            assert high - low > least, (stage, low, high)
        update = trace["gru.update"]
        assert ((update == 0) | (update == 255)).double().mean() < 0.2


def test_pixels_are_the_rounded_signed_pixel():
    pixels = torch.arange(256, dtype=torch.uint8)
    signed = line_buffer.to_signed(pixels)
    assert torch.equal(signed, torch.round((pixels.double() / 255 - 0.5) * 2 * 127).long())
    assert (signed.min(), signed.max()) == (-127, 127)


def test_remaining_rows_do_not_matter(generator):
    model = IntegerModel(TINY, random_weights(TINY, 1))
    images = pictures(TINY, 2, generator)
    other = images.clone()
    other[:, :, 15:] = 99
    assert torch.equal(model.run(images).state, model.run(other).state)
    other[:, :, 14:] = 99
    assert not torch.equal(model.run(images).state, model.run(other).state)


def test_pictures_in_a_batch_do_not_meet(generator):
    model = IntegerModel(TINY, random_weights(TINY, 1))
    images = pictures(TINY, 3, generator)
    together = model.run(images)
    for b in range(3):
        alone = model.run(images[b : b + 1])
        assert torch.equal(alone.state[0], together.state[b])
        assert torch.equal(alone.logits[0], together.logits[b])


@pytest.mark.parametrize("taps", [1, 1024, 1025, 5000])
def test_sums_are_exact_at_the_worst_case(taps):
    """Each product -128 * -127 or -128 * 127: float32 up to 1024 products, float64 beyond."""
    left = torch.full((2, taps), -127)
    left[1] = 127
    right = torch.full((taps, 3), -128)
    right[0] = -127  # an odd sum has no spare factor of two
    total = 127 * 128 * (taps - 1) + 127 * 127
    assert exact_matmul(left, right).tolist() == [[total] * 3, [-total] * 3]


@pytest.mark.parametrize("name", ["vww_210x240", "vww_210x240_full", "vww_105x120"])
def test_accumulators_hold_the_worst_case(name):
    """acc_bits holds every sum without the bias, whatever the data."""
    config = preset(name)
    limit = 2 ** (config.acc_bits - 1)
    assert config.max_taps * 128 * 128 < limit
    for layer in config.array_layers:
        assert layer.taps <= config.max_taps
    weight = torch.full((1, config.max_taps, 1, 1), -127, dtype=torch.int8)
    layer = constants(weight, [0], [1], [1])
    maps = torch.full((1, config.max_taps, 2), -128)
    acc = 127 * 128 * config.max_taps
    assert convolve(maps, layer, 0).flatten().tolist() == [(acc + 1) >> 1] * 2
    assert acc < limit


# ---- early termination ----


def by_hand(model, image, stop, skip):
    """One picture, group by group: (computed, skipped, stopped, rows used, last logits, states)."""
    config = model.config
    signed = line_buffer.to_signed(image[None])
    rows = line_buffer.split_row_groups(signed, config.rows_per_group)[0]
    features, _ = model.heads(rows)
    state = torch.zeros(1, config.state_channels, config.n, dtype=torch.int64)
    computed, skipped, states, skip_next, logits = [], [], [], False, None
    for t in range(config.row_groups):
        computed.append(not skip_next)
        skipped.append(skip_next)
        if skip_next:
            skip_next = False
        else:
            state = model.step(features[t : t + 1], state)["gru.state"]
            logits = classifier.classify(state, model.weights.layers)[0]
            difference = int(logits[1] - logits[0])
            if stop is not None and difference >= stop:
                rest = config.row_groups - t - 1
                states += [state[0]] * (rest + 1)
                return (
                    computed + [False] * rest,
                    skipped + [False] * rest,
                    True,
                    sum(computed),
                    logits,
                    states,
                )
            skip_next = skip is not None and difference <= skip
        states.append(state[0])
    return computed, skipped, False, sum(computed), logits, states


@pytest.fixture(scope="module")
def long_model():
    """Twelve row groups whose logit difference wanders."""
    config = replace(TINY, image_height=60)
    return IntegerModel(config, random_weights(config, 5))


def test_early_termination_by_hand(long_model):
    # stripes of other loudness and colour, so that the logit difference wanders
    generator = torch.Generator().manual_seed(5)
    images = pictures(long_model.config, 8, generator)
    loud = torch.rand(8, 3, 12, 1, generator=generator).repeat_interleave(5, dim=2)
    images = (images * loud).to(torch.uint8)
    difference = long_model.run(images).margin
    places = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.97], dtype=torch.float64)
    levels = torch.quantile(difference.double(), places)
    kinds = set()
    low, early, middle, late, high = (int(level) for level in levels)
    for stop, skip in [
        (high, None),
        (None, low),
        (None, middle),
        (high, early),
        (late, middle),
        (None, 2**40),
        (-(2**40), None),
        (middle, late),  # stopping comes first where both would hold
        (int(difference[0, 0]), None),  # equal is enough
        (None, int(difference[0, 0])),
    ]:
        result = long_model.run(images, trace=True, stop_threshold=stop, skip_threshold=skip)
        for b in range(len(images)):
            computed, skipped, stopped, used, logits, states = by_hand(
                long_model, images[b], stop, skip
            )
            assert result.computed[b].tolist() == computed
            assert result.skipped[b].tolist() == skipped
            assert (bool(result.stopped[b]), int(result.rows_used[b])) == (stopped, used)
            assert torch.equal(result.logits[b, -1], logits)
            assert torch.equal(result.state[b].to(torch.int64), torch.stack(states))
            assert int(result.decision[b]) == int(stopped or logits[1] > logits[0])
            for maps in result.trace.values():
                assert not maps[b][~result.computed[b]].any()
            kinds.add((stopped, any(skipped), skipped[-1]))
    assert kinds >= {(True, False, False), (True, True, False), (False, True, True)}
    assert (False, True, False) in kinds


def test_no_threshold_changes_nothing(long_model):
    images = pictures(long_model.config, 2, torch.Generator().manual_seed(6))
    plain = long_model.run(images)
    never = long_model.run(images, stop_threshold=2**40, skip_threshold=-(2**40))
    assert torch.equal(plain.state, never.state) and bool(never.computed.all())
    assert plain.trace is None and plain.rows_used.tolist() == [12, 12]
    assert torch.equal(plain.decision, (plain.margin[:, -1] > 0).long())


def test_equal_logits_are_no_person():
    assert classifier.decide(torch.tensor([[5, 5], [5, 6], [6, 5]])).tolist() == [0, 1, 0]


def test_thresholds_round_outwards():
    assert classifier.threshold(0.99, 1.0, up=True) == 5  # 4.595
    assert classifier.threshold(0.005, 1.0, up=False) == -6  # -5.293
    assert classifier.threshold(0.5, 0.1, up=True) == classifier.threshold(0.5, 0.1, up=False) == 0
    assert classifier.threshold(0.99, 1e-6, up=True) == 4595120
    for q in (0, 1, -0.5, 2):
        with pytest.raises(ValueError, match=f"probability must lie inside 0..1, not {q}"):
            classifier.threshold(q, 1.0, up=True)
    with pytest.raises(ValueError, match="scale must be positive and finite, not 0.0"):
        classifier.threshold(0.5, 0.0, up=True)


def test_hard_swish_range():
    y = classifier.hard_swish(torch.arange(-4096, 4096))
    assert (int(y.min()), int(y.max())) == (-576, 24570)


@pytest.mark.parametrize(
    "images, text",
    [
        (torch.zeros(1, 3, 18, 66, dtype=torch.uint8), r"must be \[B, 3, 18, 67\], not \[1, 3, 18"),
        (torch.zeros(3, 18, 67, dtype=torch.uint8), r"must be \[B, 3, 18, 67\], not \[3, 18, 67\]"),
        (torch.zeros(1, 3, 18, 67), "images must be uint8, not float32"),
    ],
)
def test_picture_errors(images, text):
    with pytest.raises(ValueError, match=text):
        IntegerModel(TINY, random_weights(TINY, 1)).run(images)


def test_weights_of_another_config_are_refused():
    with pytest.raises(ValueError, match="made for tiny"):
        IntegerModel(replace(TINY, heads=1), random_weights(TINY, 1))
