"""Which camera pin goes to which pin of which board; boards.camera.pages tells it to people."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """A camera on a board.

    Parameters
    ----------
    board, camera : str
    connector : str
        Name of the connectors in amaranth-boards' board file ("gpio", "pmod", "j").
    pins : dict of str to (int, str)
        Signal to (connector number, pin); d0.. are the data pins.
    labels : dict of str to str
        What is printed beside the pin on the board.
    fixed : dict of str to str
        Camera pins that go to a supply.
    """

    board: str
    camera: str
    connector: str
    pins: dict[str, tuple[int, str]]
    labels: dict[str, str]
    fixed: dict[str, str] = field(default_factory=dict)

    @property
    def data_bits(self) -> int:
        return sum(name[0] == "d" and name[1:].isdigit() for name in self.pins)


def _ulx3s() -> Wiring:
    # PCLK on GP0, which reaches the clock network; the rest in the order of the module's header
    order = "pclk xclk vsync href sioc siod d7 d6 d5 d4 d3 d2 d1 d0".split()
    pins = {name: (0, f"{i // 2}{'+-'[i % 2]}") for i, name in enumerate(order)}
    labels = {name: f"{'GP' if i % 2 == 0 else 'GN'}{i // 2}" for i, name in enumerate(order)}
    fixed = {"3V3": "3.3 V", "GND": "GND", "RESET": "3.3 V", "PWDN": "GND"}
    return Wiring(
        board="ULX3S",
        camera="OV7670 module",
        connector="gpio",
        pins=pins,
        labels=labels,
        fixed=fixed,
    )


_HM01B0_FIXED = {"VCC": "3.3 V", "GND": "GND", "INT": "open"}

ULX3S_OV7670 = _ulx3s()
UPDUINO_HM01B0 = Wiring(
    board="UPduino v3",
    camera="HM01B0",
    connector="j",
    # PCLK on 37, which reaches the clock network; 35 stays free for the PLL
    pins={
        "d0": (0, "7"),
        "d1": (0, "8"),
        "d2": (0, "9"),
        "d3": (0, "10"),
        "fvld": (0, "11"),
        "lvld": (0, "13"),
        "pclk": (0, "14"),
        "mclk": (0, "15"),
        "scl": (0, "16"),
        "sda": (0, "17"),
        "trig": (0, "18"),
    },
    labels=dict(
        zip(
            "d0 d1 d2 d3 fvld lvld pclk mclk scl sda trig".split(),
            "23 25 26 27 32 31 37 34 43 36 42".split(),
            strict=True,
        )
    ),
    fixed=_HM01B0_FIXED,
)
ICEBREAKER_HM01B0 = Wiring(
    board="iCEBreaker",
    camera="HM01B0",
    connector="pmod",
    # PCLK on PMOD 1A's last pin (44), which reaches the clock network
    pins={
        "d0": (0, "1"),
        "d1": (0, "2"),
        "d2": (0, "3"),
        "d3": (0, "4"),
        "fvld": (0, "7"),
        "lvld": (0, "8"),
        "pclk": (0, "10"),
        "mclk": (1, "1"),
        "scl": (1, "2"),
        "sda": (1, "3"),
        "trig": (1, "4"),
    },
    labels={
        "d0": "1A 1",
        "d1": "1A 2",
        "d2": "1A 3",
        "d3": "1A 4",
        "fvld": "1A 7",
        "lvld": "1A 8",
        "pclk": "1A 10",
        "mclk": "1B 1",
        "scl": "1B 2",
        "sda": "1B 3",
        "trig": "1B 4",
    },
    fixed=_HM01B0_FIXED,
)
WIRINGS = {"ulx3s": ULX3S_OV7670, "upduino": UPDUINO_HM01B0, "icebreaker": ICEBREAKER_HM01B0}


def site(wiring: Wiring, name: str, connectors: dict) -> str:
    """FPGA pin of a signal; connectors: `platform.connectors` of amaranth-boards' board."""
    number, pin = wiring.pins[name]
    return connectors[wiring.connector, number].mapping[pin]
