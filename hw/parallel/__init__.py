"""Parts of the parallel engine: a channel unit for each channel of each lane."""
