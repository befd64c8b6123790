// Simulates a mapped netlist cycle by cycle and counts how often each net changes.
//
//   gates NETLIST STIMULUS COUNTS
//
// NETLIST, nets by number (0 and 1 are the constants):
//   nets COUNT
//   gate OUT TABLE INPUTS...                 TABLE: output for inputs 0, 1, 2, ... as 0s and 1s
//   flop OUT TABLE INPUTS...                 its next state
//   sram WORDS BITS READ_EN ADDRESS... DATA... WRITE_EN ADDRESS... DATA...
//   clock NET PARENT ENABLE                  a gate: passes the edges of PARENT (another gate's net, else
//                                            the clock) before which ENABLE is 1
//   on NET                                   flops and srams that follow are clocked by this gate's
//                                            net, or by the clock
//   in NET                                   an input, in the order of the stimulus
//   watch NET                                an output; a cycle with the first one at 1 is an event
// STIMULUS, a line each:
//   c VALUES             a cycle with these inputs, as 0s and 1s
//   r COUNT              so many cycles without a change
//   start, stop          of the counting
//   events FIRST LAST    count from one event to another, and end there (the first one is 0)
// Prints "CYCLE OUTPUTS" at each event. COUNTS: "cycles COUNT", then of each net "NET CHANGES ONES",
// ONES being the cycles in which it was 1; of a gate's net CHANGES are twice its edges.
//
// Zero delay: registers and inputs change at the clock's edge, gates settle, each net changes at
// most once a cycle. Only gates with an input that changed are looked at.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

struct Gate {
    uint32_t out, inputs, count, table, level;  // places in `pins` and `tables`
    uint32_t clock = 0;
};
struct Clock {
    uint32_t net, parent, enable;
    bool open = true;
    uint64_t edges = 0;
};
struct Sram {
    size_t words, bits, address;
    uint32_t read_en, write_en;
    std::vector<uint32_t> read_address, read_data, write_address, write_data;
    std::vector<uint8_t> word;
    std::vector<uint8_t> out;
    bool read = false;
    uint32_t clock = 0;
};

static std::vector<uint8_t> value, tables;
static std::vector<uint64_t> changes, ones, since;
static std::vector<uint32_t> pins;
static std::vector<Gate> gates, flops;
static std::vector<Sram> srams;
static std::vector<Clock> clocks(1);  // the first one is the clock, the others gates behind it
static std::vector<std::vector<uint32_t>> readers;  // gates that read a net, flops behind them
static std::vector<std::vector<uint32_t>> due;      // gates to look at, by level
static std::vector<uint32_t> woken;                 // flops to look at
static std::vector<uint8_t> queued;
static uint64_t cycle = 0;
static bool counting = false;

static uint8_t look(const Gate& gate) {
    uint32_t index = 0;
    for (uint32_t i = 0; i < gate.count; ++i) index |= uint32_t(value[pins[gate.inputs + i]]) << i;
    return tables[gate.table + index];
}

static void set(uint32_t net, uint8_t to) {
    if (value[net] == to) return;
    if (counting) {
        ++changes[net];
        if (!to) ones[net] += cycle - since[net];
        since[net] = cycle;
    }
    value[net] = to;
    for (const uint32_t reader : readers[net])
        if (!queued[reader]) {
            queued[reader] = 1;
            if (reader < gates.size())
                due[gates[reader].level].push_back(reader);
            else
                woken.push_back(reader - gates.size());
        }
}

static void settle() {
    for (auto& level : due) {
        for (size_t i = 0; i < level.size(); ++i) {
            queued[level[i]] = 0;
            set(gates[level[i]].out, look(gates[level[i]]));
        }
        level.clear();
    }
}

static size_t number(const std::vector<uint32_t>& nets) {
    size_t found = 0;
    for (size_t i = 0; i < nets.size(); ++i) found |= size_t(value[nets[i]]) << i;
    return found;
}

static void edge(const std::string* inputs, const std::vector<uint32_t>& ports) {
    static std::vector<uint8_t> next;
    static std::vector<uint32_t> awake;
    for (size_t i = 1; i < clocks.size(); ++i) {
        clocks[i].open = clocks[clocks[i].parent].open && value[clocks[i].enable];
        clocks[i].edges += counting && clocks[i].open;
    }
    awake.clear();
    size_t kept = 0;  // those whose clock stands still stay
    for (const uint32_t flop : woken)
        if (clocks[flops[flop].clock].open)
            awake.push_back(flop);
        else
            woken[kept++] = flop;
    woken.resize(kept);
    next.resize(awake.size());
    for (size_t i = 0; i < awake.size(); ++i) {
        next[i] = look(flops[awake[i]]);
        queued[gates.size() + awake[i]] = 0;
    }
    for (auto& sram : srams) {
        sram.read = false;
        if (!clocks[sram.clock].open) continue;
        sram.read = value[sram.read_en];
        if (sram.read) {
            const size_t at = number(sram.read_address);
            for (size_t i = 0; i < sram.bits; ++i)
                sram.out[i] = at < sram.words ? sram.word[at * sram.bits + i] : 0;
        }
        if (value[sram.write_en]) {
            const size_t at = number(sram.write_address);
            for (size_t i = 0; at < sram.words && i < sram.bits; ++i)
                sram.word[at * sram.bits + i] = value[sram.write_data[i]];
        }
    }
    ++cycle;
    for (size_t i = 0; i < awake.size(); ++i) set(flops[awake[i]].out, next[i]);
    for (auto& sram : srams)
        for (size_t i = 0; sram.read && i < sram.bits; ++i) set(sram.read_data[i], sram.out[i]);
    if (inputs)
        for (size_t i = 0; i < ports.size(); ++i) set(ports[i], (*inputs)[i] == '1');
    settle();
}

static int fail(const std::string& text) {
    fprintf(stderr, "gates: %s\n", text.c_str());
    return 1;
}

int main(int argc, char** argv) {
    if (argc != 4) return fail("three files are wanted");
    std::ifstream netlist(argv[1]), stimulus(argv[2]);
    if (!netlist || !stimulus) return fail("a file cannot be read");
    std::vector<uint32_t> ports, watched;
    std::string line, word;
    size_t nets = 0;
    uint32_t on = 0;
    const auto clock_of = [](uint32_t net) {
        uint32_t found = 0;
        for (uint32_t i = 1; i < clocks.size(); ++i)
            if (clocks[i].net == net) found = i;
        return found;
    };
    while (std::getline(netlist, line)) {
        std::istringstream in(line);
        in >> word;
        if (word == "nets") {
            in >> nets;
        } else if (word == "gate" || word == "flop") {
            Gate gate{};
            std::string table;
            in >> gate.out >> table;
            gate.table = tables.size();
            for (const char bit : table) tables.push_back(bit == '1');
            gate.inputs = pins.size();
            gate.clock = on;
            for (uint32_t pin; in >> pin; ++gate.count) pins.push_back(pin);
            if (table.size() != size_t(1) << gate.count) return fail("a table's size: " + line);
            (word == "gate" ? gates : flops).push_back(gate);
        } else if (word == "sram") {
            Sram sram;
            in >> sram.words >> sram.bits;
            sram.address = 1;
            sram.clock = on;
            while (size_t(1) << sram.address < sram.words) ++sram.address;
            const auto take = [&in](size_t count) {
                std::vector<uint32_t> found(count);
                for (auto& net : found) in >> net;
                return found;
            };
            sram.read_en = take(1)[0];
            sram.read_address = take(sram.address);
            sram.read_data = take(sram.bits);
            sram.write_en = take(1)[0];
            sram.write_address = take(sram.address);
            sram.write_data = take(sram.bits);
            if (!in) return fail("an SRAM has too few nets: " + line);
            sram.word.assign(sram.words * sram.bits, 0);
            sram.out.assign(sram.bits, 0);
            srams.push_back(sram);
        } else if (word == "clock") {
            Clock gate{};
            uint32_t parent;
            in >> gate.net >> parent >> gate.enable;
            if (!in) return fail("a gate has too few nets: " + line);
            gate.parent = clock_of(parent);
            clocks.push_back(gate);
        } else if (word == "on") {
            uint32_t net;
            in >> net;
            on = clock_of(net);
        } else if (word == "in" || word == "watch") {
            uint32_t net;
            in >> net;
            (word == "in" ? ports : watched).push_back(net);
        } else {
            return fail("what is " + line);
        }
    }
    value.assign(nets, 0);
    value[1] = 1;
    changes.assign(nets, 0);
    ones.assign(nets, 0);
    since.assign(nets, 0);
    readers.resize(nets);
    queued.assign(gates.size() + flops.size(), 0);
    std::vector<uint32_t> waits(gates.size()), driver(nets, UINT32_MAX), ready;
    for (size_t i = 0; i < gates.size(); ++i) driver[gates[i].out] = i;
    for (size_t i = 0; i < gates.size(); ++i)
        for (uint32_t k = 0; k < gates[i].count; ++k) {
            const uint32_t net = pins[gates[i].inputs + k];
            readers[net].push_back(i);
            waits[i] += driver[net] != UINT32_MAX;
        }
    for (size_t i = 0; i < gates.size(); ++i)
        if (!waits[i]) ready.push_back(i);
    uint32_t levels = 0;
    for (size_t i = 0; i < ready.size(); ++i) {
        const Gate& gate = gates[ready[i]];
        levels = std::max(levels, gate.level + 1);
        for (const uint32_t reader : readers[gate.out]) {
            gates[reader].level = std::max(gates[reader].level, gate.level + 1);
            if (!--waits[reader]) ready.push_back(reader);
        }
    }
    for (size_t i = 0; i < flops.size(); ++i) {
        for (uint32_t k = 0; k < flops[i].count; ++k)
            readers[pins[flops[i].inputs + k]].push_back(gates.size() + i);
        woken.push_back(i);
        queued[gates.size() + i] = 1;
    }
    if (ready.size() != gates.size()) return fail("gates drive each other in a ring");
    due.resize(levels);
    for (size_t i = 0; i < gates.size(); ++i) {
        due[gates[i].level].push_back(i);
        queued[i] = 1;
    }
    settle();

    uint64_t began = 0, counted = 0;
    int64_t event = -1, first = -1, last = -1;
    const auto start = [&] {
        counting = true;
        began = cycle;
        since.assign(nets, cycle);
    };
    const auto stop = [&] {
        counting = false;
        counted = cycle - began;
        for (size_t net = 0; net < nets; ++net)
            if (value[net]) ones[net] += cycle - since[net];
    };
    bool over = false;
    while (!over && std::getline(stimulus, line)) {
        std::istringstream in(line);
        in >> word;
        uint64_t count = 0;
        std::string inputs;
        if (word == "c") {
            in >> inputs;
            if (inputs.size() != ports.size()) return fail("inputs are not as many as ports");
            count = 1;
        } else if (word == "r") {
            in >> count;
        } else if (word == "start") {
            start();
        } else if (word == "stop") {
            stop();
        } else if (word == "events") {
            in >> first >> last;
        } else {
            return fail("what is " + line);
        }
        for (; count && !over; --count) {
            edge(word == "c" ? &inputs : nullptr, ports);
            if (watched.empty() || !value[watched[0]]) continue;
            ++event;
            printf("%llu ", (unsigned long long)cycle);
            for (const uint32_t net : watched) putchar('0' + value[net]);
            putchar('\n');
            fflush(stdout);
            if (event == first) start();
            if (event == last) stop();
            over = event == last;
        }
    }
    if (last >= 0 && !over) return fail("the last event did not come");
    for (size_t i = 1; i < clocks.size(); ++i) {
        changes[clocks[i].net] = 2 * clocks[i].edges;
        ones[clocks[i].net] = clocks[i].edges;
    }
    std::ofstream out(argv[3]);
    out << "cycles " << counted << "\n";
    for (size_t net = 0; net < nets; ++net)
        out << net << " " << changes[net] << " " << ones[net] << "\n";
    return out ? 0 : fail("cannot write");
}
