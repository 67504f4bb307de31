# Every command makes the environment once, in .venv, and uses it again.
# Another interpreter: make test PYTHON=python3.12
# A machine without a GPU can save some gigabytes: set PIP_EXTRA_INDEX_URL to PyTorch's index of
# CPU wheels in the shell before the first command.

PYTHON ?= python3
# Threads that sleep while they wait: see text_recognizer/threads.py.
export OMP_WAIT_POLICY ?= passive
export KMP_BLOCKTIME ?= 0
VENV := .venv
PY := $(VENV)/bin/python
# What `make run` and `make lab` need, and what the tests need besides.
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-for-tests
EXTRAS := deploy,heic,lab,pdf,profile,service,teach
TEST_EXTRAS := $(EXTRAS),ray,test
# A file's tests share what they set up. Of several threads in each process, most would wait.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Importing all the other files would take longer than some of these tests.
ALONE = $(shell grep -l 'mark\.alone' tests/test_*.py)

.DEFAULT_GOAL := help
.PHONY: help run test test-all lab clean FORCE

help: ## list the commands
	@sed -n 's/^\([a-z-]*\): [^#]*## /make \1#/p' Makefile | awk -F'#' '{printf "%-15s%s\n", $$1, $$2}'

run: $(STAMP) ## hand a model over from training to the web app, on 127.0.0.1
	@exec $(PY) -m lab_utils.cli run --app

# AOTInductor in notebook 01 would compile C++ for a minute: the nightly tests do, so here it says
# that there is no compiler.
test: $(TEST_STAMP) ## check style, run the tests and every solution notebook
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	OMP_NUM_THREADS=1 $(PY) -m pytest $(SIDE_BY_SIDE) -m 'not alone and not nightly'
	$(PY) -m pytest -m 'alone and not nightly' $(ALONE)
	CXX=none $(PY) -m pytest -n auto --maxprocesses 2 --dist loadfile --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 300 notebooks/solutions

test-all: test ## run `make test`, then the tests that take minutes
	OMP_NUM_THREADS=1 $(PY) -m pytest $(SIDE_BY_SIDE) -m 'nightly and not alone'
	$(PY) -m pytest -m 'nightly and alone' $(ALONE)

# Jupyter keeps its settings and caches below .lab: the home folder stays as it is.
lab test test-all: export JUPYTER_CONFIG_DIR = $(CURDIR)/.lab/jupyter/config
lab test test-all: export JUPYTER_DATA_DIR = $(CURDIR)/.lab/jupyter/data
lab test test-all: export JUPYTER_RUNTIME_DIR = $(CURDIR)/.lab/jupyter/runtime
lab test test-all: export IPYTHONDIR = $(CURDIR)/.lab/ipython
lab: export JUPYTERLAB_SETTINGS_DIR = $(CURDIR)/.lab/jupyter/settings
lab: export JUPYTERLAB_WORKSPACES_DIR = $(CURDIR)/.lab/jupyter/workspaces
lab: export npm_config_cache = $(CURDIR)/.lab/npm
# Students work on copies in my_notebooks/, which git ignores; a copy that is there stays as it is.
# Root, as in a container, has to be allowed; the server listens only on this machine, and does not
# look for updates.
lab: $(STAMP) ## open JupyterLab at your copy of the first notebook, on 127.0.0.1
	@mkdir -p my_notebooks
	@for notebook in $(sort $(wildcard notebooks/*.ipynb)); do \
		test -e "my_notebooks/$${notebook##*/}" || cp "$$notebook" my_notebooks/; done
	@$(PY) -m jupyterlab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir="$$(pwd -P)" \
		--LabApp.default_url=/lab/tree/my_$(firstword $(sort $(wildcard notebooks/*.ipynb))) \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
		$(if $(filter 0,$(shell id -u)),--allow-root)

clean: ## remove the environment and all that the lab wrote (.venv, .lab)
	rm -rf $(VENV) .lab build dist *.egg-info
	find text_recognizer lab_utils lab_tracker lab_authoring tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The stamp is written last and names the folder. A set-up that was cut short, moved, made with
# another Python than the one asked for, or whose Python is gone, is made again.
USABLE = test "$$(cat $(STAMP) 2>/dev/null)" = "$$(pwd -P)" && $(PY) -c '$(SAME_PYTHON)' 2>/dev/null
ifeq ($(origin PYTHON),file)
SAME_PYTHON := pass
else
SAME_PYTHON = import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(shell $(PYTHON) -c \
	'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)")
endif
ifneq ($(shell $(USABLE) && echo yes),yes)
$(STAMP): FORCE
endif

ifndef HOLDS_LOCK
# One set-up at a time: a second `make` waits for the first, looks again, and finds all there.
LOCK = import fcntl, os, sys; os.makedirs(".lab", exist_ok=True); lock = os.open(".lab/setup.lock", os.O_CREAT | os.O_WRONLY); \
	fcntl.flock(lock, fcntl.LOCK_EX); os.set_inheritable(lock, True); \
	os.execvp(sys.argv[1], sys.argv[1:])
$(STAMP) $(TEST_STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
		echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13: install one, or name it: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make environments: install its venv package (Debian: apt-get install python3-venv)" >&2; \
		exit 1; }
	@$(PYTHON) -c '$(LOCK)' $(MAKE) --no-print-directory HOLDS_LOCK=yes $@
$(TEST_STAMP): $(STAMP)
else
$(STAMP): pyproject.toml constraints.txt
	@{ $(USABLE); } || rm -rf $(VENV)
	@rm -f $(STAMP)
	@test -x $(PY) || { echo "Setting up $(VENV) (once, some minutes)"; $(PYTHON) -m venv $(VENV); }
	$(PY) -m pip install --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(PY) -m pip check
	@pwd -P > $(STAMP)

$(TEST_STAMP): $(STAMP)
	$(PY) -m pip install --constraint constraints.txt --editable '.[$(TEST_EXTRAS)]'
	$(PY) -m pip check
	@touch $(TEST_STAMP)
endif
