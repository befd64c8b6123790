"""Studies of an engine before it is built: energy, silicon, sweeps."""
