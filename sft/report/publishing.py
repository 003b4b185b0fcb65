"""A tuned model on the Hugging Face Hub: private unless asked otherwise, with a model card made from its records."""

from __future__ import annotations

from pathlib import Path

from sft.errors import InputError, IntegrityError, TransientError
from sft.families import Family
from sft.models.hub import translated
from sft.report import render
from sft.store import records
from sft.store.contents import Evaluation, Training

CARD = "README.md"
# What a trainer leaves beside a model and nobody needs who serves it.
LEFT_OUT = ("all_results.json", "train_results.json", "trainer_state.json", ".synced.json", "*.bin", "*.pdparams")


def model_card(training: Training, evaluation: Evaluation, *, base_repo: str, family: Family, licence: str) -> str:
    """The card as Markdown with the Hub's metadata block.

    Args:
        base_repo: the base model's repository on the Hub (owner/name).
        family: of the base model.
        licence: identifier of a licence, as the Hub knows it: apache-2.0, …
    """
    facts = {
        "training": training,
        "evaluation": evaluation,
        "base_repo": base_repo,
        "family": family,
        "licence": licence,
    }
    return render("model_card.md.jinja", escape=False, **facts)


def publish(folder: Path, files: records.Manifest, repo: str, card: str, *, public: bool, message: str) -> str:
    """Upload a model's folder to ``repo`` and return its address. What the Hub has already is not sent again.

    Args:
        files: the model's manifest: what is sent is what was evaluated.
    Raises:
        IntegrityError: the folder is not what the manifest says.
        InputError: the token is missing or may not write there.
        TransientError: the Hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    if broken := records.broken_files(folder, files):
        raise IntegrityError("the model is damaged", where=str(folder), value="; ".join(broken[:3]), remedy="sft run")
    if "/" not in repo:
        raise InputError("a repository has an owner and a name", value=repo, remedy="use owner/name")
    sent = [name for name in files if not any(Path(name).match(pattern) for pattern in LEFT_OUT)]
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in sent]
    operations.append(CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=card.encode()))
    with translated(repo, "main"):
        api = HfApi()
        address = str(api.create_repo(repo, private=not public, exist_ok=True))
        try:
            api.create_commit(repo, operations, commit_message=message)
        except RuntimeError as error:  # what the client raises where a file's upload fails
            remedy = "run it again: files that have arrived are not sent again"
            raise TransientError(
                f"the upload was cut: {error.__cause__ or error}", where=repo, remedy=remedy
            ) from error
    return address
