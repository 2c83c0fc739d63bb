# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
HERE := experiments/lr_sweep.yaml

.PHONY: venv demo docs bench check test long lint types browser clean

venv: $(STAMP)

# uv where it is present, else venv and pip; both compile bytecode, without which
# each trial would compile torch and lightning anew on hosts that write none.
$(STAMP): constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON); set PYTHON=..."; exit 1; }
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python -r constraints.txt && \
		uv pip install --quiet --python $(BIN)/python --no-deps -e .; \
	else \
		$(PYTHON) -m venv .venv && \
		$(BIN)/python -m pip install --quiet --no-deps -r constraints.txt && \
		$(BIN)/python -m pip install --quiet --no-deps -e .; \
	fi
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m sweeper run $(HERE)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types
	$(BIN)/python -m pytest -q -m "not slow and not e2e and not long"

# The pages that are made from the code: commands, messages, modules.
docs: $(STAMP)
	$(BIN)/python docs/cli_page.py
	$(BIN)/python -m tests.error_catalogue
	$(BIN)/python -m tests.module_table

# The tests of the report drive a real browser; tests/browser.py finds it.
browser:
	@command -v chromedriver >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver >/dev/null; \
	else \
		echo "make test needs Chromium and its driver: apt-get install chromium chromium-driver"; exit 1; \
	fi

# Two runs side by side, of about the same length: whole sweeps in processes of their
# own, then the tests of vision and of the search; and everything else.
LOG := .tests.log
SECOND := tests/vision tests/vision_callbacks tests/search
QUIET_PYTEST := $(BIN)/python -m pytest -q --durations=20
test: $(STAMP) browser
	@$(QUIET_PYTEST) -m "not e2e and not long" $(SECOND:%=--ignore=%) > $(LOG) 2>&1 & \
	rest=$$!; trap 'kill $$rest 2>/dev/null' INT TERM; \
	$(QUIET_PYTEST) -m "e2e and not long"; e2e=$$?; \
	$(QUIET_PYTEST) -m "not e2e and not long" $(SECOND); second=$$?; \
	wait $$rest; rest=$$?; cat $(LOG); \
	exit $$((rest | e2e | second))

# What takes too long for every change: run before a release.
long: $(STAMP)
	$(BIN)/python -m pytest -q -m long --durations=10

clean:
	rm -rf .venv sweeps data

# Peers that sweeper itself never sees; the tables of docs/performance.md.
bench: $(STAMP)
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip -q
	$(BIN)/python -m pip install --quiet --no-deps --target bench/.peers -r bench/constraints.txt
	$(BIN)/python -m bench
