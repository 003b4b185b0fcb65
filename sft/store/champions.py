"""The champion of each line of runs: a pointer on the outputs volume, swapped atomically, with its whole history.

champions/NAME/champion.json          the pointer: a copy of the newest promotion
champions/NAME/history/0001.json      every promotion and rollback, in order; never changed
champions/NAME/decisions/KEY.json     every decision of the gate, promoted or not
champions/NAME/asked/KEY.json         what a person is or was asked (promote.mode: ask); its decision has the same KEY
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sft.errors import IntegrityError
from sft.store import records

FOLDER = "champions"
POINTER = "champion.json"


class Champion(BaseModel):
    """Who was put in service, when and by whom; ``over`` is the training that it was promoted over, or empty.

    ``who`` and ``reason`` are those of the person who was asked (``promote.mode: ask``) or did it by hand.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    number: int
    name: str
    identity: str
    model_identity: str
    over: str = ""
    by: Literal["gate", "hand", "rollback"]
    since: float  # Unix time in seconds
    evaluation: str = ""  # folder on the outputs volume
    fence: int = 0  # of the lease that it was written under (see sft.store.lease)
    who: str = ""
    reason: str = ""


def known(said: object, where: str) -> Champion | None:
    """The champion that a file says; None where there is none.

    Raises:
        IntegrityError: it says something else. Taken for none, a worse model could go into service.
    """
    if not isinstance(said, dict):
        return None
    try:
        return Champion.model_validate(said)
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, entry["loc"])) for entry in error.errors())
        remedy = "put the newest of history/ beside it in its place; or remove it: then sft promote names the champion"
        raise IntegrityError("the champion's file cannot be read", where=where, value=keys, remedy=remedy) from None


def place(name: str) -> str:
    """The folder of the line ``name``, relative to the outputs volume."""
    return f"{FOLDER}/{name}"


def pointer(name: str) -> str:
    """The pointer's path, relative to the outputs volume."""
    return f"{place(name)}/{POINTER}"


def lines(outputs: Path) -> list[Path]:
    """The folders of all lines on the outputs volume."""
    folder = outputs / FOLDER
    return sorted(folder.iterdir()) if folder.is_dir() else []


def read(folder: Path) -> Champion | None:
    """The champion by the pointer in ``folder``, or None."""
    return known(records.read_json(folder / POINTER), str(folder / POINTER))


def history(folder: Path) -> list[Champion]:
    """Every promotion, the oldest first."""
    found = (known(records.read_json(path), str(path)) for path in sorted((folder / "history").glob("*.json")))
    return [champion for champion in found if champion is not None]


def swap(
    folder: Path,
    *,
    name: str,
    identity: str,
    model_identity: str,
    by: Literal["gate", "hand", "rollback"],
    over: str,
    evaluation: str = "",
    fence: int = 0,
    who: str = "",
    reason: str = "",
) -> Champion:
    """Put a training in service; the caller holds the folder's lease. A crash before the pointer changes nothing."""
    now = read(folder)
    champion = Champion(
        number=now.number + 1 if now else 1,  # an entry that a crash left behind without its pointer is overwritten
        name=name,
        identity=identity,
        model_identity=model_identity,
        over=over,
        by=by,
        since=time.time(),
        evaluation=evaluation,
        fence=fence,
        who=who,
        reason=reason,
    )
    records.write_json(folder / "history" / f"{champion.number:04d}.json", champion.model_dump())
    records.write_json(folder / POINTER, champion.model_dump())
    return champion


def before(folder: Path) -> Champion | None:
    """What a rollback returns to: whoever was in service before the present champion was promoted.

    Rolled back promotions do not count, so that two rollbacks in a row go two champions back.
    """
    now = read(folder)
    stack: list[Champion] = []
    for champion in history(folder):
        if now is None or champion.number > now.number:  # a crash came between history and pointer
            break
        if champion.by == "rollback":
            stack.pop()
        else:
            stack.append(champion)
    return stack[-2] if len(stack) > 1 else None
