# make demo   set up, write a sample shot, remove the figure from it, say how to go on in the browser
# make quick  check style and types, run the tests that need no process of their own, in under two minutes
# make soak   kill processes and fail the disk at random for MINUTES (20), and compare what comes of the jobs
# make fuzz   read damaged messages and files of all kinds for some minutes
# make test   set up everything, check style and types, run all tests; EXTRAS=dev,gemini,local,studio,web,train also those of the VOID engine and its training

PYTHON ?= python3
EXTRAS ?= dev,gemini,local,studio,web
# processes that run the tests: one more than two cores, as a quarter of the time is waiting
JOBS ?= 3
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: demo quick test check soak fuzz blender clean

USABLE = import sys, venv; sys.exit(sys.version_info < (3, 10))
BPY = bpy==5.0.1
# what is imported is compiled then; the many other modules of the packages need not be
PIP = -m pip --disable-pip-version-check install --quiet --no-compile -c constraints.txt

demo: .venv-demo/ready
	@[ -d demo/sample ] || .venv-demo/bin/void sample demo/sample
	@.venv-demo/bin/void remove demo/sample/plate demo/sample/roto -o demo/result
	@echo "now in the browser, with a shot of yours: .venv-demo/bin/void serve --web 127.0.0.1:8090"

test: check blender
	@VOID_BLENDER="$${VOID_BLENDER:-$$(ls $$PWD/.venv-blender/bin/python 2>/dev/null || true)}" \
	  OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

quick: check
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow"

MINUTES ?= 20
soak: .venv/ready-$(EXTRAS)
	@VOID_SOAK_SECONDS=$$((60 * $(MINUTES))) OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -s tests/test_soak.py

fuzz: .venv/ready-$(EXTRAS)
	@VOID_FUZZ_EXAMPLES=3000 OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q tests/test_fuzz.py

check: .venv/ready-$(EXTRAS)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

.venv-demo/ready: pyproject.toml constraints.txt
	$(call make-venv,.venv-demo,.[web])

.venv/ready-$(EXTRAS): pyproject.toml constraints.txt
	$(call make-venv,.venv,.[$(EXTRAS)])

# what the tests render pairs with: Blender as a module, which needs Python 3.11, an older NumPy than ours, and of the
# system libX11, libXrender, libXfixes, libXi and libxkbcommon
blender:
	@if [ -n "$${VOID_BLENDER:-}" ]; then :; \
	elif $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then $(MAKE) --no-print-directory .venv-blender/ready; \
	else echo "bpy needs Python 3.11, so the tests render pairs only where VOID_BLENDER names a Blender"; fi

.venv-blender/ready:
	@echo "setting up .venv-blender"
	@$(PYTHON) -m venv .venv-blender
	@.venv-blender/bin/python -m pip --disable-pip-version-check install --quiet --no-compile $(BPY)
	@touch $@

define make-venv
	@$(PYTHON) -c '$(USABLE)' 2>/dev/null || \
	  { echo "Python 3.10 or newer with venv is needed (Debian: apt install python3-venv); or name one: make PYTHON=..."; exit 1; }
	@echo "setting up $(1)"
	@$(PYTHON) -m venv $(1) || { echo "python3-venv is missing (Debian: apt install python3-venv)"; rm -rf $(1); exit 1; }
	@$(1)/bin/python $(PIP) -e '$(2)'
	@touch $@
endef

clean:
	rm -rf .venv .venv-demo .venv-nuke .venv-blender demo build *.egg-info
