"""Why something is reached by no simulation: a hole that has a reason is none to fill."""

import re

REASONS: tuple[tuple[str, str, str], ...] = (
    ("bin", r"(walk|store|back): tail 0", "the last word of a row has a pixel at least"),
    ("bin", r"walk: bank1 more", "the second map is read from its first channel on"),
    (
        "bin",
        r"walk: channel_step 0",
        "a kernel has an odd number of rows, so it is a channel's words times an odd number; these "
        "are fewer than the addresses",
    ),
    ("bin", r"store: count 0", "an operation writes a channel at least"),
    (
        "bin",
        r"back: (function (SIGNED|MIX)|target SCORES)",
        "the serial record has no spatial attention",
    ),
    ("bin", r"head\.block, RELU: two segments", "a block reads one map"),
    (
        "bin",
        r"(attention|channel_attention|gru)\.\w+, \w+: (padding left and right|several rows)",
        "its kernel is 1 x 1",
    ),
    ("bin", r"projection\.\d, RELU: (one tap|several rows)", "its kernel is 1 x 3"),
    (
        "bin",
        r"(attention\.\w+|channel_attention\.1|projection\.\d), \w+: two segments",
        "it reads one map",
    ),
    ("bin", r"(channel_attention\.0|gru\.\w+), \w+: one segment", "it reads two maps"),
    (
        "bin",
        r"attention\.\w+, \w+: several words",
        "with spatial attention a word holds a row of the state",
    ),
    (r".*", r"\w+_program\[\d+\].*", "the row program is constant"),
    (".*", r".*\[-1\]", "a signal of no bits, which Verilog writes with two"),
    (
        r"(serial: )?camera\.receiver",
        r"sum_blue\[0\]",
        "blue's factor is even, and so is what is added",
    ),
    (
        r"(serial: )?(engine|engine\.frames|rasca)",
        r"(port|\$like)\[2\]",
        "row groups are counted up to two behind a frame's last one, events come of the others",
    ),
    (
        r"(serial: )?engine\.frames\.camera",
        r"(base|released)\[4\]",
        "first row of a row group that begins behind a frame's last one, and is dropped at once",
    ),
    (
        r"(serial: )?engine\.frames",
        r"(following|\$signal)\[[23]-4\]",
        "three frames and more without a decision: proof `frames: decisions`, tests/test_frames.py",
    ),
    (
        r"(serial: )?engine\.loader.*",
        r"changed\[0\]|whole|end else if \(start\) begin \(if\)",
        "a simulation loads once: proofs `loader: image`, `loader: CRC`, tests/test_loader.py",
    ),
    (
        r"(serial: )?(engine|engine\.(lines|window|classifier\..*))",
        r"(camera__|read__?)?read_en|read__en",
        "this record reads in each cycle",
    ),
    (
        r"engine\.back\.store\.U",
        r"pad",
        "parallel parts pool no column beyond the map",
    ),
    (
        r"engine\.back\.store\.U",
        r"(allowed|place)\d+(_\d+)*\[.*\]|if \(place.*\) begin \(elsif\)|word\d+\[.*\]",
        "places of a word that is wider than the rows of pooled columns that go into it",
    ),
    (
        r"(serial: )?engine"
        r"(\.(back.*|host_read|lines.*|loader|sequencer.*|window.*|frames\.camera))?",
        r"(offset|group_offset|k_offset|row|finished|first_word|group_address|outer|base"
        r"|address\d(_\d)?|(maps__)?((at|ask|begin|next)_)?address|(now|following)_pause|port"
        r"|\$signal)\[[\d, -]+\]",
        "upper bits of an address or a count: as wide as its memory or the plan's largest number, "
        "which is of another kind of word or below the last power of two",
    ),
    (
        r"(serial: )?engine\.sequencer.*",
        r"(begin_|following_|now_)?(facts|is)\[(18|20|18-20)\]",
        "the row program is constant: no second map of these engines has two channels",
    ),
    (
        r"serial: engine\.sequencer.*",
        r"part(_end)?|inside",
        "serial parts have a lane a head, and no pause inside a walk",
    ),
    (
        r"(serial: )?storm",
        r"front\[.*\]",
        "counts have 16 bits, a simulation has a few faults of each kind",
    ),
    (
        r"engine\.attention",
        r"\$signal\[1-2\]|steps__4\[.*\]",
        "the low-power record's steps: fields with one value, and an address's upper bit",
    ),
    (
        r"engine\.back\.store\.U|serial: rasca",
        r"(largest|total)\d+\[.*\]|weights_digest\[.*\]",
        "values: which bits come up is the affair of pictures and weights",
    ),
    (r"serial: engine\.array", r"begun", "set by the first cycle after a reset, and stays"),
    (r"serial: engine\.lines\.places", r"bank", "serial parts have one bank"),
    (
        r"engine\.sleep",
        r"forget",
        "a frame goes wrong while the classifier is on it; in a serial engine's block it does",
    ),
    (
        r"engine\.(back\.store\.U|sequencer\.taps|window\.(addresses|windows))",
        r"assign .* \? .* \(cond_(then|else)\)",
        "a line of one engine's widths, which others reach with theirs",
    ),
    (r"engine\.back\.unit\.activation", r"4'hb: \(case\)", "a value that weights do not bring up"),
    (
        r"(serial: )?engine\.host_read",
        r"end else if \(\$ \) begin \(else\)",
        "a word is asked for while the one before comes: proofs `host: read`, `host: serial`",
    ),
    (r"(serial: )?engine\.lines\.places", r"if \(.bank.*\) begin \(else\)", "there is one bank"),
    (
        r"(serial: )?engine\.lines\.receiver",
        r"if \(control__accept\) begin \(else\)",
        "a frame that is not accepted: tests/test_line_buffer.py, tests/test_frames.py",
    ),
    (
        r".*",
        r"thresholds__\w+|(skip|stop)_(enable|threshold)",
        "a setting of the simulation, given before its first pixel and left so",
    ),
    (
        r".*",
        r"(counts?|counts?__?\w+|count\[.*\])(\[.*\])?"
        r"|assign \$  = \\?count.*\[16\] \? 17'h0ffff : .*",
        "counts have 16 bits, a simulation has a few faults of each kind; that the camera path's "
        "stay at their largest value: tests/test_crossing.py",
    ),
    (
        r".*",
        r"((decision__)?rows_used|row__group|state__(channel|word)|decision_rows_used|row_group)"
        r"(\[.*\])?",
        "as wide as the largest network wants it; these have few row groups, channels and words",
    ),
    (
        r".*",
        r"((answer|decision|row)__)?logits__\d+\[.*\]|(decision|row)_logit\d+\[.*\]|others_not\[.*\]"
        r"|told\d+\[.*\]",
        "tiny networks have small logits: tests/test_classifier.py has the largest ones",
    ),
    (
        r".*",
        r"((answer|decision)__)?index\[.*\]|decision_(class|person)|assign .*: largest; .*",
        "which class is the largest is the weights' affair: tests/test_classes.py has each of 16",
    ),
    (
        r"(serial: )?(engine|engine\.frames.*|rasca|storm)",
        r"decision_{1,2}status(\[.*\])?|behind\[1\]|comes\d|free\[.*\]|(one|two)(\[.*\])?|status"
        r"|(r_|w_)?level\[.*\]|[rw]_data(\[.*\])?|[rw]_port__data(\[.*\])?|storage\[\d\]|w_rdy",
        "few frames go wrong here, and one at a time: proofs `frames: FIFO of faults`, `frames: "
        "order`; tests/test_frames.py has all kinds",
    ),
    (
        r"(serial: )?camera\.crossing.*",
        r"overflow_(gray|new|seen)|owed|pause\[-1\]|stage\d(\[1\])?|w_rdy|\$like\[1\]"
        r"|(long|short)_(frame|line)_(new|gray|seen)\[1\]|end else if .*",
        "its FIFO never fills, and a fault comes after the one before is told: proofs `crossing: "
        "FIFO`, `crossing: ends`, tests/test_crossing.py",
    ),
    (
        r"serial: .*",
        r"(begin_|port__)?(word|now|step|later\d)(_\d|s__\d+)?\[(2, 4|3-4, \d+)\]"
        r"|steps__\d+\[3-4, \d+\]",
        "a field with one value has a bit nevertheless: the serial record's weights are always the "
        "memory's, and it works on one head after the other",
    ),
    (
        r"engine.*",
        r"(step|later)(_\d+)?\[52\]|steps__\d+\[(42|52)\]",
        "a field with one value has a bit nevertheless: here all heads work at once",
    ),
    (
        r"(serial: )?(engine|engine\.(host_read|window.*)|rasca|storm)",
        r"(host_{1,2}|maps__)(address|data)(\[.*\])?|state_{1,2}(data|channel|word)(\[.*\])?"
        r"|assign .*host_valid.*",
        "few words are read back: proofs `host: read`, `host: serial`, tests/test_host_read.py",
    ),
    (
        r"(serial: )?engine.*",
        r"(bank\d+|weights|constants|values|scores|delayed|starts|product|active)\[\d+\](\[.*\])?"
        r"|(maps__|map_)?words(\$\d+)?\[\d+\]\[.*\]|(attention_word|word\d?|output|values)\[.*\]"
        r"|operand_[ab]\d+\[.*\]|(r_data|(weights__|read__|port__)data)(\[.*\])?"
        r"|(window_)?(left|right)\d\[.*\]|(gate|scale)_(both|high|low)1\[.*\]"
        r"|(scaled1|sum\d(_\d)?|a_pair|divisor|filled\d|ratio|total\d|a|o|sum_blue)(\[.*\])?"
        r"|(constant|shift|weights_digest)\[.*\]|\$signature__(data|addr)(\[.*\])?",
        "values: which bits come up is the affair of pictures and weights; arithmetic holds for "
        "all of them by proof or by tests of all operands",
    ),
    (
        r"(serial: )?(engine|engine\.loader.*|rasca)",
        r"load_?_error|swallowing|.* (start\) begin \(if\))|match_detected",
        "a load that goes wrong or begins again: proofs `loader: image`, `loader: digest`",
    ),
    (
        r"(serial: )?(engine|engine\.(frames|lines|lines\.receiver))",
        r"(control__|lines__)?status|dropped|line_fault|lost|overran|overrun|restart|second"
        r"|.*(line_fault|overrun|overran|restart|lost|second)\b.*\((if|elsif|cond_then)\)",
        "frames are whole here or break off: other faults of the line buffer have proofs, `lines: "
        "faults once`; the storms' have an engine of their own",
    ),
)
"""(module or "bin", what, why): patterns of whole names."""


def reason(module: str, what: str) -> str | None:
    """Why nothing reaches it; None where nobody knows."""
    for where, name, why in REASONS:
        if re.fullmatch(where, module) and re.fullmatch(name, what):
            return why
    return None
