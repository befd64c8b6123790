# Each target is one line into Python. Options are given as NAME=value, see `make help`.
PYTHON := .venv/bin/python
option = $(if $(value $(1)),--$(2) '$(value $(1))')

.DEFAULT_GOAL := help
.PHONY: help sim bench verilog fuzz train test lint clean

help:  ## this text
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

sim: .venv/.stamp  ## photographs through the RTL, compared value by value: [PRESET=] [SHAPE=pixels,channels,lanes] [IMAGE=file or folder] [WEIGHTS=file] [FRAMES=2] [CAMERA=paced|blanking] [TAU=0.99] [SKIP=0.005] [TRACE=1]
	@$(PYTHON) -m sim.main sim $(call option,PRESET,preset) $(call option,SHAPE,shape) $(call option,IMAGE,image) $(call option,WEIGHTS,weights) $(call option,FRAMES,frames) $(call option,CAMERA,camera) $(call option,TAU,tau) $(call option,SKIP,skip) $(if $(TRACE),--trace)

bench: .venv/.stamp  ## measures all default shapes and refreshes the table in README.md
	@$(PYTHON) -m sim.main bench

verilog: .venv/.stamp  ## plain Verilog of an engine and its weights image under build/verilog: [PRESET=] [SHAPE=] [WEIGHTS=file] [MEMORY=initialised|loaded]
	@$(PYTHON) -m hw.generate $(call option,PRESET,preset) $(call option,SHAPE,shape) $(call option,WEIGHTS,weights) $(call option,MEMORY,weight-memory)

fuzz: .venv/.stamp  ## random small networks and arrays, each bit-exact with cycles as predicted: [N=20] [SEED=0]
	@$(PYTHON) -m sim.fuzz $(call option,N,count) $(call option,SEED,seed)

train: .venv/.stamp  ## trains a network; checkpoints and curves under build/train: DATA=folder or COCO .json [IMAGES=folder] [PRESET=] [EPOCHS=60] [RESUME=last.pt] [CELLS=file] [QUANTISED=epochs]
	@$(PYTHON) -m golden.train $(call option,PRESET,preset) $(call option,DATA,data) $(call option,IMAGES,images) $(call option,EPOCHS,epochs) $(call option,RESUME,resume) $(call option,CELLS,cells) $(call option,QUANTISED,quantised-epochs)

test: .venv/.stamp  ## all tests: [ARGS=pytest options]
	@$(PYTHON) -m pytest $(ARGS)

lint: .venv/.stamp  ## ruff
	@$(PYTHON) -m ruff check .

clean:  ## removes build/
	@rm -rf build

.venv/.stamp: pyproject.toml
	@python3 sim/environment.py
