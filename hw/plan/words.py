"""The words of the row program: what each sequencer reads for an operation."""

from math import ceil
from typing import TYPE_CHECKING

from hw.plan.operations import Function, Source, Target

if TYPE_CHECKING:
    from hw.plan.plan import Plan


def bits_for(largest: int) -> int:
    """Bits of an unsigned field that holds `largest`, at least one."""
    return max(1, int(largest).bit_length())


def encode(plan: "Plan"):
    """Fill `plan.fields` from the operations."""
    g, e, model = plan.geometry, plan.engine, plan.model
    walk, drain, operand, store = [], [], [], []
    address_mask = (1 << bits_for(max(plan.bank_words, plan.line_buffer_words))) - 1
    state_words = g.state_words
    for op in plan.operations:
        segments = []
        for s in op.segments:
            if op.source == Source.CAMERA:
                segments.append((op.row * op.row_stride, 0))
            elif op.source == Source.ATTENTION:
                segments.append((0, 0))
            elif op.source == Source.HEAD:
                segments.append((plan.maps[s.map].base, 0))
            else:
                segments.append(
                    (plan.maps[s.map].base + (s.first // e.lanes) * state_words, s.first % e.lanes)
                )
        if op.source == Source.CAMERA:
            step = g.groups(model.image_width)
        elif op.source == Source.HEAD:
            step = plan.maps[op.segments[0].map].groups
        else:
            step = 1 if op.source == Source.ATTENTION else state_words
        lanes = g.head_lanes if op.head_mode else 1
        in_groups = ceil(op.in_words / lanes)
        second = len(segments) > 1
        walk.append(
            {
                "source": op.source,
                "weights": op.weights,
                "one_tap": op.taps == 1,
                "rows": op.kernel_rows - 1,
                "row_step": op.row_stride,
                "channel_step": (step - (op.kernel_rows - 1) * op.row_stride) & address_mask,
                "base0": segments[0][0],
                "bank0": segments[0][1],
                "last0": op.segments[0].channels - 1,
                "state0": op.segments[0].state,
                "two": second,
                "base1": segments[-1][0] if second else 0,
                "bank1": segments[-1][1] if second else 0,
                "last1": op.segments[-1].channels - 1 if second else 0,
                "groups": op.out_groups - 1,
                "chunks": op.chunks - 1,
                "in_groups": in_groups - 1,
                "tail": op.in_words - lanes * (in_groups - 1),
                "weight": op.weight_base,
                "idle": op.idle,
                "pause": op.pause,
                "wait": op.idle + op.wait,
                "need": op.need_rows,
                "release": op.release_rows,
                "head": op.heads[0] if op.heads else 0,
                "pad": op.zero_point != 0,
            }
        )
        a = b = 0
        if op.operand_value:
            a = plan.maps[op.operand_value].base
            b = plan.maps[op.operands[0]].base + op.operand_first * state_words
        elif op.operands:
            a = plan.maps[op.operands[0]].base
            b = plan.maps[op.operands[1]].base if len(op.operands) > 1 else 0
        both = bool(op.operand_value) or len(op.operands) > 1
        drain.append(
            {
                "groups": op.out_groups - 1,
                "chunks": op.chunks - 1,
                "function": op.function,
                "by_head": op.head_mode,
                "constant": op.constant_base,
                "constant_step": op.constant_step,
                "single": bool(op.operands) and not both,
            }
        )
        operand.append(
            {
                "groups": op.out_groups - 1,
                "chunks": op.chunks - 1,
                "fetch": bool(op.operands),
                "both": both,
                "value": bool(op.operand_value),
                "state": "H" in op.operands,
                "hold": op.hold,
                "a": a,
                "b": b,
            }
        )
        words = g.words(op.out_columns)
        m = plan.maps.get(op.out)
        base = m.base if m else 0
        if op.out.startswith("B2"):
            base += op.row * op.out_channels * m.groups
        if op.target == Target.SHARED:
            base += op.operand_first * state_words
        entry = {
            "groups": op.out_groups - 1,
            "chunks": op.chunks - 1,
            "target": op.target,
            "base": base,
            "stride": m.groups if m else 0,
            "last_word": words - 1,
            "tail": op.out_columns - (words - 1) * e.pixels,
            "pad": op.out_zero_point != 0,
            "first": op.first,
            "count": op.first + op.out_channels,
            "pool": op.head_mode,
            "blend": op.function == Function.BLEND,
            "head": op.heads[0] if op.heads else 0,
        }
        for i in range(g.heads):
            channel = op.heads[i] * op.out_channels if op.target == Target.CONCAT else 0
            entry[f"bank{i}"] = channel % e.lanes
            entry[f"address{i}"] = base + (channel // e.lanes) * state_words
        store.append(entry)
    if e.compact:
        back = [
            {
                "groups": op.out_groups - 1,
                "chunks": op.chunks - 1,
                "pool": op.head_mode,
                "turned": op.taps == 1,
                "function": op.function,
                "target": op.target,
                "constant": op.constant_base // e.lanes,
                "fetch": bool(op.operands),
                "state": "H" in op.operands,
                "a": o["a"],
                "b": o["b"],
                "tail": s["tail"],
                "pad": s["pad"],
                "last_lane": (op.out_channels - 1) % e.lanes,
                **{
                    f"base{i}": s[f"address{i}"] if op.target == Target.CONCAT else s["base"]
                    for i in range(e.lanes)
                },
            }
            for op, o, s in zip(plan.operations, operand, store, strict=True)
        ]
        plan.fields = {
            name: [{k: int(v) for k, v in f.items()} for f in fields]
            for name, fields in (("walk", walk), ("back", back))
        }
        return
    plan.fields = {
        "walk": [{k: int(v) for k, v in f.items()} for f in walk],
        "drain": [{k: int(v) for k, v in f.items()} for f in drain],
        "operand": [{k: int(v) for k, v in f.items()} for f in operand],
        "store": [{k: int(v) for k, v in f.items()} for f in store],
    }
