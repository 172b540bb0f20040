# `make` lists the targets. Everything but `image` needs Python 3.10+ alone; the rest is installed
# into .venv, once, by the first target that needs it.
PYTHON ?= python3
DEVICE ?= auto
VERSION ?=
WEIGHTS ?=
SPLIT ?= test
PRESET ?=
PY := .venv/bin/python
INSTALLED := .venv/installed

.PHONY: help install serve edge unit test archive train evaluate protocols data benchmark check format lock image clean
.DELETE_ON_ERROR:

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(INSTALLED): requirements-dev.txt requirements-gpu.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is older than Python 3.10" >&2; exit 1; }
	$(PYTHON) scripts/environment.py .venv --requirements requirements-dev.txt --editable --device $(DEVICE)
	@touch $@

install: $(INSTALLED) ## make .venv with everything pinned: [DEVICE=cpu|gpu]

version = $(if $(VERSION),--version $(VERSION))

archive: $(INSTALLED) ## build the archive: [VERSION=2.0] [WEIGHTS=weights.pt]
	$(PY) scripts/archive.py $(version) $(if $(WEIGHTS),--weights '$(WEIGHTS)')

serve: archive ## run the server in the foreground; Ctrl-C stops it
	$(PY) scripts/serve.py $(version)

edge: $(INSTALLED) ## run nginx in front of a running server, with a certificate of its own
	$(PY) scripts/edge.py --self-signed

UNIT := $(PY) -m pytest tests/unit --numprocesses logical --maxprocesses 4 --dist loadfile

unit: $(INSTALLED) ## run the quick tests, which need no server
	$(UNIT)

# By itself, the part with servers is neither slowed down by the measuring of coverage nor kept back
# by what the quick tests leave in memory.
test: $(INSTALLED) ## run the whole test suite; prints how much of handler/ the quick tests run
	$(UNIT) --cov
	$(PY) -m pytest tests/integration tests/e2e

need = $(if $($(1)),,$(error give $(1)=folder))

train: $(INSTALLED) ## train: DATA=folder [VERSION=2.0] [PRESET=original]
	$(call need,DATA)$(PY) scripts/train.py --data '$(DATA)' $(version) $(if $(PRESET),--preset $(PRESET))

evaluate: $(INSTALLED) ## evaluate: DATA=folder [VERSION=2.0] [SPLIT=test] [WEIGHTS=weights.pt]
	$(call need,DATA)$(PY) scripts/evaluate.py --data '$(DATA)' $(version) --split $(SPLIT) $(if $(WEIGHTS),--weights '$(WEIGHTS)')

protocols: $(INSTALLED) ## train the experiments of a report: DATA=folder [VERSION=3.0]
	$(call need,DATA)$(PY) scripts/protocols.py --data '$(DATA)' $(version)

benchmark: $(INSTALLED) ## measure this server next to others; needs wrk: [ARGS='--rounds 3']
	$(PY) scripts/benchmark.py $(ARGS)

data: $(INSTALLED) ## raw downloads to a data set: OUT=folder [KAGGLE=folder] [LIST='list images']
	$(call need,OUT)$(PY) scripts/prepare_data.py --out '$(OUT)' $(if $(KAGGLE),--kaggle '$(KAGGLE)') $(if $(LIST),--list $(LIST))

check: $(INSTALLED) ## style and types, changing nothing
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: $(INSTALLED) ## lay the code out
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

CUDA := ^(cuda|nvidia|triton)

lock: ## pin what pyproject.toml asks for, for every Python it allows (needs uv)
	@mkdir -p build
	uv pip compile -q --universal --python-version 3.10 --no-annotate --no-header --extra serve pyproject.toml -o build/serve.txt
	uv pip compile -q --universal --python-version 3.10 --no-annotate --no-header --extra dev pyproject.toml -c build/serve.txt -o build/dev.txt
	grep -E '$(CUDA)' build/serve.txt > requirements-gpu.txt
	grep -vE '$(CUDA)' build/serve.txt > requirements.txt
	grep -vE '$(CUDA)' build/dev.txt > requirements-dev.txt

image: ## build the container image, run it and ask it, with docker or buildah
	$(PYTHON) scripts/prove_image.py

clean: ## remove everything that was built or installed
	rm -rf .venv .run build
