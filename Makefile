# Each target is one line into Python, which reads the variables that make was given as they were
# typed (rasca/make.py). `make help` tells targets and variables.
PYTHON := .venv/bin/python
COMMANDS := sim bench verilog fuzz storm prove mutate coverage strangers asic explore report bitstream bitstreams netlist \
	screen program train \
	labels import evaluate onnx fidelity card early-termination visualise ablation accounting \
	flash-image host docs release

# Python takes them from MAKEFLAGS: on export make would expand what stands behind a $.
unexport $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
export RASCA_GOALS := $(MAKECMDGOALS)

.DEFAULT_GOAL := help
.PHONY: help $(COMMANDS) test lint clean

help:
	@python3 -m rasca make help

$(COMMANDS) test lint: .venv/.stamp
	@$(PYTHON) -m rasca make $@

clean:
	@python3 -m rasca make clean

.venv/.stamp: requirements.lock
	@python3 rasca/environment.py
