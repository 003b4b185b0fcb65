# Two commands do all the set-up on a machine with Python 3.11 and make: `make demo` and `make test`.
.PHONY: docs demo test images torch trackers tracking-server chaos lint format bench bench-quick lock browser
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTHON312 ?= $(shell for p in python3.12 $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python); do $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && echo $$p && break; done)
ROOMS := sft compute runs tasks flows cli modal_infra scripts benchmarks tests
export PREFECT_SERVER_ANALYTICS_ENABLED = false
# Each step of a run is a process; without bytecode that is kept each of them compiles Paddle anew (5 s against 2 s).
# So what is used is imported once; compiling all that is installed took longer than the installation.
unexport PYTHONDONTWRITEBYTECODE

# One thread in each test: a second one trains a quarter faster, and takes another's processor. One test more at a time
# than there are processors: a fifth of the time all of them wait, for a server's answer or the end of a grace.
QUIET := OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
AT_ONCE = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

demo: .venv/ready
	.venv/bin/sft run smoke

test: .venv/ready .venv312/ready lint
	$(QUIET) .venv/bin/python -m pytest -n $(AT_ONCE) --dist worksteal

# The environments of Modal's images, built here from the same steps with the CPU wheel of Paddle, and proved: imports,
# pip check, trainings of four steps. Downloads 2 GB at first; make images NAMES=erniekit builds one of them, and
# NAMES=transformers the one that is built only when it is named (3 GB: torch for CUDA).
NAMES ?=
images: .venv/ready
	@test -n "$(PYTHON312)" || { echo "Python 3.12 is needed: install it, or run make images PYTHON312=/path/to/python3.12"; exit 2; }
	.venv/bin/python -m modal_infra.replay --python "$(PYTHON312)" $(NAMES)

# transformers and torch, in an environment of their own: the engine transformers trains in it, and the second reader of a
# saved model reads. Without it that engine says so, the check of an export says that transformers has not looked, and
# the tests of both are skipped. pip finds a CPU build of torch where pip's own settings offer one; PyPI's is a build for
# CUDA (4 GB), for this machine's GPU; it runs on the CPU as well.
torch: .venv-torch/ready

.venv-torch/ready: .venv/ready sft/environments/second_reader/torch.txt sft/environments/second_reader/transformers.txt
	$(PYTHON) -m venv --clear .venv-torch
	.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	    -r sft/environments/second_reader/torch.txt -r sft/environments/second_reader/transformers.txt
	.venv-torch/bin/python -W ignore -c "import peft, transformers.trainer, \
	    transformers.models.paddleocr_vl.modeling_paddleocr_vl"
	touch $@

# The clients of MLflow, Weights & Biases and SwanLab, in an environment of their own (track.* of a profile; docs/tracking.md).
trackers: .venv-trackers/ready

# MLflow's server, which the tests start; without it, and without the clients, those tests are skipped.
tracking-server: .venv-mlflow/ready

.venv-trackers/ready: sft/environments/trackers/trackers.txt
.venv-mlflow/ready: sft/environments/trackers/server.txt
.venv-trackers/ready .venv-mlflow/ready: .venv/ready
	$(PYTHON) -m venv --clear $(@D)
	.venv/bin/uv pip install --quiet --python $(@D)/bin/python -r $(filter %.txt,$^)
	touch $@

# Chromium, for the test that looks at Prefect's UI; without it that part is skipped. On Debian and Ubuntu, as root.
browser:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

bench: .venv/ready
	.venv/bin/python -m benchmarks --json bench.json

# Under three minutes on 2 cores: smaller sizes, nothing that trains
bench-quick: .venv/ready
	.venv/bin/python -m benchmarks --quick --json bench.json

# Runs that are killed, cancelled and torn at random; make chaos N=200 SEED=1
N ?= 20
SEED ?= 1
chaos: .venv/ready
	.venv/bin/python -m tests.chaos --rounds $(N) --seed $(SEED)

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy $(ROOMS)

# docs/configuration.md and docs/commands.md, from the configuration's fields and the commands' help
docs: .venv/ready
	.venv/bin/python -m cli.reference

format: .venv/ready
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

# The versions that are installed, for Python 3.11 here and 3.12 in the images, on Linux; no registry's address is written
# down, and no paddlepaddle in the images' locks: there the GPU wheel takes its place.
COMPILE := .venv/bin/uv pip compile --quiet --no-emit-index-url --no-annotate --no-header
lock: .venv/ready
	$(COMPILE) pyproject.toml --all-extras --python-version 3.11 --output-file requirements.lock
	for lock in $(filter-out sft/environments/domain,$(basename $(wildcard sft/environments/*.in))); do \
	    $(COMPILE) $$lock.in --python-version 3.12 --no-emit-package paddlepaddle --output-file $$lock.txt || exit 1; done
	$(COMPILE) requirements-312.in --python-version 3.12 --output-file requirements-312.txt
	$(COMPILE) sft/environments/second_reader/transformers.in --python-version 3.11 \
	    --output-file sft/environments/second_reader/transformers.txt
	for lock in trackers server; do \
	    $(COMPILE) sft/environments/trackers/$$lock.in --python-version 3.11 \
	    --output-file sft/environments/trackers/$$lock.txt || exit 1; done
	$(COMPILE) sft/environments/vllm/vllm.in --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
	    --output-file sft/environments/vllm/vllm.txt

# uv installs the locked versions in a fraction of pip's time; pip itself brings uv. Prefect's tables are made once.
.venv/ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: install it, or run make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	.venv/bin/uv pip install --quiet --python .venv/bin/python -r requirements.lock
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps -e .
	mkdir -p .venv/share/prefect
	.venv/bin/python -W ignore -c "import cli.main, cli.run, compute.modal, flows.fine_tune, prefect.server.api.server"
	.venv/bin/python -W ignore -c "from sft.environments.cpu_launcher import stub_triton; stub_triton(); \
	    import paddleformers.cli.train.sft.workflow" >/dev/null 2>&1
	PREFECT_API_DATABASE_CONNECTION_URL=sqlite+aiosqlite:///$(CURDIR)/.venv/share/prefect/empty.db \
	    .venv/bin/prefect server database upgrade -y >/dev/null
	touch $@

# Python 3.12 runs sft/ and modal_infra/ in Modal's images. Where this machine has none, its tests are skipped and say so.
.venv312/ready: .venv/ready requirements-312.txt
	mkdir -p .venv312
	test -z "$(PYTHON312)" || { .venv/bin/uv venv --quiet --clear --python "$(PYTHON312)" .venv312 && \
	    .venv/bin/uv pip install --quiet --python .venv312/bin/python -r requirements-312.txt; }
	touch $@
