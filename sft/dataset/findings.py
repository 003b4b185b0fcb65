"""What the validator found: facts of each file, breaches with their places, and whether they stop a training."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from sft.dataset import rows
from sft.dataset.coverage import Costs, rates
from sft.dataset.facts import Facts, spread
from sft.dataset.packing import Amount
from sft.dataset.rules import RULES
from sft.errors import DatasetError


@dataclass
class Finding:
    """One breach: ``where`` is file:line."""

    rule: str
    where: str
    value: str


@dataclass
class SplitStats(Facts):
    """Facts of one file. ``scripts``: what each costs, (characters, tokens) of the rows that were looked at."""

    path: str = ""
    format: rows.Format = "erniekit"
    fingerprint: str = ""
    scripts: Costs = field(default_factory=dict)

    @property
    def amount(self) -> Amount:
        """What a training on the file would be."""
        return Amount(self.rows, self.tokens)

    def summary(self) -> dict[str, Any]:
        """The facts as plain data; each Counter of numbers as its smallest, median and largest value."""
        plain = ("path", "format", "rows", "images", "odd", "bytes", "text_tokens", "image_tokens", "fingerprint")
        spreads = {key: spread(getattr(self, key)) for key in ("lengths", "widths", "heights", "tokens")}
        return {
            **{key: getattr(self, key) for key in plain},
            "tasks": dict(self.tasks),
            **spreads,
            "scripts": rates(self.scripts),
        }


@dataclass
class Report:
    """The result for two or three files. ``counts`` has every breach, ``shown`` the first ones of each rule.

    ``severe`` are the rules whose breaches are errors.
    """

    train: SplitStats
    held_out: SplitStats
    dev: SplitStats | None = None
    mix: dict[str, SplitStats] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    shown: list[Finding] = field(default_factory=list)
    severe: set[str] = field(default_factory=lambda: {rule.id for rule in RULES.values() if rule.error})

    @property
    def errors(self) -> int:
        """Breaches of rules that are errors."""
        return sum(count for rule, count in self.counts.items() if rule in self.severe)

    @property
    def fingerprint(self) -> str:
        """Identity of the dataset: the content of every row and image of all files, in order.

        An empty text where a file's images were not read: such a report identifies nothing.
        """
        if not all(split.fingerprint for split in self.splits if split.rows):
            return ""
        return hashlib.sha256("".join(split.fingerprint for split in self.splits).encode()).hexdigest()

    @property
    def splits(self) -> tuple[SplitStats, ...]:
        """The sets: train, held-out, dev where there is one, and what is mixed in."""
        return tuple(self.named.values())

    @property
    def named(self) -> dict[str, SplitStats]:
        """The same by name, as people read it."""
        found = {"train": self.train, "held-out": self.held_out}
        found |= {} if self.dev is None else {"dev": self.dev}
        return found | {f"mix {name}": stats for name, stats in self.mix.items()}

    def kind(self, rule: str) -> str:
        """``error`` or ``warning``."""
        return "error" if rule in self.severe else "warning"

    def ordered(self) -> list[tuple[str, int]]:
        """(rule, count), errors first, then the most frequent."""
        return sorted(self.counts.items(), key=lambda item: (item[0] not in self.severe, -item[1]))

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        splits = {"train": self.train.summary(), "held_out": self.held_out.summary()}
        splits |= {"dev": self.dev.summary()} if self.dev is not None else {}
        more = {"mix": {name: stats.summary() for name, stats in self.mix.items()}} if self.mix else {}
        shown = [{**asdict(finding), "kind": self.kind(finding.rule)} for finding in self.shown]
        return {**splits, **more, "fingerprint": self.fingerprint, "counts": dict(self.counts), "shown": shown}

    def as_record(self) -> dict[str, Any]:
        """The same for the record of a stored dataset, with what a training's steps follow from."""
        return {**self.as_dict(), "train_tokens": self.train.amount.as_pairs()}

    def lines(self) -> list[str]:
        """The findings as text: for each rule its count, what it says, the first places and the remedy."""
        text = []
        for rule, count in self.ordered():
            text.append(f"{self.kind(rule)} {rule} ({count} ×): the rule is that {RULES[rule].says}")
            text += [f"    {f.where}: found {f.value}" for f in self.shown if f.rule == rule]
            text.append(f"    next: {RULES[rule].remedy}")
        return text

    def check(self) -> None:
        """Raises DatasetError with all findings if one of them is an error."""
        if self.errors:
            raise DatasetError(
                f"{self.errors} error{'s' if self.errors > 1 else ''} in the dataset, so that nothing is trained:\n"
                + "\n".join(self.lines())
                + "\n",
                remedy="correct the rows named above; sft validate PATH checks a file by itself",
            )
