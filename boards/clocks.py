"""Clocks: PLL settings and the ECP5's PLL cell."""

from dataclasses import dataclass

from amaranth.hdl import Const, Instance, Module, Signal

_VCO = (400e6, 800e6)
_PHASE_DETECTOR = (3.125e6, 400e6)


@dataclass(frozen=True, kw_only=True)
class Ecp5Pll:
    """Dividers of an EHXPLLL: output 0 drives the feedback, output 1 divides the oscillator.

    Attributes
    ----------
    input_hz, output_hz, second_hz : float
    input_div, feedback_div, output_div, second_div : int
        1..128.
    """

    input_hz: float
    input_div: int
    feedback_div: int
    output_div: int
    second_div: int

    @property
    def output_hz(self) -> float:
        return self.input_hz / self.input_div * self.feedback_div

    @property
    def second_hz(self) -> float:
        return self.output_hz * self.output_div / self.second_div

    @classmethod
    def find(cls, *, input_hz: float, output_hz: float, second_hz: float) -> "Ecp5Pll":
        """The highest output that is not above `output_hz`, the second not above `second_hz`.

        Raises
        ------
        ValueError
            If no setting gives at least 9/10 of it.
        """
        best = None
        for input_div in range(1, 129):
            if not _PHASE_DETECTOR[0] <= input_hz / input_div <= _PHASE_DETECTOR[1]:
                continue
            for feedback_div in range(1, 81):
                output = input_hz / input_div * feedback_div
                if output > output_hz * (1 + 1e-9):
                    break
                for output_div in range(1, 129):
                    vco = output * output_div
                    if not _VCO[0] <= vco <= _VCO[1]:
                        continue
                    second_div = min(128, -(-int(vco) // int(second_hz)))
                    # near in the first output, then in the second, then small dividers
                    rank = (-output, second_hz - vco / second_div, input_div)
                    if best is None or rank < best[0]:
                        found = cls(
                            input_hz=input_hz,
                            input_div=input_div,
                            feedback_div=feedback_div,
                            output_div=output_div,
                            second_div=second_div,
                        )
                        best = (rank, found)
        if best is None or best[1].output_hz < 0.9 * output_hz:
            raise ValueError(
                f"no PLL setting makes {output_hz / 1e6:g} MHz of {input_hz / 1e6:g} MHz"
            )
        return best[1]

    def add_to(self, m: Module, source, outputs: tuple[Signal, Signal], locked: Signal) -> None:
        """Instantiate the PLL: `source` in, two clocks and `locked` out."""
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{self.input_hz / 1e6:g}",
            a_FREQUENCY_PIN_CLKOP=f"{self.output_hz / 1e6:g}",
            a_FREQUENCY_PIN_CLKOS=f"{self.second_hz / 1e6:g}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            p_CLKI_DIV=self.input_div,
            p_CLKFB_DIV=self.feedback_div,
            p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=self.output_div,
            p_CLKOP_CPHASE=self.output_div - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=self.second_div,
            p_CLKOS_CPHASE=self.second_div - 1,
            p_CLKOS_FPHASE=0,
            i_RST=0,
            i_STDBY=0,
            i_CLKI=source,
            i_CLKFB=outputs[0],
            i_PHASESEL0=0,
            i_PHASESEL1=0,
            i_PHASEDIR=1,
            i_PHASESTEP=1,
            i_PHASELOADREG=1,
            i_PLLWAKESYNC=0,
            i_ENCLKOP=Const(0),
            o_CLKOP=outputs[0],
            o_CLKOS=outputs[1],
            o_LOCK=locked,
        )
