# `make` lists what there is to make. Everything is installed into .venv; nothing else is touched, but that `make test`,
# run as root, installs Chromium, sshd and rsync from the system's packages.

VENV ?= .venv
BIN := $(VENV)/bin
# Which Python makes .venv; found by trying when it is not given.
PYTHON ?=
# Tests that run at once: one more than there are cores, for some of them wait; four at most, for each takes 2 GB.
TESTS_AT_ONCE ?= $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN || echo 1); echo $$((n < 4 ? n + 1 : 4)))

.DEFAULT_GOAL := help
.PHONY: help demo test check docs format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-cpu ## Install railcar and train on the embedded sample of MNIST
	@echo "Training: railcar train"
	@$(BIN)/railcar train

test: $(VENV)/.installed-dev ## Install what the tests need and run them
	@$(BIN)/python -m compileall -q src/railcar # the tests start railcar a thousand times, and CI may forbid writing it
	@sh scripts/install_test_packages.sh
	@$(BIN)/python scripts/fetch_axe.py $(VENV)/axe || echo "The test of the page for screen readers will fail." >&2
	$(BIN)/python -m pytest -n $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: $(VENV)/.installed-dev ## Style, types, layering and documentation: what CI runs before the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/python docs/generate_reference.py --check
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict

docs: $(VENV)/.installed-dev ## Write the reference and build the documentation into site/
	$(BIN)/python docs/generate_reference.py
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict

format: $(VENV)/.installed-dev ## Put the code in order as `make check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove .venv and all that was built; runs/ stays
	rm -rf $(VENV) site build dist .pytest_cache .ruff_cache .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@python=$$(sh scripts/find_python.sh $(PYTHON)) || exit 1; \
	echo "Making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed-cpu: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing railcar and TensorFlow into $(VENV) (about 0.4 GB to fetch; one to three minutes) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --progress-bar off -c constraints.txt -e ".[cpu]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-cpu
	@echo "Installing the tools for tests and checks into $(VENV) (about a minute) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --progress-bar off -c constraints.txt -e ".[cpu,buckets,dev]"
	@touch $@
