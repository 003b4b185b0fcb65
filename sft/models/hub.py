"""A model from the Hugging Face Hub: a pinned snapshot, each file checked against the hash that the Hub names."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sft.errors import InputError, IntegrityError, TransientError
from sft.foreign import as_ours
from sft.store import records

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, HfApi, ModelInfo

Kind = Literal["model", "dataset"]
NAMED: dict[Kind, str] = {"model": "base_model.repo", "dataset": "dataset.train"}  # where the user names it

TOKEN = "modal secret create huggingface HF_TOKEN=hf_xxx --force (on one machine: export HF_TOKEN=hf_xxx)"


def fetch_snapshot(
    repo: str,
    revision: str,
    folder: Path,
    only: list[str] | None = None,
    say: Callable[[str], None] = print,
    kind: Kind = "model",
) -> str:
    """Fetch the files of ``repo`` at ``revision`` into ``folder``; returns the commit (40 hex digits).

    Files that have arrived whole before are not fetched again. The token is read from HF_TOKEN by the library; one that
    the Hub does not know is left out, because the Hub refuses it even for public models (huggingface_hub #2847).

    Args:
        only: names of files, where not all are wanted.
    Raises:
        InputError: no such repository or revision, or it is gated and the token is missing or not allowed.
        IntegrityError: a file does not have the hash that the Hub names; it is removed.
        TransientError: the Hub cannot be reached, or cut the connection.
    """
    from huggingface_hub import HfApi, snapshot_download

    with translated(repo, revision, kind):
        info, token = _asked(HfApi(), repo, revision, say, kind)
        commit = str(info.sha)
        snapshot_download(repo, revision=commit, local_dir=folder, allow_patterns=only, token=token, repo_type=kind)
    for file in info.siblings or []:
        if only is not None and file.rfilename not in only:
            continue
        path = folder / file.rfilename
        expected = file.lfs.sha256 if file.lfs else file.blob_id
        found = records.hash_file(path) if file.lfs else git_blob_hash(path)
        if expected and found != expected:
            path.unlink()
            raise IntegrityError(
                "a downloaded file does not have the hash that the Hub names",
                where=f"{repo}/{file.rfilename}",
                value=found,
                remedy="run again: that file is fetched anew",
            )
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the library's notes on what it has fetched
    return commit


def commit_of(repo: str, revision: str, kind: Kind, say: Callable[[str], None] = print) -> str:
    """The commit (40 hex digits) that a branch, tag or commit is now.

    Raises:
        InputError, TransientError: as :func:`fetch_snapshot`.
    """
    from huggingface_hub import HfApi

    with translated(repo, revision, kind):
        return str(_asked(HfApi(), repo, revision, say, kind)[0].sha)


def _asked(
    api: HfApi, repo: str, revision: str, say: Callable[[str], None], kind: Kind = "model"
) -> tuple[ModelInfo | DatasetInfo, bool | None]:
    """What the Hub knows of the repository, and the token to go on with: None is the library's own, False none."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _info(api, repo, revision, kind, None), None
    except (HfHubHTTPError, UnicodeEncodeError) as error:  # a character that no header can hold is no token either
        if not refuses_token(error):
            raise
    say("the Hub does not know the token in HF_TOKEN; going on without it, as public models allow")
    try:
        return _info(api, repo, revision, kind, False), False
    except HfHubHTTPError as error:
        if error.response is None or error.response.status_code != 401:
            raise
        remedy = (
            f"correct {NAMED[kind]}; for a private or gated {kind}, make a token on the Hub's settings page: {TOKEN}"
        )
        raise InputError(
            f"the Hub does not know the token, and shows no such {kind} without one",
            where=f"{repo}@{revision}",
            remedy=remedy,
        ) from error


def _info(api: HfApi, repo: str, revision: str, kind: Kind, token: bool | None) -> ModelInfo | DatasetInfo:
    if kind == "dataset":
        return api.dataset_info(repo, revision=revision, files_metadata=True, token=token)
    return api.model_info(repo, revision=revision, files_metadata=True, token=token)


def refuses_token(error: Exception) -> bool:
    """Is it the token itself that the Hub does not know? A known one that may not read a model is another matter."""
    response = getattr(error, "response", None)
    if response is None:
        return isinstance(error, UnicodeEncodeError)
    return response.status_code == 401 and "Invalid credentials" in response.headers.get("X-Error-Message", "")


def git_blob_hash(path: Path) -> str:
    """The sha1 by which git names a file's content: sha1("blob SIZE\\\\0" + content)."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def translated(repo: str, revision: str, kind: Kind = "model") -> Iterator[None]:
    """The library's exceptions as ours: gated, not allowed, not found and unreachable are told apart."""
    import httpx
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{repo}@{revision}"
    try:
        yield
    except GatedRepoError as error:
        remedy = f"accept its conditions on the {kind}'s page, then {TOKEN}"
        raise InputError(f"the {kind} is gated and the token may not read it", where=where, remedy=remedy) from error
    except RevisionNotFoundError as error:
        named = "base_model.revision" if kind == "model" else NAMED[kind]
        remedy = f"correct {named}: a commit, tag or branch of the {kind}'s page"
        raise InputError(f"the {kind} has no such revision", where=where, remedy=remedy) from error
    except RepositoryNotFoundError as error:
        remedy = f"correct {NAMED[kind]}; if the {kind} is private, {TOKEN}"
        raise InputError(f"no such {kind}, or the token may not see it", where=where, remedy=remedy) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise InputError("the Hub refuses the token", where=where, value=str(status), remedy=TOKEN) from error
        raise TransientError(f"the Hub answers {status}", where=where, remedy="try again later") from error
    except UnicodeEncodeError as error:
        raise InputError("HF_TOKEN has a character that no token has", where=where, remedy=TOKEN) from error
    except (LocalEntryNotFoundError, httpx.TransportError, OSError) as error:
        told = as_ours(error)
        if not isinstance(error, LocalEntryNotFoundError) and told and not isinstance(told, TransientError):
            raise told from error  # the disk, not the Hub
        remedy = "check the connection, or HF_ENDPOINT; what has arrived is kept"
        raise TransientError(f"the Hub cannot be reached: {error}", where=where, remedy=remedy) from error
