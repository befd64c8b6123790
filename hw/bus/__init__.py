"""The engine behind a bus: registers, AXI4-Stream video, interrupt. docs/integration.md."""
