"""What lies beside the generated Verilog: known answer, datasheet, waveforms, constraints."""
