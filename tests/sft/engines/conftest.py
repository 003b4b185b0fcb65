"""What the tests of real trainings share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compute.local import LocalCompute
from tests.compute.test_local import TINY, wait
from tests.support import looks


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCompute]:
    """A state folder with the tiny base model."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("SFT_HOME", str(home / "state"))
        compute = LocalCompute(home / "state")
        wait(compute, compute.start("download_model", TINY))
        with looks.lent(compute.volumes.outputs):
            yield compute
