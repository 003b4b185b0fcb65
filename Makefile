.PHONY: test
test: .venv/ready
	.venv/bin/python -m pytest
.venv/ready: pyproject.toml
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet -e '.[dev]'
	touch $@
