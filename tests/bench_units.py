"""One build for the small blocks behind the array: test_requant, _activation, _conv_gru,
_channel_unit run their scenarios on it."""

from hw.arithmetic.activation import Activation
from hw.arithmetic.requant import Requantiser
from hw.parallel.channel_unit import FEW
from hw.parallel.gate import Gate
from tests import test_activation, test_channel_unit, test_gate, test_requant


def rack():
    """Fresh blocks, the same each time."""
    blocks = {f"requant_{n}": Requantiser(acc_bits=w) for n, w in test_requant.WIDTHS.items()}
    blocks["requant_ecp5"] = Requantiser(acc_bits=test_requant.WIDTHS["preset"], cells="ecp5")
    blocks["requant_few"] = Requantiser(acc_bits=40, stages=FEW.requantise)
    blocks["activation_few"] = Activation(knots=test_activation.KNOTS["odd"], stages=FEW.activate)
    blocks["gate_few"] = Gate(signed_features=True, spatial=True, stages=FEW.gate)
    blocks["gate_ecp5"] = Gate(signed_features=False, spatial=True, cells="ecp5")
    blocks |= {f"activation_{n}": Activation(knots=k) for n, k in test_activation.KNOTS.items()}
    blocks |= {
        f"gate_{name}": Gate(signed_features=signed_features, spatial=spatial)
        for name, (signed_features, spatial) in test_gate.KINDS.items()
    }
    blocks |= {f"unit_{name}": test_channel_unit.unit(name) for name in test_channel_unit.KINDS}
    return blocks
