"""The plan of an engine: plain Python and numpy, no hardware language, no network library."""

from hw.plan.banks import Map
from hw.plan.engine_config import EngineConfig, Geometry, config_digest, default_shape
from hw.plan.latency import PARALLEL, SERIAL
from hw.plan.memory import Memory
from hw.plan.operations import Function, Operation, Segment, Source, Target, WeightSource
from hw.plan.plan import Plan, compile_program
from hw.plan.words import bits_for

__all__ = [
    "PARALLEL",
    "SERIAL",
    "EngineConfig",
    "Function",
    "Geometry",
    "Map",
    "Memory",
    "Operation",
    "Plan",
    "Segment",
    "Source",
    "Target",
    "WeightSource",
    "bits_for",
    "compile_program",
    "config_digest",
    "default_shape",
]
