.PHONY: test lint format
test: .venv/ready lint
	.venv/bin/python -m pytest
lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy sft tests
format: .venv/ready
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .
# uv installs the locked versions in a fraction of pip's time; pip itself brings uv
.venv/ready: requirements.lock pyproject.toml
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet uv==0.13.9
	.venv/bin/uv pip install --quiet --python .venv/bin/python -r requirements.lock
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps -e .
	touch $@
