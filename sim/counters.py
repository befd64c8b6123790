"""Counters beside the running RTL: what each operation of each row group cost, as it happened.

`monitor` makes a SystemVerilog module for one design: it finds every memory in the design's
Verilog and counts the cycles in which its read enable or write enable is asserted, bank by bank,
and the cycles of the walk sequencer by what they were spent on. Each count goes to the row group
and to the operation that it belongs to, however late it happens in the pipeline. sim/tb.sv runs the
module, which writes its counts once a row group, when the classifier answers. `read` reads them and
`difference` compares them with the cost model (hw/plan/cost.py), to the last cycle and word.

What is counted ends with the first row group that is aborted (early termination, camera faults).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.common import word_layout
from hw.plan import Plan, Source
from hw.plan.cost import STALLS, Cost, LayerCost
from hw.plan.memory import BY_CAMERA, BY_CONSTANTS, BY_SOFTMAX, BY_STORE, BY_WALK
from hw.plan.parts import memory_name

CAMERA = "camera"
"""Cycles that wait for rows of the picture: a cause that no row program knows."""

KEPT = 4
"""Row groups that may be under way at once: the camera's is two ahead of the classifier's."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What an operation cost in one row group; see `hw.plan.cost.LayerCost`, whose names these are.

    `stalls` has `CAMERA` beside the causes of the row program, and `cycles` these cycles too.
    """

    cycles: int
    steps: int
    stalls: dict[str, int]
    reads: dict[str, int]
    writes: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """A row group: the operations in order, and what works beside the array."""

    operations: tuple[Counted, ...]
    beside: Counted


# ---- the design's memories ----


@dataclass(frozen=True, kw_only=True)
class Ram:
    """A memory in Verilog.

    Attributes
    ----------
    block : str
        The block of the engine that it is in.
    name : str
        Its own name there.
    read_enable, read_address, write_enable, write_address : str
        Expressions, with whole paths. `read_enable` is 1 where the port has none; `read_address` is
        empty where there is no clocked read port, `write_enable` where nothing writes.
    """

    block: str
    name: str
    read_enable: str = "1"
    read_address: str = ""
    write_enable: str = ""
    write_address: str = ""


_NAME = r"(?:\\\S+ |\w+)"
_FLAG = r"\[0:0\] \S+ ?\[0:0\]"
"""One bit: a flip-flop that a reset leaves (hw/loader.py), written as a memory."""
_RAM = re.compile(rf"^  reg (?!{_FLAG})\[\d+:0\] ({_NAME}) ?\[\d+:0\];$", re.M)
_WORD = re.compile(r"\\\S+ |(?<![\w'])[A-Za-z_]\w*")


def rams(verilog: str) -> Iterator[Ram]:
    """Every memory of a design as hw.generate writes it."""
    for module, text in re.findall(r"^module \\?(\S+) ?\((.*?)^endmodule", verilog, re.M | re.S):
        for match in _RAM.finditer(text):
            name = re.escape(match[1].strip())
            path = "".join(f".{_escaped(part)}" for part in module.split(".")[1:])

            def whole(expression: str, path: str = path) -> str:
                return _WORD.sub(lambda word: f"tb.dut{path}.{word[0]}", expression)

            read = re.search(
                rf"begin\n(?:    if \((.*)\) begin\n)? +_\d+_ <= {name} ?\[(.*)\];$", text, re.M
            )
            writes = re.findall(
                rf"^    if \((.*)\)\n      {name} ?\[(.*?)\](?:\[\d+:\d+\])? <= ", text, re.M
            )
            found = {}
            if read:
                found["read_enable"] = whole(read[1]) if read[1] else "1"
                found["read_address"] = whole(read[2])
            if writes:
                found["write_enable"] = " | ".join(whole(enable) for enable, _ in writes)
                found["write_address"] = whole(writes[0][1])
            yield Ram(
                block=re.sub(r"\$\d+$", "", module.split(".")[-1]),
                name=re.sub(r"^\\|\$\d+ ?$", "", match[1].strip()),
                **found,
            )


def _escaped(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else f"\\{name} "


# ---- the monitor ----

_MODULE = """\
// Counts what the engine does; made by sim/counters.py, run by sim/tb.sv.
module counters (
    input logic clk,
    input logic rst
);
    localparam int OPERATIONS = {operations};  // one more stands for what is beside the array
    localparam int MEMORIES = {memories};
    localparam int KEPT = {kept};
    typedef struct packed {{
        logic [{group_bits}:0] group;  // row group, modulo KEPT
        logic [{op_bits}:0] op;
    }} tag_t;
    int unsigned spent[KEPT][OPERATIONS][{causes}];  // steps, and stalls by cause
    int reads[KEPT][OPERATIONS + 1][MEMORIES], writes[KEPT][OPERATIONS + 1][MEMORIES];

    wire clear = rst | ~tb.dut.engine.loader.loaded;
    wire answer = tb.dut.engine.classifier.answer__valid;
    logic cleared = 0, dead = 0;
    logic [2:0] since = 0;  // the reset itself reads the line buffer
    wire awake = &since;

    // A block's present operation: a row group later where the number falls.
{tags}
    // what belongs to none goes by the walks, by the classifier's answers, by the camera's rows
    tag_t softmax, classified = 0, filmed, filmed_before = 0;
    logic filmed_last = 0;
    assign softmax = '{{group: walk.group, op: OPERATIONS}};
    wire filming = {filming};
    wire filmed_first = {film_address} < {film_row};
    assign filmed = '{{
        group: filmed_before.group + {group_size}'(filming & filmed_first & filmed_last),
        op: OPERATIONS
    }};

    int file;
    string path;
    initial begin
        if ($value$plusargs("counters=%s", path) == 0) $fatal(1, "no +counters=");
        file = $fopen(path, "w");
        if (file == 0) $fatal(1, "cannot write %s", path);
    end
    final $fclose(file);

    // ---- the walk sequencer's cycles ----
    wire waiting = {walk}.busy & ~{walk}.step[0];
    // nothing holds it, or held it, but the camera's rows
    wire integer left = integer'($signed({walk}.pause.count)) + 2;
    wire unlit = waiting & (left == 0 | left == 1 & ~{walk}.pause.resume);
    int cause;
    always_comb begin
        if ({walk}.step[0]) cause = 0;
        else if (unlit) cause = {camera};
        else if ({walk}.\\inside ) cause = {pause};
        else if (~{walk}.changing | left <= integer'({idle})) cause = {gap};
        else if ({walk}.op == 0) cause = {turn};
        else cause = {wait};
    end

    always_ff @(posedge clk) begin
        filmed_before <= clear ? '0 : filmed;
        if (clear) filmed_last <= 0;
        else if (filming) filmed_last <= {film_address} >= {film_last};
        classified <= clear ? '{{group: 0, op: OPERATIONS}} :
            '{{group: classified.group + {group_size}'(answer), op: OPERATIONS}};
    end

    always @(posedge clk) begin
        cleared <= clear;
        since <= clear ? 0 : awake ? since : since + 1;
        if (clear) begin
            dead <= 0;
            if (~cleared) for (int g = 0; g < KEPT; g++) forget(g);
        end else if (~dead) begin
            dead <= tb.dut.engine.frames.abort;
            if (waiting | {walk}.step[0]) spent[walk.group][walk.op][cause] += 1;
{counts}
            if (answer) begin
                tell(int'(classified.group));
                forget(int'(classified.group));
            end
        end
    end

    function automatic void forget(int g);
        for (int op = 0; op < OPERATIONS; op++)
            for (int i = 0; i < {causes}; i++) spent[g][op][i] = 0;
        for (int op = 0; op <= OPERATIONS; op++)
            for (int i = 0; i < MEMORIES; i++) begin
                reads[g][op][i] = 0;
                writes[g][op][i] = 0;
            end
    endfunction

    // "g", then for each operation "o" and its cycles; "m OPERATION MEMORY READS WRITES"
    function automatic void tell(int g);
        $fwrite(file, "g\\n");
        for (int op = 0; op < OPERATIONS; op++) begin
            $fwrite(file, "o");
            for (int i = 0; i < {causes}; i++) $fwrite(file, " %0d", spent[g][op][i]);
            $fwrite(file, "\\n");
        end
        for (int op = 0; op <= OPERATIONS; op++)
            for (int i = 0; i < MEMORIES; i++)
                if (reads[g][op][i] != 0 || writes[g][op][i] != 0)
                    $fwrite(file, "m %0d %0d %0d %0d\\n", op, i, reads[g][op][i], writes[g][op][i]);
        $fflush(file);
    endfunction
endmodule
"""
_WALK = "tb.dut.engine.sequencer"
_CAUSES = ("steps", *STALLS, CAMERA)


def monitor(plan: Plan, verilog: str) -> str:
    """The module `counters` for a design, see the top of this file.

    Raises
    ------
    ValueError
        A memory of the Verilog that hw.plan.memory does not list, or one of its memories that the
        Verilog lacks.
    """
    found = list(rams(verilog))
    names = [memory.name for memory in plan.memories]
    seen = {memory_name(ram.block, ram.name) for ram in found}
    seen |= {memory.name for memory in plan.memories if memory.banks in seen}
    if seen != set(names):
        wrong = ", ".join(sorted(set(names) ^ seen))
        raise ValueError(f"hw.plan.memory and the Verilog do not have the same memories: {wrong}")
    sources = {"walk": f"{_WALK}.op", "store": "tb.dut.engine.back.store.write_op"}
    for ram in found:
        if ram.name.endswith("_program"):
            sources[ram.name] = ram.read_address
    t = plan.engine.latency
    latest = max(t.weight_address, t.address_one_tap)
    lines = next(ram for ram in found if ram.block == "lines")
    layout = word_layout(plan, "walk")
    idle = layout["idle"]
    return _MODULE.format(
        operations=len(plan.operations),
        memories=len(names),
        kept=KEPT,
        group_bits=(KEPT - 1).bit_length() - 1,
        group_size=(KEPT - 1).bit_length(),
        op_bits=len(plan.operations).bit_length() - 1,
        causes=len(_CAUSES),
        tags="\n".join(_tags(sources, latest)),
        filming=lines.write_enable,
        film_address=lines.write_address,
        film_row=plan.line_buffer_words // plan.model.rows_per_group,
        film_last=plan.line_buffer_words - plan.line_buffer_words // plan.model.rows_per_group,
        walk=_WALK,
        idle=f"{_WALK}.now[{idle.offset + idle.width - 1}:{idle.offset}]",
        counts="\n".join(_counts(plan, found, names)),
        **{name: _CAUSES.index(name) for name in (*STALLS, CAMERA)},
    )


def _tags(sources: dict[str, str], latest: int) -> Iterator[str]:
    """Declarations of the blocks' operations; of the walks' also as they were some cycles ago."""
    for name, op in sources.items():
        yield f"    tag_t {name}, {name}_before = 0;"
        yield (
            f"    assign {name} = '{{group: {name}_before.group + ({op} < {name}_before.op), "
            f"op: {op}}};"
        )
        yield f"    always_ff @(posedge clk) {name}_before <= clear ? '0 : {name};"
    delayed = [f"walk_{i}" for i in range(1, latest + 1)]
    yield f"    tag_t {', '.join(delayed)};"
    for name, before in zip(delayed, ("walk", *delayed), strict=False):
        yield f"    always_ff @(posedge clk) {name} <= {before};"
    if "operand_program" in sources:
        yield "    tag_t operand_1;"
        yield "    always_ff @(posedge clk) operand_1 <= operand_program;"


def _counts(plan: Plan, found: Sequence[Ram], names: Sequence[str]) -> Iterator[str]:
    """Statements that count the accesses of every memory."""
    listed = {memory.name: memory for memory in plan.memories}
    shared = {memory.banks for memory in plan.memories}
    tags = {
        BY_CAMERA: "filmed",
        BY_STORE: "store",
        BY_SOFTMAX: "softmax",
        BY_CONSTANTS: "pace_program" if "pace" in plan.words else "drain_program",
    }

    def count(kind: str, name: str, tag: str) -> str:
        return f"{kind}[{tag}.group][{tag}.op][{names.index(name)}] += 1;"

    for ram in found:
        name = memory_name(ram.block, ram.name)
        memory = listed[name]
        tag = tags.get(memory.reader, "classified")
        if memory.category == "program":
            tag = ram.name
        elif memory.reader == BY_WALK:
            tag = f"walk_{memory.late}"
        if name in shared:
            yield from _bank_counts(plan, ram, count)
            continue
        # of the weights' pieces all are read for a word, one is written
        again = ram.block == "weights" and ram.name != "piece0"
        if ram.read_address and ram.read_enable == "1":  # read in every cycle
            yield f"            if (waiting | {_WALK}.step[0]) {count('reads', name, 'walk')}"
        elif ram.read_address and not again:
            # the reset itself reads the line buffer
            if memory.writer == BY_CAMERA:
                one, three = plan.latency.address_one_tap, plan.latency.address_three_tap
                yield f"            if (awake & {ram.read_enable}) begin"
                yield f"                automatic tag_t by = {_one_tap(plan, Source.CAMERA)} ?"
                yield f"                    walk_{one} : walk_{three};"
                yield f"                {count('reads', name, 'by')}"
                yield "            end"
            else:
                yield f"            if ({ram.read_enable}) {count('reads', name, tag)}"
        if ram.write_enable:
            tag = tags.get(memory.writer, "classified")
            yield f"            if ({ram.write_enable}) {count('writes', name, tag)}"


def _one_tap(plan: Plan, source: Source) -> str:
    """Whether a one-tap step reads from there now, which comes a cycle later than the others."""
    late = f"tb.dut.engine.steps.\\step_{plan.latency.address_one_tap}"
    return f"({late}.valid & {late}.one_tap & {late}.source == {int(source)})"


def _bank_counts(plan: Plan, ram: Ram, count) -> Iterator[str]:
    """A bank of maps and state: whose access it is, and which of the two it meets."""
    bank, lanes = ram.name.removeprefix("bank"), plan.engine.lanes
    one = f"[{bank}]" if lanes > 1 else ""
    place = "tb.dut.engine.window.maps"
    state = plan.state
    low = state.base

    def each(kind: str, address: str, tag: str) -> Iterator[str]:
        inside = f"{address} >= {low} && {address} < {low + state.words}"
        yield f"                if ({inside}) {count(kind, 'state', tag)}"
        yield f"                else {count(kind, 'maps', tag)}"
        yield "            end"

    def begin(condition: str) -> str:
        return f"            if ({condition}) begin"

    if plan.rules.one_byte:
        # read in every cycle: the maps have what the state has not
        yield f"            if (waiting | {_WALK}.step[0]) {count('reads', 'maps', 'walk')}"
        inside = f"{ram.read_address} >= {low} && {ram.read_address} < {low + state.words}"
        asked = f"{place}.asked{bank}"
        yield begin(f"({place}.reading{bank} | {asked}) && {inside}")
        yield f"                automatic tag_t by = {asked} ? back_program :"
        yield f"                    {place}.by_one{bank} ? walk_1 : walk;"
        yield f"                {count('reads', 'state', 'by')}"
        yield f"                {count('reads', 'maps', 'by').replace('+=', '-=')}"
        yield "            end"
        yield begin(ram.write_enable)
        yield from each("writes", ram.write_address, "store")
        return
    late = f"tb.dut.engine.steps.\\step_{plan.latency.address_one_tap}"
    shared, own = _one_tap(plan, Source.SHARED), _one_tap(plan, Source.HEAD)
    tap = f"(({shared} & {late}.bank {one}) | {own})"
    by_one, by_three = (
        f"walk_{late}" for late in (plan.latency.address_one_tap, plan.latency.address_three_tap)
    )
    operand = f"{place}.granted_1{one}"
    yield begin(f"{ram.read_enable} & ~{place}.host_1{one}")
    yield f"                automatic tag_t by = {operand} ? operand_1 :"
    yield f"                    {tap} ? {by_one} : {by_three};"
    yield from each("reads", ram.read_address, "by")
    yield begin(ram.write_enable)
    yield from each("writes", ram.write_address, "store")


# ---- what it wrote ----


def read(path: Path, plan: Plan) -> list[RowGroup]:
    """The row groups of a run in order, up to the first that was aborted."""
    names = [memory.name for memory in plan.memories]
    groups: list[tuple[list[list[int]], list[list[int]]]] = []
    for line in path.read_text().splitlines():
        kind, *words = line.split()
        if kind == "g":
            groups.append(([], []))
        else:
            groups[-1][kind == "m"].append([int(word) for word in words])
    return [_row_group(names, *group) for group in groups]


def _row_group(names: list[str], spent: list[list[int]], accesses: list[list[int]]) -> RowGroup:
    found = []
    for op, cycles in enumerate([*spent, [0] * len(_CAUSES)]):
        mine = [row[1:] for row in accesses if row[0] == op]
        found.append(
            Counted(
                cycles=sum(cycles),
                steps=cycles[0],
                stalls=dict(zip(_CAUSES[1:], cycles[1:], strict=True)),
                reads={names[i]: reads for i, reads, _ in mine if reads},
                writes={names[i]: writes for i, _, writes in mine if writes},
            )
        )
    return RowGroup(operations=tuple(found[:-1]), beside=found[-1])


def difference(groups: Sequence[RowGroup], cost: Cost) -> str | None:
    """The first count that is not as predicted, in words; None where all are."""
    return next(differences(groups, cost), None)


def differences(groups: Sequence[RowGroup], cost: Cost) -> Iterator[str]:
    """All counts that are not as predicted.

    Waiting for the camera is nobody's prediction: its cycles count neither as cycles nor as reads
    of memories that are read in every cycle.
    """
    beside: Counter[str] = Counter()
    for part in cost.beside:
        beside.update(_accesses(part))
    wanted = [_flat(part) for part in cost.operations]
    names = [*(part.name for part in cost.operations), "beside the array"]
    always = {memory.name: memory.count for memory in cost.memories if memory.always_read}
    for number, group in enumerate(groups):
        counted = []
        for part in group.operations:
            camera, found = part.stalls[CAMERA], _flat(part)
            del found[f"{CAMERA} cycles"]
            found["cycles"] -= camera
            for memory, banks in always.items():
                found[f"reads of {memory}"] -= camera * banks
            counted.append(found)
        pairs = zip(
            names,
            [*counted, Counter(_accesses(group.beside))],
            [*wanted, beside],
            strict=True,
        )
        for name, found, predicted in pairs:
            for key in sorted(found.keys() | predicted.keys()):
                if found[key] != predicted[key]:
                    yield (
                        f"row group {number} of the run, {name}: {found[key]} {key}, "
                        f"predicted {predicted[key]}"
                    )


def frame(groups: Sequence[RowGroup], cost: Cost) -> dict[str, Any]:
    """What row groups cost together beside what was predicted, as summary.json has it.

    Cycles are those that the engine did not wait for the camera.
    """
    layers: dict[str, Counter[str]] = {}
    totals: dict[str, Counter[str]] = {"reads": Counter(), "writes": Counter()}
    for group in groups:
        for part, predicted in zip(group.operations, cost.operations, strict=True):
            layer = layers.setdefault(predicted.layer, Counter())
            layer.update(cycles=part.cycles - part.stalls[CAMERA], steps=part.steps, **part.stalls)
        for part in (*group.operations, group.beside):
            totals["reads"].update(part.reads)
            totals["writes"].update(part.writes)
    count = len(groups)
    found_layers = {}
    for part in cost.layers:
        counted = layers.get(part.name, Counter())
        found_layers[part.name] = {
            **_cycles(counted, (*STALLS, CAMERA)),
            "predicted": _cycles(
                {
                    "cycles": count * part.cycles,
                    "steps": count * part.steps,
                    **{cause: count * part.stalls[cause] for cause in STALLS},
                },
                STALLS,
            ),
        }
    wanted = {"reads": cost.reads_row_group, "writes": cost.writes_row_group}
    return {
        "row_groups": count,
        "difference": difference(groups, cost),
        "layers": found_layers,
        "memories": {
            memory.name: {
                **{kind: totals[kind][memory.name] for kind in wanted},
                "predicted": {
                    kind: count * each.get(memory.name, 0) for kind, each in wanted.items()
                },
            }
            for memory in cost.memories
        },
    }


def _cycles(counts: Mapping[str, int], causes: Sequence[str]) -> dict[str, Any]:
    stalls = {cause: counts[cause] for cause in causes}
    return {"cycles": counts["cycles"], "steps": counts["steps"], "stalls": stalls}


def _flat(part: Counted | LayerCost) -> Counter[str]:
    """All counts of an operation, each under its name."""
    return Counter(
        {
            "cycles": part.cycles,
            "steps": part.steps,
            **{f"{cause} cycles": cycles for cause, cycles in part.stalls.items()},
            **_accesses(part),
        }
    )


def _accesses(part: Counted | LayerCost) -> dict[str, int]:
    return {
        **{f"reads of {name}": count for name, count in part.reads.items()},
        **{f"writes of {name}": count for name, count in part.writes.items()},
    }
