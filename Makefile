PYTHON ?= python3
BIN = .venv/bin

.PHONY: digits test bench notebooks docs clean

# Train the digit classifier, draw its figures and compare it with Keras's recorded results.
digits: .venv/core
	$(BIN)/fastmlp digits

# Run the tests, one process a core: most of their time goes into compiling kernels.
test: .venv/test
	$(BIN)/python -m pytest -n auto --dist loadfile

# Measure the speed beside other libraries, half an hour; PyTorch and Keras's other backends take part where they are
# installed: .venv/bin/pip install '.[peers]'
bench: .venv/bench
	$(BIN)/python -m benchmarks

# Run the notebooks and store their outputs in them.
notebooks: .venv/notebooks
	$(BIN)/python examples/notebooks/run.py

# Build the documentation into site/; open site/index.html, or: .venv/bin/mkdocs serve
docs: .venv/docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist site *.egg-info

.venv/core: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/test .venv/bench .venv/notebooks .venv/docs: .venv/%: .venv/core
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@
