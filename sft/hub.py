"""A model from the Hugging Face Hub: a pinned snapshot, each file checked against the hash that the Hub names."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sft import records
from sft.errors import InputError, IntegrityError, TransientError

TOKEN = "modal secret create huggingface HF_TOKEN=hf_… (on one machine: export HF_TOKEN=hf_…)"


def fetch_snapshot(repo: str, revision: str, folder: Path, only: list[str] | None = None) -> str:
    """Fetch the files of ``repo`` at ``revision`` into ``folder``; returns the commit (40 hex digits).

    Files that have arrived whole before are not fetched again. The token is read from HF_TOKEN by the library.

    Args:
        only: names of files, where not all are wanted.
    Raises:
        InputError: no such repository or revision, or it is gated and the token is missing or not allowed.
        IntegrityError: a file does not have the hash that the Hub names; it is removed.
        TransientError: the Hub cannot be reached, or cut the connection.
    """
    from huggingface_hub import HfApi, snapshot_download

    with translated(repo, revision):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        commit = str(info.sha)
        snapshot_download(repo, revision=commit, local_dir=folder, allow_patterns=only)
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


def git_blob_hash(path: Path) -> str:
    """The sha1 by which git names a file's content: sha1("blob SIZE\\\\0" + content)."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def translated(repo: str, revision: str) -> Iterator[None]:
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
        remedy = f"accept its conditions on the model's page, then {TOKEN}"
        raise InputError("the model is gated and the token may not read it", where=where, remedy=remedy) from error
    except RevisionNotFoundError as error:
        remedy = "correct base_model.revision: a commit, tag or branch of the model's page"
        raise InputError("the model has no such revision", where=where, remedy=remedy) from error
    except RepositoryNotFoundError as error:
        remedy = f"correct base_model.repo; if the model is private, {TOKEN}"
        raise InputError("no such model, or the token may not see it", where=where, remedy=remedy) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise InputError("the Hub refuses the token", where=where, value=str(status), remedy=TOKEN) from error
        raise TransientError(f"the Hub answers {status}", where=where, remedy="try again later") from error
    except (LocalEntryNotFoundError, httpx.TransportError, OSError) as error:
        remedy = "check the connection, or HF_ENDPOINT; what has arrived is kept"
        raise TransientError(f"the Hub cannot be reached: {error}", where=where, remedy=remedy) from error
