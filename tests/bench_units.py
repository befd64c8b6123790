"""One build for the small blocks behind the array: test_requant, _activation, _conv_gru,
_channel_unit run their scenarios on it."""

from hw.arithmetic.activation import Activation
from hw.arithmetic.requant import Requantiser
from hw.parallel.gate import Gate
from tests import test_activation, test_channel_unit, test_gate, test_requant


def rack():
    """Fresh blocks, the same each time."""
    blocks = {f"requant_{n}": Requantiser(acc_bits=w) for n, w in test_requant.WIDTHS.items()}
    blocks["requant_ecp5"] = Requantiser(acc_bits=test_requant.WIDTHS["preset"], cells="ecp5")
    blocks["gate_ecp5"] = Gate(signed_features=False, spatial=True, cells="ecp5")
    blocks |= {f"activation_{n}": Activation(knots=k) for n, k in test_activation.KNOTS.items()}
    blocks |= {f"gate_{name}": Gate(signed_features=signed_features, spatial=spatial)
               for name, (signed_features, spatial) in test_gate.KINDS.items()}
    blocks |= {f"unit_{name}": test_channel_unit.unit(*kind)
               for name, kind in test_channel_unit.KINDS.items()}
    return blocks
