"""The image's pins are the versions under which the domain's tests run with Python 3.10."""

from pathlib import Path

from modal_infra.image import DOMAIN, NUMPY

ROOT = Path(__file__).parents[2]


def test_the_image_has_the_versions_that_are_tested_under_python_310() -> None:
    tested = (ROOT / "requirements-310.txt").read_text().split()
    assert set(DOMAIN) | {NUMPY} <= set(tested)


def test_the_orchestrator_and_the_image_agree_on_what_crosses_between_them() -> None:
    lock = (ROOT / "requirements.lock").read_text().split()
    for name in ("pydantic", "msgspec", "huggingface-hub", "safetensors"):
        assert [line for line in lock if line.startswith(f"{name}==")] == [
            d for d in DOMAIN if d.startswith(f"{name}==")
        ]
