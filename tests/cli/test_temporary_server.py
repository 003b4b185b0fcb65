"""The database of the temporary Prefect server: empty tables are laid where none are, and nothing is overwritten."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cli.temporary_server import TABLES, api_answers, lay_tables
from sft.errors import SftError
from tests.support.prefect_server import EMPTY_FLOW, Server


def url(place: Path) -> str:
    return f"sqlite+aiosqlite:///{place}"


def test_the_environment_brings_prefects_empty_tables(tmp_path: Path) -> None:
    place = tmp_path / "new home" / "prefect.db"
    lay_tables(url(place))
    with closing(sqlite3.connect(place)) as database:
        assert database.execute("select count(*) from flow_run").fetchone() == (0,)
        assert database.execute("select count(*) from alembic_version").fetchone() == (1,)
    assert os.listdir(place.parent) == ["prefect.db"], "something was left behind"
    assert os.access(TABLES, os.R_OK)


def test_an_existing_database_stays_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "prefect.db"
    place.write_bytes(b"runs of the last years")
    lay_tables(url(place))
    assert place.read_bytes() == b"runs of the last years"


@pytest.mark.parametrize(
    "elsewhere",
    ["postgresql+asyncpg://user@host/db", "sqlite+aiosqlite:///file::memory:?cache=shared&uri=true&check_same=false"],
)
def test_other_databases_are_left_to_prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: str) -> None:
    monkeypatch.chdir(tmp_path)
    lay_tables(elsewhere)
    assert os.listdir(tmp_path) == []


def test_without_tables_the_server_makes_them_itself(tmp_path: Path) -> None:
    lay_tables(url(tmp_path / "home" / "prefect.db"), tmp_path / "none.db")
    assert os.listdir(tmp_path) == []


def test_a_database_that_cannot_be_made_is_said_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**os.environ, "PREFECT_API_DATABASE_CONNECTION_URL": url(tmp_path / "file" / "prefect.db")}
    command = [sys.executable, "-W", "ignore", "-m", "cli.temporary_server", "1"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert "Prefect's database cannot be made: " in process.stderr
    assert "is there already. Next: " in process.stderr
    assert "Traceback" not in process.stderr


def test_a_real_server_offers_all_blocks_after_a_temporary_one(home: Path) -> None:
    """The temporary server writes no kinds of blocks down, and must not note that it has: notifications need them."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    environment |= {"HTTP_PROXY": "http://127.0.0.1:9"}  # one that is down, and is not asked for what lies here
    subprocess.run([sys.executable, "-c", EMPTY_FLOW], env=environment, check=True, timeout=120)
    with Server(home) as server:
        server.wait()
        assert server.ask("POST", "/flow_runs/count") == 1
        with pytest.raises(SftError, match=r"not at this address\. Next: .* ends in /api"):
            api_answers(server.root)
        api_answers(f"{server.root}/api")
        offered = {kind["slug"] for kind in server.ask("POST", "/block_types/filter")}
    assert {"slack-webhook", "ms-teams-webhook", "secret"} <= offered
