# Each target is one line into Python. Options are given as NAME=value, see `make help`.
PYTHON := .venv/bin/python
option = $(if $(value $(1)),--$(2) '$(value $(1))')
preset = $(or $(PRESET),vww_105x120)
data = $(call option,DATA,data) $(call option,IMAGES,images)
held_out = $(call option,HELD_OUT,held-out) $(foreach part,$(HELD_OUT_OF),--held-out-of '$(part)')
skip_bad = $(if $(SKIP_BAD),--skip-bad)
# The shipped weights unless others are named.
network = $(if $(CHECKPOINT),$(call option,CHECKPOINT,checkpoint) $(call option,CALIBRATE,calibrate),--weights $(weights))
weights = '$(or $(WEIGHTS),golden/default_weights/$(preset).safetensors)'

.DEFAULT_GOAL := help
.PHONY: help sim bench verilog fuzz asic explore report bitstream bitstreams netlist program train labels import evaluate fidelity card early-termination visualise ablation accounting flash-image host test lint clean

help:  ## this text
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

sim: .venv/.stamp  ## photographs through the RTL, compared value by value: [PRESET=] [SHAPE=pixels,channels,lanes] [IMAGE=file or folder] [WEIGHTS=file] [FRAMES=2] [CAMERA=paced|blanking] [TAU=0.99] [SKIP=0.005] [TRACE=1]
	@$(PYTHON) -m sim.main sim $(call option,PRESET,preset) $(call option,SHAPE,shape) $(call option,IMAGE,image) $(call option,WEIGHTS,weights) $(call option,FRAMES,frames) $(call option,CAMERA,camera) $(call option,TAU,tau) $(call option,SKIP,skip) $(if $(TRACE),--trace)

bench: .venv/.stamp  ## measures all default shapes and refreshes the table in README.md
	@$(PYTHON) -m sim.main bench

verilog: .venv/.stamp  ## plain Verilog of an engine and its weights image under build/verilog: [PRESET=] [SHAPE=] [WEIGHTS=file] [MEMORY=initialised|loaded]
	@$(PYTHON) -m hw.generate $(call option,PRESET,preset) $(call option,SHAPE,shape) $(call option,WEIGHTS,weights) $(call option,MEMORY,weight-memory)

fuzz: .venv/.stamp  ## random small networks and arrays, each bit-exact with cycles as predicted: [N=20] [SEED=0]
	@$(PYTHON) -m sim.fuzz $(call option,N,count) $(call option,SEED,seed)

asic: .venv/.stamp  ## an engine in standard cells under build/asic: area, SRAM macros, frequency, power: [PRESET=] [SHAPE=] [LIBERTY=file] [TECH=ihp130|45nm|22nm] [CLOCK_MHZ=100] [ROW_GROUPS=2 for power, 0 for none] [WEIGHTS=file]
	@$(PYTHON) -m sim.study.asic $(call option,PRESET,preset) $(call option,SHAPE,shape) $(call option,LIBERTY,liberty) $(call option,TECH,technology) $(call option,CLOCK_MHZ,clock) $(call option,ROW_GROUPS,row-groups) $(call option,WEIGHTS,weights)

explore: .venv/.stamp  ## networks x arrays x technologies by the cost model, Pareto plots under build/explore: [SPACE=.yaml, .toml or .json] [WORKERS=number | CLUSTER=address of a Dask scheduler] [SYNTHESISE=points to map to cells] [LIBERTY=file] [FRESH=1]
	@$(PYTHON) -m sim.study.explore $(call option,SPACE,space) $(call option,WORKERS,workers) $(call option,CLUSTER,cluster) $(call option,SYNTHESISE,synthesise) $(call option,LIBERTY,liberty) $(if $(FRESH),--fresh)

report: .venv/.stamp  ## cycles, memories, timing, energy and peers on one page under build/report, in seconds: [PRESET=] [SHAPE=] [CLOCK_MHZ=100] [TECH=ihp130|45nm|22nm] [FPS=30] [LIBERTY=file, maps the engine to cells] [IMAGES=folder] [WEIGHTS=file] [COMPACT=1, the small FPGAs' engine]
	@$(PYTHON) -m sim.study.report $(call option,PRESET,preset) $(call option,SHAPE,shape) $(call option,CLOCK_MHZ,clock-mhz) $(call option,TECH,tech) $(call option,FPS,fps) $(call option,LIBERTY,liberty) $(call option,IMAGES,images) $(call option,WEIGHTS,weights) $(if $(COMPACT),--compact)

train: .venv/.stamp  ## trains a network, then its integers; all of it under build/train: DATA=folder, COCO .json or .csv [IMAGES=folder] [PRESET=] [EPOCHS=60] [RESUME=last.pt] [OUTPUT=folder] [BATCH=64] [SEED=0] [CONFIDENCE=proposed|trivial|none] [HELD_OUT=0.1] [HELD_OUT_OF='origin=part ...'] [CELLS=file] [QUANTISED=1 epochs, 0 for none] [SKIP_BAD=1]
	@$(PYTHON) -m golden.train $(data) $(call option,PRESET,preset) $(call option,EPOCHS,epochs) $(call option,RESUME,resume) $(call option,OUTPUT,output) $(call option,BATCH,batch) $(call option,SEED,seed) $(call option,CONFIDENCE,confidence) $(held_out) $(call option,CELLS,cells) --quantised-epochs '$(or $(QUANTISED),1)' $(skip_bad)

labels: .venv/.stamp  ## build/labels.csv of a data set or a part of it: DATA= [IMAGES=] [PART=all|training|validation] [HELD_OUT=0.1] [HELD_OUT_OF='origin=part ...'] [SPLIT=trainval] [LINKS=new folder] [SKIP_BAD=1]
	@mkdir -p build && $(PYTHON) -m golden.make_labels '$(value DATA)' $(call option,IMAGES,images) $(call option,PART,part) $(held_out) $(call option,SPLIT,split) $(call option,LINKS,links) $(skip_bad) -o build/labels.csv

import: .venv/.stamp  ## a released or own checkpoint to integers, build/PRESET.safetensors: CHECKPOINT=file CALIBRATE=folder [PRESET=]
	@mkdir -p build && $(PYTHON) -m golden.import_checkpoint '$(value CHECKPOINT)' --preset $(preset) $(call option,CALIBRATE,calibrate) -o 'build/$(preset).safetensors'

evaluate: .venv/.stamp  ## accuracy on photographs, and build/evaluate.json: IMAGES=folder LABELS=csv [PRESET=] [WEIGHTS=file | CHECKPOINT=file [CALIBRATE=folder]] [MODEL=int|float] [TAU=] [SKIP=] [LOGITS=out.csv] [SKIP_BAD=1]
	@mkdir -p build && $(PYTHON) -m golden.evaluate --preset $(preset) $(network) $(call option,IMAGES,images) $(call option,LABELS,labels) --model '$(or $(MODEL),int)' $(call option,TAU,tau) $(call option,SKIP,skip) $(call option,LOGITS,logits) $(skip_bad) --json build/evaluate.json

fidelity: .venv/.stamp  ## integer beside float answers for all ways to calibrate, and build/fidelity.json: CHECKPOINT=file CALIBRATE=folder IMAGES=folder LABELS=csv [PRESET=] [SKIP_BAD=1]
	@mkdir -p build && $(PYTHON) -m golden.fidelity --preset $(preset) $(call option,CHECKPOINT,checkpoint) $(call option,CALIBRATE,calibrate) $(call option,IMAGES,images) $(call option,LABELS,labels) $(skip_bad) --json build/fidelity.json

card: .venv/.stamp  ## accuracy table by origin for a model card: CHECKPOINT=file IMAGES=folder LABELS=csv [WEIGHTS=file] [PRESET=] [PAGE=file.md] [SKIP_BAD=1]
	@mkdir -p build && $(PYTHON) -m golden.model_card --preset $(preset) $(call option,CHECKPOINT,checkpoint) --weights $(weights) $(call option,IMAGES,images) $(call option,LABELS,labels) $(call option,PAGE,page) $(skip_bad) --json build/card.json

early-termination: .venv/.stamp  ## accuracy and MACs saved over both thresholds, build/early_termination: IMAGES=folder LABELS=csv [PRESET=] [WEIGHTS=file | CHECKPOINT=file [CALIBRATE=folder]] [TAU=0.9,0.99] [SKIP=off,0.005] [PAGE=file.md] [SKIP_BAD=1]
	@$(PYTHON) -m golden.early_termination --preset $(preset) $(network) $(call option,IMAGES,images) $(call option,LABELS,labels) $(call option,TAU,tau) $(call option,SKIP,skip) $(call option,PAGE,page) $(skip_bad) -o build/early_termination

visualise: .venv/.stamp  ## what the network looks at, picture and GIF under build/visualise: IMAGE=file [PRESET=] [WEIGHTS=file | CHECKPOINT=file [CALIBRATE=folder]] [TAU=0.99] [SKIP=]
	@$(PYTHON) -m golden.visualise --preset $(preset) $(call option,IMAGE,image) $(call option,WEIGHTS,weights) $(call option,CHECKPOINT,checkpoint) $(call option,CALIBRATE,calibrate) $(call option,TAU,tau) $(call option,SKIP,skip) -o build/visualise

ablation: .venv/.stamp  ## trains the variants of one of the paper's tables, build/train/ablation: KIND=heads|loss|attention DATA= [IMAGES=] [PRESET=] [SIZE=HxW] [EPOCHS=10] [SEEDS=1] [SEED=0] [BATCH=64] [HELD_OUT=0.2] [SKIP_BAD=1]
	@$(PYTHON) -m golden.ablation '$(value KIND)' $(data) $(call option,PRESET,preset) $(call option,SIZE,size) $(call option,EPOCHS,epochs) $(call option,SEEDS,seeds) $(call option,SEED,seed) $(call option,BATCH,batch) $(call option,HELD_OUT,held-out) $(skip_bad)

accounting: .venv/.stamp  ## weights, peak memory and operations of every preset, and build/accounting.json
	@mkdir -p build && $(PYTHON) -m golden.accounting --output build/accounting.json

bitstream: .venv/.stamp  ## bitstream of a board under build/bitstream: BOARD=ulx3s [PRESET=] [SHAPE=] [WEIGHTS=file] [SEED=1]
	@$(PYTHON) -m boards.build --board '$(value BOARD)' $(call option,PRESET,preset) $(call option,SHAPE,shape) $(call option,WEIGHTS,weights) $(call option,SEED,seed)

bitstreams: .venv/.stamp  ## builds every board and refreshes docs/results.md (hours): [SEED=1]
	@$(PYTHON) -m boards.results $(call option,SEED,seed)

netlist: .venv/.stamp  ## the engine as synthesis made it for a board, simulated on models of its cells: [BOARD=icebreaker] [PRESET=] [SHAPE=] [IMAGE=file] [WEIGHTS=file] [ROW_GROUPS=3] [WHOLE=1 for the whole iCEBreaker, from camera to UART]
	@$(PYTHON) -m sim.netlist $(call option,BOARD,board) $(call option,PRESET,preset) $(call option,SHAPE,shape) $(call option,IMAGE,image) $(call option,WEIGHTS,weights) $(call option,ROW_GROUPS,row-groups) $(if $(WHOLE),--whole)

program: .venv/.stamp  ## puts the bitstream that make bitstream made on the board: BOARD= [PRESET=]
	@$(PYTHON) -m boards.programmer --board '$(value BOARD)' $(call option,PRESET,preset)

flash-image: .venv/.stamp  ## weights for a board's SPI flash, under build/flash: [BOARD=icebreaker] [PRESET=] [SHAPE=] [WEIGHTS=file] [OFFSET=0x40000]
	@$(PYTHON) -m boards.flash_image $(call option,BOARD,board) $(call option,PRESET,preset) $(call option,SHAPE,shape) $(call option,WEIGHTS,weights) $(call option,OFFSET,offset)

host: .venv/.stamp  ## photographs through a real board, compared as `make sim` does: PORT=/dev/ttyUSB0 [IMAGE=] [PRESET=] [WEIGHTS=file] [BAUD=] [LOAD=1] [WATCH=1] [BYTES=1 with WATCH of an iCEBreaker or UPduino]
	@$(PYTHON) -m boards.host $(call option,PORT,port) $(call option,IMAGE,image) $(call option,PRESET,preset) $(call option,WEIGHTS,weights) $(call option,BAUD,baud) $(if $(LOAD),--load) $(if $(WATCH),--watch) $(if $(BYTES),--bytes)

test: .venv/.stamp  ## all tests, on all cores: [ARGS=pytest options]
	@$(PYTHON) -m pytest --numprocesses auto --dist loadfile $(ARGS)

lint: .venv/.stamp  ## ruff
	@$(PYTHON) -m ruff check .

clean:  ## removes build/
	@rm -rf build

.venv/.stamp: pyproject.toml
	@python3 sim/environment.py
