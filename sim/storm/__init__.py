"""Camera faults by the thousand over the RTL, from a sensor's pins to decisions: `make storm`.

`design` is what is simulated, `faults` draws what happens at the pins, `spec` says what the
documentation makes of any pins, `judge` compares, `main` is the command.
"""
