"""Top level: the engine with plain Verilog ports."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring

from golden.config import ModelConfig
from golden.weights import Weights
from hw.engine import RowEngine
from hw.interfaces import flat_name
from hw.plan import Plan, compile_program
from hw.plan.engine_config import EngineConfig, config_digest


class Rasca(wiring.Component):
    """The whole accelerator.

    Parameters
    ----------
    model : ModelConfig
    engine : EngineConfig
    weights : golden.weights.Weights
        First contents of the weight memories.

    readback : bool
        Whether a host can read the state.
    room : bool
        Whether it has the members `room` and `stale` of hw.interfaces.Engine.

    Ports: hw.interfaces.Engine. In Verilog they have flat names (`ports`).
    """

    def __init__(
        self,
        model: ModelConfig,
        engine: EngineConfig,
        weights: Weights,
        *,
        readback: bool = True,
        room: bool = False,
    ):
        self.plan: Plan = compile_program(model, engine)
        self.engine = RowEngine(self.plan, weights, readback=readback, room=room)
        self.config_digest, self.weights = config_digest(model, engine), weights
        super().__init__(self.engine.signature)
        classes = len(self.row.logits)
        paths = self.signature.flatten(self)
        self.ports: dict[str, Signal] = {
            flat_name(path, classes): Value.cast(signal) for path, _, signal in paths
        }

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = self.engine
        wiring.connect(m, wiring.flipped(self), self.engine)
        return m


def flat_ports(design: Rasca) -> dict[str, tuple]:
    """Ports as Amaranth's back ends take them, by their names in Verilog."""
    return {name: (signal, None) for name, signal in design.ports.items()}
