"""What simulations reach of the hardware: `rasca coverage`. See docs/verification.md.

`rtl` reads what Verilator counts (lines, changes of bits), `bins` counts what the row program and
the numbers bring up (words, functions at their edges), `scenarios` are the simulations, `main` the
command.
"""
