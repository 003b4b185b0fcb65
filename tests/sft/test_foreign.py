"""What people's machines do to a program, as one message with a next step: the real exceptions, really raised."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from compute import reach
from sft.errors import InputError, SftError, TransientError, to_wire, without_secrets
from sft.foreign import as_ours
from sft.models import hub

SIGNED = "https://me:pa55word@127.0.0.1:9/pages/a.png?X-Amz-Signature=c0ffee&x=1#part"


def no_temporary_folder() -> object:
    """What :mod:`tempfile` raises where TMPDIR and /tmp take nothing."""
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/var/tmp']")


def full_disk() -> object:
    with open("/dev/full", "w") as file:
        file.write("x")
        file.flush()
    return None


def nobody_at_the_socket() -> object:
    return socket.create_connection(("127.0.0.1", 9))


def nobody_there() -> object:
    return httpx.get("http://127.0.0.1:9")


def socks_without_its_package() -> object:
    return httpx.Client(proxy="socks5://me:pa55word@127.0.0.1:9")


FAULTS: tuple[tuple[Callable[[Path], object], type[SftError], str], ...] = (
    (lambda folder: (folder / "none").read_bytes(), InputError, "no such file"),
    (lambda folder: (folder / "file" / "x").write_bytes(b""), InputError, "a part of the path is a file"),
    (lambda folder: (folder / "file").mkdir(), InputError, "is there already"),
    (lambda folder: folder.read_bytes(), InputError, "it is a folder"),
    (lambda folder: (folder / ("x" * 300)).read_bytes(), InputError, "too long"),
    (lambda folder: (folder / "loop").read_bytes(), InputError, "circle"),
    (lambda folder: no_temporary_folder(), InputError, "No usable temporary directory found in"),
    (lambda folder: full_disk(), SftError, "the disk is full"),
    (lambda folder: (folder / "gbk").read_text("utf-8"), InputError, "not UTF-8"),
    (lambda folder: "…".encode("ascii"), InputError, "cannot be written as ascii"),
    (lambda folder: nobody_at_the_socket(), TransientError, "connection failed"),
    (lambda folder: nobody_there(), TransientError, "connection failed"),
    (lambda folder: socks_without_its_package(), SftError, "needs a package"),
)


@pytest.mark.parametrize(("body", "kind", "said"), FAULTS)
def test_each_fault_is_one_message_with_a_next_step(
    tmp_path: Path, body: Callable[[Path], object], kind: type[SftError], said: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gbk").write_bytes("发票 合计".encode("gbk"))
    with pytest.raises(Exception) as caught:  # noqa: PT011 (each its own)
        body(tmp_path)
    told = as_ours(caught.value)
    assert type(told) is kind, caught.value
    assert told is not None
    assert said in told.message
    assert told.remedy
    assert "pa55word" not in str(told)
    assert "\n" not in str(told)


def test_what_nobody_foresaw_stays_a_fault_of_the_program() -> None:
    assert as_ours(ZeroDivisionError()) is None
    assert as_ours(ImportError("no module named paddle")) is None


def test_no_error_shows_what_is_secret_in_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    error = SftError(
        f"{SIGNED}: gone", where=SIGNED, value="s3://key:pa55word@pa55word@bucket/x?y", remedy="use hf_planted"
    )
    for text in (str(error), repr(error.args), str(to_wire(RuntimeError(SIGNED)))):
        assert not [secret for secret in ("pa55word", "c0ffee", "hf_planted", "me:") if secret in text]
    assert error.where == "https://127.0.0.1:9/pages/a.png?…"
    assert without_secrets(error.where) == error.where
    plain = "http://127.0.0.1:4200/runs, a@b.c and train.jsonl:7?"
    assert without_secrets(plain) == plain


@pytest.mark.parametrize("reaching", [lambda: hub.translated("a/b", "main"), lambda: reach.translated("volume models")])
def test_a_full_disk_is_not_taken_for_a_server_that_is_away(
    reaching: Callable[[], AbstractContextManager[None]],
) -> None:
    with pytest.raises(SftError, match="the disk is full") as caught, reaching():
        full_disk()
    assert not isinstance(caught.value, TransientError)
    with pytest.raises(TransientError, match="cannot be reached"), reaching():
        nobody_at_the_socket()
