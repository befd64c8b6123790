"""Sigmoid, tanh, the unit byte and the gates."""

import torch

from golden.activation import KNOTS, decode_unit, encode_unit, gate, sigmoid, tanh
from golden.conv_gru import new_state

V = torch.arange(-700, 701)


def test_knots():
    assert KNOTS.dtype == torch.int16 and len(KNOTS) == 17
    curve = torch.round(256 * torch.tanh(torch.arange(17) / 4)).to(torch.int16)
    other = {2: 1, 7: -1, 10: -1, 12: -1}
    assert (KNOTS - curve).tolist() == [other.get(i, 0) for i in range(17)]


def mean_errors(knots):
    """Mean error of each chord of sigmoid, as the state's update reads it, in 1/256."""
    value = torch.arange(512)
    unit = decode_unit(encode_unit(sigmoid(value, knots)))
    return (unit - 256 * torch.sigmoid(value.double() / 64)).unflatten(0, (16, 32)).mean(dim=1)


def test_knots_leave_no_trend():
    """And those of the curve itself do: a state would keep what it should lose."""
    found = mean_errors(KNOTS)
    assert abs(float(found.mean())) < 0.05 and float(found.abs().max()) <= 0.31
    curve = torch.round(256 * torch.tanh(torch.arange(17) / 4))
    found = mean_errors(curve)
    assert float(found.mean()) > 0.1 and float(found.abs().max()) >= 0.49


def test_sigmoid_bound_and_shape():
    unit = sigmoid(V)
    assert (unit.diff() >= 0).all()
    assert torch.equal(unit + unit.flip(0), torch.full_like(unit, 256))  # s(-v) = 1 - s(v)
    assert (unit.min(), unit.max(), sigmoid(torch.tensor(0))) == (0, 256, 128)
    error = (unit.double() / 256 - torch.sigmoid(V.double() / 64)).abs().max()
    assert error < 0.004  # half of the sag of the chords 0.003, knots 0.001


def test_tanh_bound_and_shape():
    value = tanh(V)
    assert (value.diff() >= 0).all()
    assert torch.equal(value, -value.flip(0))
    assert (value.min(), value.max(), tanh(torch.tensor(0))) == (-127, 127, 0)
    error = (value.double() / 127 - torch.tanh(V.double() / 128)).abs().max()
    assert error < 0.009  # sag of the chords 0.006, half a step 0.004


def test_other_knots_are_used():
    line = torch.arange(17) * 16
    assert int(sigmoid(torch.tensor(256), line)) == 128 + 64
    assert int(tanh(torch.tensor(-256), line)) == -((128 * 127 + 128) >> 8)


def test_unit_byte_keeps_both_ends():
    unit = torch.arange(257)
    byte = encode_unit(unit)
    assert (byte.min(), byte.max()) == (0, 255)
    back = decode_unit(byte)
    assert torch.equal(back[unit != 128], unit[unit != 128]) and back[128] == 127
    assert torch.equal(encode_unit(decode_unit(torch.arange(256))), torch.arange(256))


def test_gate_is_exact_at_its_ends():
    value = torch.arange(-255, 256)
    assert torch.equal(gate(value, torch.tensor(256)), value)
    assert not gate(value, torch.tensor(0)).any()
    assert gate(torch.tensor([1, -1, 3, -3]), torch.tensor(128)).tolist() == [1, 0, 2, -1]


def test_new_state_lies_between_candidate_and_state():
    byte = torch.arange(-127, 128)
    state, candidate = byte[:, None, None], byte[None, :, None]
    unit = decode_unit(torch.arange(256))[None, None, :]
    result = new_state(state, candidate, unit)
    low, high = torch.minimum(state, candidate), torch.maximum(state, candidate)
    assert (result >= low).all() and (result <= high).all()
    assert torch.equal(result[..., 0], candidate.expand_as(result)[..., 0])
    assert torch.equal(result[..., 255], state.expand_as(result)[..., 255])
