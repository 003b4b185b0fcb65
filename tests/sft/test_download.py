"""Downloads from a real server that cuts connections, lies, refuses, and serves something else."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from sft import download
from sft.context import Context
from sft.errors import InputError, IntegrityError, TransientError
from sft.jobs.download_wheel import DownloadWheelArgs, download_wheel
from sft.store.volumes import Volumes
from tests.support.web_server import Site, serving

CONTENT = os.urandom(3_000_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
NAME = "/w.whl"
BOUND = 10_000_000


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download, "WAIT", wait_none())
    with serving() as site:
        site.files[NAME] = CONTENT
        yield site


@pytest.fixture
def context(tmp_path: Path) -> Context:
    volumes = Volumes.below(tmp_path / "volumes")
    volumes.make()
    return Context(volumes, "call")


def args(site: Site, **changes: object) -> DownloadWheelArgs:
    return DownloadWheelArgs.model_validate({"path": "wheels/w.whl", "url": site.url + NAME, **changes})


def wheel(context: Context) -> Path:
    return context.volumes.models / "wheels" / "w.whl"


def test_a_cut_connection_is_resumed_where_it_was_cut(site: Site, context: Context) -> None:
    site.cut_after = [1_000_000, 500_000, 0, 700_000]
    record = download_wheel(args(site, size=len(CONTENT), sha256=SHA), context)
    assert (record["sha256"], record["fetched"]) == (SHA, True)
    assert wheel(context).read_bytes() == CONTENT
    assert site.sent == len(CONTENT), "no byte was sent twice"


def test_a_killed_download_goes_on_from_the_partial_file(site: Site, context: Context) -> None:
    part = wheel(context).with_name("w.whl.part")
    part.parent.mkdir()
    part.write_bytes(CONTENT[:2_000_000])
    download_wheel(args(site, sha256=SHA), context)
    assert site.sent == 1_000_000


def test_what_is_there_is_not_asked_for_again(site: Site, context: Context) -> None:
    download_wheel(args(site), context)
    site.requests.clear()
    assert download_wheel(args(site), context)["fetched"] is False
    assert not site.requests


def test_a_server_that_does_not_resume_sends_all_again(site: Site, context: Context) -> None:
    site.ranges_work, site.cut_after = False, [1_000_000]
    download_wheel(args(site, sha256=SHA), context)
    assert wheel(context).read_bytes() == CONTENT


NEW = os.urandom(2_500_000)


@pytest.mark.parametrize("heeds", [True, False], ids=["heeds If-Range", "ignores If-Range"])
@pytest.mark.parametrize(
    "validators", [{"etag"}, {"date"}, {"weak"}, {"weak", "date"}, set()], ids=["etag", "date", "weak", "both", "none"]
)
def test_two_halves_of_two_files_are_never_joined(
    site: Site, context: Context, validators: set[str], heeds: bool
) -> None:
    """The file behind the address changes between the cut and the resume, and no hash is known."""
    site.validators, site.heeds_if_range = validators, heeds
    site.cut_after, site.changes = [1_000_000], [(NAME, NEW)]
    record = download_wheel(args(site), context)
    assert wheel(context).read_bytes() == NEW
    assert record["sha256"] == hashlib.sha256(NEW).hexdigest()
    assert sorted(os.listdir(wheel(context).parent)) == ["w.whl", "w.whl.json"], "nothing is left beside it"


def test_a_file_that_has_shrunk_below_the_part_starts_anew(site: Site, context: Context) -> None:
    site.cut_after, site.changes = [2_000_000], [(NAME, NEW[:1_000_000])]
    site.heeds_if_range = False  # a server that answers 416
    download_wheel(args(site), context)
    assert wheel(context).read_bytes() == NEW[:1_000_000]


def test_a_part_of_another_address_is_not_gone_on_from(site: Site, context: Context) -> None:
    site.files["/v2/w.whl"] = NEW
    site.cut_after = [1_000_000] + [0] * 2 * download.ATTEMPTS
    with pytest.raises(TransientError):
        download_wheel(args(site), context)
    site.cut_after = []
    download_wheel(args(site, url=f"{site.url}/v2/w.whl"), context)
    assert wheel(context).read_bytes() == NEW


def test_a_part_whose_server_names_no_version_is_gone_on_from_where_the_hash_is_known(
    site: Site, context: Context
) -> None:
    site.validators, site.cut_after = set(), [1_000_000]
    download_wheel(args(site, sha256=SHA), context)
    assert site.sent == len(CONTENT), "no byte was sent twice"


def test_commits_that_take_longer_than_a_second_do_not_hold_the_download_up(site: Site, context: Context) -> None:
    """A commit for each chunk would take this download over three minutes, and a wheel half a day."""
    site.files[NAME] = os.urandom(20_000_000)
    commits = []

    def slow() -> None:
        commits.append(time.monotonic())
        time.sleep(1.2)

    began = time.monotonic()
    site.seconds_per_megabyte = 0.1
    download_wheel(args(site), replace(context, commit=slow))
    assert time.monotonic() - began < 12
    assert len(commits) <= 2, "one on the way, and one at the end"


def test_answers_that_ask_for_patience_are_tried_again(site: Site, context: Context) -> None:
    site.refuse = [503, 503, 429, 500]
    download_wheel(args(site, sha256=SHA), context)
    assert wheel(context).read_bytes() == CONTENT


def test_a_server_that_stays_away_is_a_transient_error(site: Site, context: Context) -> None:
    site.refuse = [503] * 100
    with pytest.raises(TransientError, match="503"):
        download_wheel(args(site), context)
    assert len(site.refuse) == 100 - download.ATTEMPTS


def test_a_length_that_lies_never_becomes_a_wheel(site: Site, context: Context) -> None:
    site.extra_length = 1000
    with pytest.raises((TransientError, IntegrityError)):
        download_wheel(args(site, size=len(CONTENT) + 1000), context)
    assert not wheel(context).exists()
    assert not wheel(context).with_name("w.whl.json").exists()


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 5}])
def test_a_corrupt_file_is_refused_and_leaves_nothing(site: Site, context: Context, wrong: dict[str, object]) -> None:
    with pytest.raises(IntegrityError, match="not the expected one"):
        download_wheel(args(site, **wrong), context)
    assert os.listdir(context.volumes.models / "wheels") == []


def test_a_hash_recorded_once_is_checked_from_then_on(site: Site, context: Context) -> None:
    download_wheel(args(site), context)
    wheel(context).unlink()  # lost, while its record is there
    site.files[NAME] = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])  # another one for certain
    with pytest.raises(IntegrityError, match="not the expected one"):
        download_wheel(args(site), context)


def test_a_record_without_its_whole_file_is_no_wheel(site: Site, context: Context) -> None:
    download_wheel(args(site), context)
    wheel(context).write_bytes(b"torn")
    with pytest.raises(IntegrityError, match="modal volume rm"):
        download_wheel(args(site), context)
    place = wheel(context).with_name("w.whl.json")
    place.write_text(json.dumps({})[:-1])  # a torn record
    assert download_wheel(args(site, sha256=SHA), context)["fetched"] is True


def test_a_missing_file_says_what_to_check(site: Site, context: Context) -> None:
    with pytest.raises(InputError, match="404"):
        download_wheel(args(site, url=f"{site.url}/none.whl"), context)
    assert site.requests["/none.whl"] == 1, "asking again does not help"


def test_downloads_are_bounded(site: Site, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="larger than allowed"):
        download.download(site.url + NAME, tmp_path / "w", max_bytes=1_000_000)


def test_a_redirect_from_outside_into_a_private_network_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = site.url.replace("127.0.0.1", "localhost")
    site.redirects["/away"] = inside + NAME
    download.download(f"{site.url}/away", tmp_path / "ok", max_bytes=BOUND)  # the user named a private host: allowed
    really = download.is_private
    monkeypatch.setattr(download, "is_private", lambda url: really(url) and "127.0.0.1" not in url)
    with pytest.raises(InputError, match="private network"):
        download.download(f"{site.url}/away", tmp_path / "w", max_bytes=BOUND)
    assert not (tmp_path / "w").exists()


def test_a_name_that_leads_elsewhere_when_connected_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the look-up says a public number, the connection goes to this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    public = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 0))]
    really = socket.getaddrinfo
    looked_up = [False]

    def look_up(host: str, port: Any, *rest: Any, **options: Any) -> Any:
        if port is None:  # our own look; the connection asks with a port
            looked_up[0] = True
            return public
        return really(host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(InputError, match="led into a private network"):
        download.download(site.url + NAME, tmp_path / "w", max_bytes=BOUND, trusted=False)
    assert looked_up[0]
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1/x", True),
        ("http://[::1]/x", True),
        ("http://10.1.2.3/x", True),
        ("http://169.254.169.254/latest", True),
        ("http://localhost/x", True),
        ("http://8.8.8.8/x", False),
    ],
)
def test_private_addresses_are_known(url: str, private: bool) -> None:
    assert download.is_private(url) is private


def test_an_endless_redirect_ends(site: Site, tmp_path: Path) -> None:
    site.redirects["/a"] = "/a"
    with pytest.raises(InputError, match="too many redirects"):
        download.download(f"{site.url}/a", tmp_path / "w", max_bytes=BOUND)
