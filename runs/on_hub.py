"""Is a repository on the Hugging Face Hub? Asked before anything is started, for at most a second and a half.

Only what the Hub says for certain refuses a run; no answer, or one that leaves it open, refuses none. The status and
``X-Error-Code`` are read as ``hf_raise_for_status`` of huggingface_hub does: a repository that does not exist and one
that is private both answer 401 to who has no token, 404 to who has one.
"""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from urllib.parse import quote

from compute.base import Compute
from runs.fetched import known_base_model
from runs.named_models import download_of, folder_of
from sft.config import RunConfig
from sft.errors import ComputeError, InputError, TransientError, check_all
from sft.jobs.download_model import DownloadModelArgs
from sft.models.hub import TOKEN
from sft.plan import download_args

PATIENCE = 1.5  # seconds
ENDPOINT = "https://huggingface.co"


def ask(path: str, token: str = "") -> tuple[int, str, str]:
    """(status, X-Error-Code, X-Error-Message) of the Hub's answer to a GET; status 0: none came in time."""
    url = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/") + path
    found: list[tuple[int, str, str]] = []

    def get() -> None:
        try:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            request = urllib.request.Request(url, headers=headers)
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                found.append((answer.status, "", ""))
        except urllib.error.HTTPError as error:
            with error:
                said = (error.headers.get(name) or "" for name in ("X-Error-Code", "X-Error-Message"))
                found.append((error.code, *said))  # type: ignore[arg-type]
        except (OSError, ValueError):  # no connection, a token with a character that no header can hold, an odd address
            pass

    asking = threading.Thread(target=get, daemon=True)  # a look-up of a name has no bound of its own
    asking.start()
    asking.join(PATIENCE)
    return found[0] if found else (0, "", "")


def check_base_model(config: RunConfig, compute: Compute) -> None:
    """Raises InputError if the Hub has no such base model, and it is not on the volume either.

    Where Modal cannot be asked what is there, the steps that need it say so, and try again.
    """
    with suppress(ComputeError, TransientError):
        _check(download_args(config), compute, where="base_model.repo")


def check_named(config: RunConfig, compute: Compute, models: Sequence[str]) -> None:
    """Raises InputError if the Hub lacks models that would be fetched from there: all at once."""
    asked = [download_of(config, model) for model in models if folder_of(model) is None]
    check_all(*(partial(_check, each, compute, where="MODEL") for each in asked if each is not None))


def _check(asked: DownloadModelArgs, compute: Compute, where: str) -> None:
    if asked.source != "hub" or known_base_model(compute, asked.folder) is not None:
        return
    token, alone = _token_there(compute)
    status, code, message = ask(f"/api/models/{asked.repo}/revision/{quote(asked.revision, safe='')}", token)
    if code == "RevisionNotFound":
        remedy = "use a commit, tag or branch of the model's page"
        raise InputError(
            "the model has no such revision", where=where, value=f"{asked.repo}@{asked.revision}", remedy=remedy
        )
    missing = code == "RepoNotFound" or (status == 401 and code != "GatedRepo" and "Invalid credentials" not in message)
    if missing and alone:
        remedy = f"correct the name; if the model is private, {TOKEN}"
        raise InputError(
            "the Hub has no such model, or shows it to no stranger", where=where, value=asked.repo, remedy=remedy
        )


def _token_there(compute: Compute) -> tuple[str, bool]:
    """(the token to ask with, is it what the download will have?). At Modal that is in a secret that none can read."""
    if compute.name != "modal":
        return os.environ.get("HF_TOKEN", ""), True
    from compute.modal import known_secret  # the client takes a while to import
    from compute.reach import translated
    from modal_infra.names import SECRET

    with translated("secret huggingface"):
        return "", known_secret(SECRET) is None


def check_may_publish(token: str) -> None:
    """Raises InputError if nothing can be uploaded with a token, because there is none or the Hub does not know it."""
    if not token:
        remedy = "make one that may write on the Hub's settings page, then export HF_TOKEN=hf_xxx"
        raise InputError("there is no token for the Hub", where="HF_TOKEN", remedy=remedy)
    if ask("/api/whoami-v2", token)[0] == 401:
        remedy = "make one that may write on the Hub's settings page, then export HF_TOKEN=hf_xxx"
        raise InputError("the Hub does not know the token", where="HF_TOKEN", remedy=remedy)
