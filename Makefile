# make run    set up, then launch the quick study on MNIST: six heads, some minutes
# make test   set up, then lint, check types and test
# make ends   every way to end a study, at each of its stages, in half an hour; make test tries one of each kind
# make fuzz   thousands of broken files of every kind; make test tries some of each
.PHONY: run test ends fuzz lint style types bench showcase lock clean

PYTHON ?= python3
PROCESSES ?= 3
BIN := .venv/bin
READY := .venv/.ready
export PYTHONDONTWRITEBYTECODE :=  # where that is set, every process compiles the program anew

run: $(READY)
	$(BIN)/orchestrator launch quick --next-name

test: style  # types are checked beside the tests, and what is wrong with them is said after these
	@mkdir -p build
	@$(BIN)/mypy >build/types.txt 2>&1 & types=$$!; \
	$(BIN)/pytest --numprocesses $(PROCESSES) --no-loadscope-reorder; tests=$$?; \
	wait $$types; types=$$?; cat build/types.txt; exit $$((tests | types))

ends: $(READY)
	$(BIN)/python -m tests.ends --at-once 2

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz

lint: style types

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache

types: $(READY)
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

showcase: $(READY)  # README's first picture and its tables, from the published studies and benchmarks
	$(BIN)/python -m tests.benchmarks.showcase
	test ! -f results/benchmarks.json || $(BIN)/python -m tests.benchmarks.published

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lock:  # exact versions of everything, from the ranges in pyproject.toml
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet torch==2.13.0
	build/lock/bin/python -m pip install --quiet --editable '.[dev]'
	{ echo '# exact versions of everything, made by: make lock'; \
	  build/lock/bin/python -m pip freeze --exclude-editable | sed 's/^\(torch==[0-9.]*\)+.*/\1/'; } > requirements.lock

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
