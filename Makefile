# The verbs of this repository; each installs and builds what it lacks. `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules --no-print-directory

# BUILD is release, debug, asan, tsan or coverage: which variant of the C core is built and loaded.
# Who names none gets release, and tests of what only a debug build can do.
TEST_BUILDS := $(or $(BUILD),$(PYMC_BUILD),release debug)
BUILD ?= $(or $(PYMC_BUILD),release)
export PYMC_BUILD := $(BUILD)
ARGS ?=
PY := .venv/bin/python
C_FILES := $(wildcard csrc/LAYERS csrc/LIBRARIES csrc/*.py pymc/config/*.py $(foreach room,csrc/* csrc/*/*,$(room)/*.[ch] $(room)/*.def))
C_FORMATTED := $(wildcard csrc/*.c csrc/*/*.[ch] csrc/*/*/*.[ch] tests/fuzz/*.[ch] bench/*/*.[ch])
# A folder's time changes when a file is added or removed.
C_ROOMS := $(wildcard csrc/*/. csrc/*/*/.)
CORE := build/$(BUILD)/ready
PY_FILES := $(wildcard pymc/*.py pymc/*/*.py)
BYTECODE := build/bytecode
# Beside .venv/bin/pymc, which pip writes as well.
LAUNCHER := build/launcher/ready
NEWEST := var/peers/memcached-newest/memcached

##   make run [ARGS="-p 11300 -t 4"]   start a server: 127.0.0.1:11211, 1 GiB, and 1 GiB in var/flash
.PHONY: run
run: $(CORE) $(BYTECODE) $(LAUNCHER)
	@mkdir -p var
	@exec .venv/bin/pymc -u "$$(id -un)" -m 1024 \
	    $(if $(filter -l% --listen% -s% --unix-socket%,$(ARGS)),,-l 127.0.0.1) \
	    $(if $(findstring ext_path,$(ARGS)),,-o ext_path=var/flash:1g) -o announce $(ARGS)

##   make build [BUILD=debug]          set up .venv and build the C core in place
.PHONY: build
build: $(CORE) $(BYTECODE) $(LAUNCHER)

##   make test [SUITE="unit model"]    run the tests on release and debug (BUILD=, SEED=, LONG=1,
##                                     ARGS= for pytest; PYMC_TEST_SLOWNESS=3 on a slow machine)
SUITES := tidy unit model conformance crash fuzz e2e
SUITE ?= $(SUITES)
.PHONY: test
test: $(CORE) $(BYTECODE) $(LAUNCHER) .venv/ready-dev build/system-test $(NEWEST)
	$(if $(word 2,$(TEST_BUILDS)),@$(MAKE) -s build BUILD=debug)
	@BUILD="$(TEST_BUILDS)" MARKS="$(if $(LONG),,not long)" scripts/setup_test_run.sh $(SUITE) -- \
	    $(if $(SEED),--hypothesis-seed=$(SEED)) $(ARGS)

# The contracts of pyproject.toml name these rooms.
ALL_ROOMS := $(and $(wildcard pymc/core/ffi.py),$(wildcard pymc/policy/*),$(wildcard pymc/supervisor*))
##   make check                        format, lint, types, layers, C warnings, house rules
.PHONY: check
check: .venv/ready-dev build/system-check
	@.venv/bin/ruff format --check -q . || { echo "run make format"; exit 1; }
	@.venv/bin/ruff check -q .
	@.venv/bin/clang-format --dry-run -Werror $(C_FORMATTED) || { echo "run make format"; exit 1; }
	@$(PY) csrc/build_core.py --stub
	@.venv/bin/mypy $(wildcard setup.py) $(wildcard csrc/*.py pymc scripts tests bench)
	@$(PY) scripts/check_layers.py
	@$(PY) scripts/check_circles.py
	@$(PY) scripts/check_counters.py
	@$(PY) scripts/check_settings.py
	@$(if $(ALL_ROOMS),.venv/bin/lint-imports --no-logo >build/imports 2>&1 || { cat build/imports; exit 1; })
	@$(PY) csrc/build_core.py --syntax-only
	@$(PY) csrc/build_launcher.py --syntax-only
	@$(PY) scripts/check_tidy.py
	@echo "check: all is well"

##   make format                       rewrite Python and C in the layout that make check wants
.PHONY: format
format: .venv/ready-dev
	@.venv/bin/ruff format -q .
	@.venv/bin/ruff check -q --fix .
	@.venv/bin/clang-format -i $(C_FORMATTED)

##   make wheel                        build dist/: the source distribution and a wheel from it
.PHONY: wheel
wheel: .venv/ready-dev
	@$(PY) -m build --outdir dist .

##   make check-wheel                  build them elsewhere, install the wheel and talk to its server
.PHONY: check-wheel
check-wheel: .venv/ready-dev
	@$(PY) scripts/check_wheel.py

##   make bench [ARGS="..."]           measure beside memcached and print the ratios
.PHONY: bench
bench: $(CORE) $(BYTECODE) $(LAUNCHER) .venv/ready-dev build/system-bench $(NEWEST)
	@exec $(PY) bench/run.py $(ARGS)

##   make bench-memory [ARGS="..."]    what is held while memory moves, beside memcached
.PHONY: bench-memory
bench-memory: $(CORE) $(LAUNCHER) .venv/ready-dev $(NEWEST)
	@exec $(PY) bench/memory.py $(ARGS)

##   make fuzz TARGET=text SECONDS=60  fuzz one of tests/fuzz/fuzz_*.c with clang
TARGET ?= text
SECONDS ?= 60
.PHONY: fuzz
fuzz: .venv/ready-runtime build/system-fuzz
	@program=$$($(PY) csrc/build_core.py --fuzz $(TARGET)) && mkdir -p build/fuzz/corpus/$(TARGET) && \
	    exec "$$program" -max_total_time=$(SECONDS) -artifact_prefix=build/fuzz/ \
	    build/fuzz/corpus/$(TARGET) $(wildcard tests/fuzz/corpus/$(TARGET))

##   make mutate ROOM=store            which small changes of a room its tests do not notice (SEED=1,
##                                     SECONDS=600; ARGS="--verbose --file evict --kind dropped")
ROOM ?= store
.PHONY: mutate
mutate: .venv/ready-dev build/system-build
	@exec $(PY) -m scripts.mutate $(ROOM) $(if $(SEED),--seed $(SEED)) \
	    $(if $(filter file,$(origin SECONDS)),,--seconds $(SECONDS)) $(ARGS)

##   make map                          one line per file: what it is for
.PHONY: map
map: .venv/ready-runtime
	@$(PY) scripts/check_tidy.py --map

##   make clean                        remove what was built; .venv stays
.PHONY: clean
clean:
	@rm -rf build dist pymc/core/*.so pymc/core/_core.pyi *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find csrc pymc scripts tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

##   make help                         print this list
.PHONY: help
help:
	@sed -n 's/^## *//p' Makefile

$(CORE): $(C_FILES) $(C_ROOMS) .venv/ready-runtime build/system-build
	@mkdir -p $(@D) && touch $@.started
	@$(PY) csrc/build_core.py
	@mv $@.started $@

# Where the environment forbids Python to write bytecode, as it often does in containers, each start
# would compile all of pymc.
$(BYTECODE): $(PY_FILES) .venv/ready-runtime
	@mkdir -p $(@D)
	@$(PY) -m compileall -q pymc
	@touch $@

# Made again with another Python. After pip, scripts/setup_venv.sh makes it too.
$(LAUNCHER): csrc/launcher.c csrc/build_launcher.py $(realpath $(PY)) .venv/ready-runtime build/system-build
	@mkdir -p $(@D) && touch $@.started
	@$(PY) csrc/build_launcher.py
	@mv $@.started $@

.venv/ready-%: pyproject.toml | build/system-build
	@scripts/setup_venv.sh $*

# Tests and benchmarks do without it where there is no Debian mirror.
$(NEWEST):
	@$(PY) scripts/peers.py newest >/dev/null || echo "comparisons with the newest memcached are left out"

build/system-%: scripts/setup_system.sh csrc/LIBRARIES
	@mkdir -p build
	@scripts/setup_system.sh $* >$@.$$$$ && mv $@.$$$$ $@
