# `make` lists the targets. PYTHON makes .venv: Python 3.11 or newer, with venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all beam-test dose-test peers peers-test tpu-test lint format lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(STAMP)  ## translate a drawn patient, train, evaluate, compare
	$(RUN) -m synthct_jax.demo

test: lint  ## lint, and the fast tests
	$(RUN) -m pytest -m "not slow" --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test-all: lint  ## lint, and all tests
	$(RUN) -m pytest

beam-test: .venv-beam/installed $(STAMP)  ## preparation by Apache Beam, also on a Dask cluster
	.venv-beam/bin/python -m pytest -W "ignore:label() is deprecated:DeprecationWarning" \
	  tests/input_pipeline/beam_test.py tests/input_pipeline/shards_test.py

dose-test: .venv-dose/installed  ## check dose calculation by pyRadPlan, and gamma against pymedphys
	.venv-dose/bin/python -m pytest tests/dose/engine_test.py tests/dose/mode_test.py

peers: .venv-peers/installed  ## time a training step beside PyTorch's; see docs/speed.md
	.venv-peers/bin/python -m tests.peers step --size=256

peers-test: .venv-peers/installed  ## check that PyTorch's step computes the same as ours
	.venv-peers/bin/python -m pytest tests/peers/peers_test.py

tpu-test: .venv-tpu/installed  ## compile the step for TPUs, without a TPU
	.venv-tpu/bin/python -m pytest tests/performance/plan_test.py -k tpus

lint: $(STAMP)  ## ruff: rules and formatting
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(STAMP)  ## rewrite the sources in ruff's format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:  ## remove the environment and caches, never data or runs
	rm -rf $(VENV) .venv-beam .venv-dose .venv-peers .venv-tpu .venv-lock *.egg-info .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an interrupted installation is taken up again.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "error: PYTHON=$(PYTHON) is missing or older than 3.11; try: make PYTHON=python3.11" \
	  >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo \
	  "error: $(PYTHON) cannot make environments; on Debian: apt install python3-venv" \
	  >&2; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --require-hashes -r requirements.lock
	$(RUN) -m pip install --no-deps --no-build-isolation -e .
	@touch $@

# Beam holds protobuf at 6, so it cannot be in the ordinary environment. TFDS calls what
# protobuf 6 deprecates.
.venv-beam/installed: requirements-beam.lock pyproject.toml
	test -x .venv-beam/bin/python || $(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install --require-hashes -r requirements-beam.lock
	.venv-beam/bin/python -m pip install --no-deps --no-build-isolation -e .
	@touch $@

# Not locked: numpy and pydantic are older than those of the lock. pymedphys has another
# gamma to compare ours with.
.venv-dose/installed: requirements.lock pyproject.toml
	test -x .venv-dose/bin/python || $(PYTHON) -m venv .venv-dose
	.venv-dose/bin/python -m pip install --require-hashes -r requirements.lock
	.venv-dose/bin/python -m pip install --no-build-isolation -e '.[dose]' \
	  pymedphys==0.41.0
	@touch $@

# Not locked: which build of torch is wanted, for CPUs or CUDA, the user's index decides.
.venv-peers/installed: requirements.lock pyproject.toml
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --require-hashes -r requirements.lock
	.venv-peers/bin/python -m pip install --no-build-isolation -e '.[peers]'
	@touch $@

# libtpu reads XLA_FLAGS, which are a CPU's in the ordinary environment.
.venv-tpu/installed: requirements.lock pyproject.toml
	test -x .venv-tpu/bin/python || $(PYTHON) -m venv .venv-tpu
	.venv-tpu/bin/python -m pip install --require-hashes -r requirements.lock
	.venv-tpu/bin/python -m pip install --no-build-isolation -e '.[tpu]'
	@touch $@

# Resolved on the oldest Python that is supported, against PyPI alone: the hashes of
# wheels built on one machine are of no use on another. `UPGRADE=--upgrade` moves every
# pin, `UPGRADE='--upgrade-package jax'` one; without it pins stay where they can.
lock:  ## resolve pyproject.toml into requirements.lock (needs Python 3.11)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo \
	  "error: the lock is made with Python 3.11: make lock PYTHON=python3.11" \
	  >&2; exit 1; }
	test -x .venv-lock/bin/pip-compile || { $(PYTHON) -m venv .venv-lock \
	  && .venv-lock/bin/python -m pip install pip-tools==7.6.2; }
	$(call RESOLVE,requirements.lock,--extra dev)
	cp requirements.lock requirements-beam.lock  # pins stay where Beam allows it
	$(call RESOLVE,requirements-beam.lock,--extra dev --extra beam)

define RESOLVE
env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null \
  CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/pip-compile --quiet \
  $(2) --strip-extras --generate-hashes --unsafe-package synthct-jax \
  --no-emit-index-url --no-emit-find-links $(UPGRADE) \
  --output-file $(1) pyproject.toml
printf '%s\n' \
  '# Everything that development and tests on a CPU need, on Linux x86-64 with Python' \
  '# 3.11; pip-tools resolves for one platform. On 2026-11 no package asked for more' \
  '# on Python 3.12 to 3.14, macOS or Linux arm64. Accelerators: README.md.' \
  | cat - $(1) | sed -e '/^# WARNING: .* not pinned/,$$d' -e '/^$$/d' \
  > $(1).new  # the warning is about this package itself
mv $(1).new $(1)
endef
