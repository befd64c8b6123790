"""Plans for the tests of the serial engine's parts."""

from dataclasses import replace

from golden.config import ModelConfig
from hw.plan import Plan, compile_program
from hw.plan.engine_config import EngineConfig

BASE = ModelConfig(
    name="serial",
    image_height=15,
    image_width=80,
    heads=2,
    head_channels=(3, 4, 5, 6),
    state_channels=8,
    attention_hidden=4,
    classifier_hidden=2,
)
KINDS = {  # model, shape
    "two": (BASE, "4,1,2"),  # two words a state channel
    "one": (replace(BASE, image_width=120, state_channels=10, attention_hidden=3), "8,1,2"),
    "four": (replace(BASE, image_width=70, heads=4, head_channels=(3, 2, 2, 4)), "6,1,4"),
}


def plan_of(kind: str) -> Plan:
    """A compiled program."""
    model, shape = KINDS[kind]
    return compile_program(model, EngineConfig.parse(shape, parts="serial"))
