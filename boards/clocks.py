"""Clocks: PLL settings, and the PLL cells of ECP5, iCE40 and Gowin."""

from dataclasses import dataclass

from amaranth.hdl import Const, Instance, Module, Signal

from boards.board import Board

_VCO = (400e6, 800e6)
_PHASE_DETECTOR = (3.125e6, 400e6)


def _no_setting(input_hz: float, output_hz: float) -> ValueError:
    return ValueError(f"no PLL setting makes {output_hz / 1e6:g} MHz of {input_hz / 1e6:g} MHz")


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
            raise _no_setting(input_hz, output_hz)
        return best[1]

    def add_to(
        self,
        m: Module,
        source,
        outputs: tuple[Signal, Signal],
        locked: Signal,
        name: str = "pll",
    ) -> None:
        """Instantiate the PLL: `source` in, two clocks and `locked` out."""
        m.submodules[name] = Instance(
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


@dataclass(frozen=True, kw_only=True)
class Ice40Pll:
    """Dividers of a SB_PLL40: output = input / (divr + 1) * (divf + 1) / 2**divq.

    Attributes
    ----------
    input_hz : float
    divr, divf, divq : int
        0..15, 0..127, 1..6.
    second_div : int
        Cycles of the output in one of the second clock, which registers divide: 1 or even.
    """

    input_hz: float
    divr: int
    divf: int
    divq: int
    second_div: int = 1

    @property
    def output_hz(self) -> float:
        return self.input_hz / (self.divr + 1) * (self.divf + 1) / 2**self.divq

    @property
    def second_hz(self) -> float:
        return self.output_hz / self.second_div

    @classmethod
    def find(
        cls, *, input_hz: float, output_hz: float, second_hz: float, most_hz: float = 0.0
    ) -> "Ice40Pll":
        """The highest output that is not above `output_hz`, the second not above `second_hz`.

        most_hz: the second is not above `second_hz` at outputs up to this, either.

        Raises
        ------
        ValueError
            If no setting gives at least 9/10 of it.
        """
        best = None
        for divr in range(16):
            if not 10e6 <= input_hz / (divr + 1) <= 133e6:
                continue
            for divf in range(128):
                vco = input_hz / (divr + 1) * (divf + 1)
                if not 533e6 <= vco <= 1066e6:
                    continue
                for divq in range(1, 7):
                    output = vco / 2**divq
                    if output <= output_hz * (1 + 1e-9) and (best is None or output > best[0]):
                        best = output, divr, divf, divq
        if best is None or best[0] < 0.9 * output_hz:
            raise _no_setting(input_hz, output_hz)
        ratio = -(-int(max(best[0], most_hz)) // int(second_hz))
        return cls(
            input_hz=input_hz,
            divr=best[1],
            divf=best[2],
            divq=best[3],
            second_div=ratio if ratio == 1 else ratio + ratio % 2,
        )

    def add_to(self, m: Module, source, clock: Signal, locked: Signal, *, pad: bool) -> None:
        """Instantiate the PLL. `pad`: `source` is the pin itself, else a signal in the FPGA."""
        reference = self.input_hz / (self.divr + 1)
        # data sheet of the PLL: upper ends of the ranges of the phase detector
        limits = (17e6, 26e6, 44e6, 66e6, 101e6)
        m.submodules.pll = Instance(
            "SB_PLL40_PAD" if pad else "SB_PLL40_CORE",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(self.divr, 4),
            p_DIVF=Const(self.divf, 7),
            p_DIVQ=Const(self.divq, 3),
            p_FILTER_RANGE=Const(1 + sum(reference > limit for limit in limits), 3),
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clock,
            o_LOCK=locked,
            **{"i_PACKAGEPIN" if pad else "i_REFERENCECLK": source},
        )


_GOWIN_ODIV = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)


@dataclass(frozen=True, kw_only=True)
class GowinPll:
    """Dividers of an rPLL (Gowin UG286; limits: data sheet DS102, grade C8/I7).

    Attributes
    ----------
    input_hz : float
    input_div, feedback_div : int
        1..64: output = input / input_div * feedback_div.
    vco_div : int
        The oscillator runs so much faster than the output: 2, 4, 8, 16, 32, 48, ..., 128.
    second_div : int
        Even, 2..128: the second clock is the output divided by it.
    """

    input_hz: float
    input_div: int
    feedback_div: int
    vco_div: int
    second_div: int

    @property
    def output_hz(self) -> float:
        return self.input_hz / self.input_div * self.feedback_div

    @property
    def second_hz(self) -> float:
        return self.output_hz / self.second_div

    @classmethod
    def find(cls, *, input_hz: float, output_hz: float, second_hz: float) -> "GowinPll":
        """The highest output that is not above `output_hz`, the second not above `second_hz`.

        Raises
        ------
        ValueError
            If no setting gives at least 9/10 of it.
        """
        best = None
        for input_div in range(1, 65):
            if not 3e6 <= input_hz / input_div <= 500e6:
                continue
            for feedback_div in range(1, 65):
                output = input_hz / input_div * feedback_div
                if output > output_hz * (1 + 1e-9):
                    break
                fit = [d for d in _GOWIN_ODIV if 500e6 <= output * d <= 1250e6]
                if fit and (best is None or output > best[0] * (1 + 1e-9)):
                    best = output, input_div, feedback_div, fit[0]
        if best is None or best[0] < 0.9 * output_hz:
            raise _no_setting(input_hz, output_hz)
        ratio = -(-int(best[0]) // int(second_hz))
        return cls(
            input_hz=input_hz,
            input_div=best[1],
            feedback_div=best[2],
            vco_div=best[3],
            second_div=min(128, max(2, ratio + ratio % 2)),
        )

    def add_to(self, m: Module, source, outputs: tuple[Signal, Signal], locked: Signal) -> None:
        """Instantiate the PLL: `source` in, two clocks and `locked` out."""
        off = ("RESET", "RESET_P", "CLKFB")
        m.submodules.pll = Instance(
            "rPLL",
            p_FCLKIN=f"{self.input_hz / 1e6:g}",
            p_DEVICE="GW2AR-18C",
            p_IDIV_SEL=self.input_div - 1,
            p_FBDIV_SEL=self.feedback_div - 1,
            p_ODIV_SEL=self.vco_div,
            p_DYN_SDIV_SEL=self.second_div,
            **{f"p_DYN_{name}": "false" for name in ("IDIV_SEL", "FBDIV_SEL", "ODIV_SEL", "DA_EN")},
            p_PSDA_SEL="0000",
            p_DUTYDA_SEL="1000",
            p_CLKFB_SEL="internal",
            **{f"p_{name}_BYPASS": "false" for name in ("CLKOUT", "CLKOUTP", "CLKOUTD")},
            p_CLKOUTD_SRC="CLKOUT",
            p_CLKOUTD3_SRC="CLKOUT",
            i_CLKIN=source,
            **{f"i_{name}": 0 for name in off},
            **{f"i_{name}": Const(0, 6) for name in ("FBDSEL", "IDSEL", "ODSEL")},
            **{f"i_{name}": Const(0, 4) for name in ("DUTYDA", "PSDA", "FDLY")},
            o_CLKOUT=outputs[0],
            o_CLKOUTD=outputs[1],
            o_LOCK=locked,
        )


def pll_of(board: Board, output_hz: float) -> Ecp5Pll | Ice40Pll | GowinPll:
    """The PLL of a board for a clock of its engine: what it has at or next below `output_hz`.

    Raises
    ------
    ValueError
        It has none near it.
    """
    second = board.camera.clock_hz if board.camera else board.oscillator_hz
    wanted = {"input_hz": board.oscillator_hz, "output_hz": output_hz, "second_hz": second}
    if board.device.family == "ice40":  # registers divide: the same for all clocks
        return Ice40Pll.find(**wanted, most_hz=board.device.limit_hz)
    return {"ecp5": Ecp5Pll, "gowin": GowinPll}[board.device.family].find(**wanted)
