"""Rasca: an INT8 accelerator for RaScaNet, its compiler, its golden model and its simulation."""
