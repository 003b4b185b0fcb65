"""``sft track``: send to the trackers what they lack, or all that is known of one training."""

from __future__ import annotations

from collections.abc import Callable

from compute.select import compute_for
from runs.outbox import flush, keep
from runs.tracked import entry_of, gathered, settled
from sft.config import RunConfig
from sft.errors import InputError, SftError

Say = Callable[[str], None]


def check_trackers(config: RunConfig) -> None:
    """Is there any to send to?

    Raises:
        InputError: no.
    """
    if not config.track.targets:
        remedy = "--set track.mlflow=http://HOST:5000, track.wandb=ENTITY/PROJECT or track.swanlab=WORKSPACE/PROJECT"
        raise InputError("no tracker is named", where="track", remedy=remedy)


def send_waiting(config: RunConfig, identity: str, say: Say) -> None:
    """Send what waits; with ``identity`` first keep all that is known of that training, also if it was sent before.

    Raises:
        InputError: there is no such training.
        SftError: a tracker has not taken it.
    """
    compute = compute_for(config)
    if identity:
        entry = entry_of(config, compute, identity)
        if entry is None:
            raise InputError("no training of that identity", value=identity, remedy="sft status lists them")
        entry = settled(compute, entry)
        keep(config, compute, gathered(config, compute, entry, own=entry.profile == config.profile), again=True)
    said: list[str] = []
    missed = flush(config, compute, said.append)
    for text in said or (["nothing waits: the trackers have everything"] if not missed else []):
        say(text)
    if len(missed) == 1:
        raise missed[0]
    if missed:
        raise SftError("trackers have not taken everything:\n" + "\n".join(f"  - {error}" for error in missed) + "\n")
