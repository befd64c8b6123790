"""Generator: plain Verilog of the engine, the same bytes every time.

    python -m hw.generate --preset vww_210x240 --shape 15,3,2 -o rasca.v
"""

import re
from pathlib import Path

from amaranth.back import verilog

from golden.config import ModelConfig
from golden.weights import Weights
from hw.config import EngineConfig
from hw.top import Rasca


def to_verilog(design: Rasca, name: str = "rasca") -> str:
    """Verilog of an engine, with what it was made of in its header.

    Returns
    -------
    str
        The header names the network, the shape and the digests of configuration and weights image;
        it holds no date and no path.
    """
    text = verilog.convert(design, name=name, emit_src=False)
    plan = design.plan
    header = [
        "Rasca: INT8 row engine for RaScaNet",
        f"network       {plan.model.name}, digest {plan.model.digest}",
        f"shape         {plan.engine} (pixels, channels, lanes), {plan.engine.multipliers} multipliers",
        f"configuration {design.config_digest}",
        f"weights image CRC-32 {design.engine.digest:08x}",
        f"row group     {plan.cycles_per_row_group} cycles"]
    return "".join(f"// {line}\n" for line in header) + text


def register_bits(text: str) -> int:
    """Flip-flops of a design, counted in its Verilog: bits of the registers that a clock edge sets.

    Memories do not count; registers that synthesis finds equal or unused do.
    """
    bits = 0
    for module in re.split(r"^endmodule", text, flags=re.M):
        widths = {}
        for high, name in re.findall(r"^ *(?:\w+ )?reg (?:signed )?(?:\[(\d+):0\] )?(\S+?)(?: =.*)?;",
                                     module, flags=re.M):
            widths[name] = int(high) + 1 if high else 1
        clocked = set(re.findall(r"^ *(\S+)(?:\[[^]]*\])? <= ", module, flags=re.M))
        # a memory's own output latch is written as a register _0_
        bits += sum(widths[name] for name in clocked
                    if name in widths and not re.fullmatch(r"_\d+_", name))
    return bits


def generate(model: ModelConfig, engine: EngineConfig, weights: Weights, output: Path) -> Rasca:
    """Write the Verilog of an engine to a file.

    Raises
    ------
    ValueError
        If the shape cannot carry the network or the weights are for another one.
    """
    design = Rasca(model, engine, weights)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(to_verilog(design))
    return design
