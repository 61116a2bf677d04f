# Two commands do everything: `make demo` and `make test`. Each makes a virtual environment of its own.
PYTHON ?= python3
PIP := -m pip --disable-pip-version-check
BUILD_INPUTS := pyproject.toml CMakeLists.txt $(shell find csrc pyad_edge export -type f ! -name '*.pyc')

.PHONY: demo test clean

demo: .venv-demo/installed
	.venv-demo/bin/pyad-edge demo --out demo-out

test: .venv-test/installed
	.venv-test/bin/python -m pytest

# The product as a user installs it: no torch.
.venv-demo/installed: $(BUILD_INPUTS)
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python $(PIP) install --quiet .
	touch $@

# Editable, so that the tests see the source tree. Native sources need a new build, and so do Python files that
# come or go (which changes their folder): the installation holds a list of them.
.venv-test/installed: pyproject.toml CMakeLists.txt $(shell find csrc -type f) \
		$(shell find pyad_edge export -type d ! -name __pycache__)
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/python $(PIP) install --quiet --editable '.[train,dev]'
	touch $@

clean:
	rm -rf .venv-demo .venv-test demo-out build
