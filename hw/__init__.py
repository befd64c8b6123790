"""The hardware: one file a block, in the network's own words."""
