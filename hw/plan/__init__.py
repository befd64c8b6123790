"""The plan of an engine in plain Python: row program, addresses, cycles, memories."""
