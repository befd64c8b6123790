"""The parts of `boards.host_link.HostLink`, one a file.

`memory` holds what came and what will leave, and says whose turn it is; `parser` and `replay` take
the host's packets to the engine; `events` and `copier` make packets of what the engine says,
`counters` keeps the counters' packet, `sender` sends them all.
"""
