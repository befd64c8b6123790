"""Parts of the serial engine, for small FPGAs: one channel unit for all lanes."""
