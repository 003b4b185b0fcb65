"""Rows that a trainer leaves out: read from its output, counted, and too many of them stop the training.

A trainer says that a row is too long, or what it could not read of it, leaves it out and goes on; where all rows are
so, it goes round for ever. It says so again in each pass over the rows, so that the bound is one for each pass.
"""

from __future__ import annotations

import re
from collections import Counter

from sft.dataset.facts import PARTS, Facts
from sft.errors import DatasetError, TrainingFailed
from sft.store import contents

# PaddleFormers 1.2.0, datasets/SFTDataset.py and datasets/reader/file_reader.py: every place that leaves a row out.
PADDLEFORMERS = re.compile(
    r"\[SKIP\] (?P<why>data is deleted by truncation strategy|This data is too long|all labels set to -?\d+"
    r"|The length of encoded assistant tokens is 0|wrong example)"
    r"|(?P<short>This data is too (?:short|long)): '\{"
    r"|Warning: Error processing example(?: in worker)?, skipping\. Error: (?P<error>.*)"
    r"|preprocess data error: (?P<unread>.*?), data: "
)
# ERNIEKit, ernie/dataset/vl_sft_reader/vl_sft_dataset_json.py: whatever a row raises is logged with a traceback, in
# which this frame comes once; then the row is left out. What was wrong with it says the error before, if there is one.
# A row of several turns is cut at a turn's end instead.
ERNIEKIT = re.compile(
    r"vl_sft_dataset_json\.py\", line \d+, in (?P<frame>example_to_feature_stage3)"
    r"|(?P<cut>truncate data from) \d+ to \d+"
)
_WORDS = {
    "data is deleted by truncation strategy": "longer than max_seq_len",
    "The data is too long": "longer than max_seq_len",
    "This data is too long": "longer than max_seq_len",
    "truncate data from": "longer than max_seq_len and cut",
    "all labels set to": "no answer left to learn",
    "The length of encoded assistant tokens is 0": "an empty answer",
    "example_to_feature_stage3": "not to be read: the log has the trainer's error",
}
SHOWN = 80  # characters of a trainer's own words
_ERROR = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception): (.*)")  # the last line of a traceback
# ERNIEKit's progress line names the rows of the step's last pack.
_PACK = re.compile(r"\bdata_id: (\d+(?:-\d+)*)")


class LeftOut:
    """Counts the rows that a trainer leaves out, pass by pass.

    Attributes:
        times: how often a row was left out, over all passes.
        why: the trainer's reasons, with how often each was given.
    """

    def __init__(
        self, words: re.Pattern[str], rows: int, bound: float, *, rows_per_pass: int = 1, passes_per_step: int = 1
    ) -> None:
        """
        Args:
            words: the engine's (see :class:`sft.engines.base.Engine`).
            rows: rows of the training set.
            bound: share of the rows that may be left out of a pass over them.
            rows_per_pass: rows of a forward pass; at most, where the engine packs them.
            passes_per_step: forward passes of an optimiser step.
        """
        self.times = 0
        self._packs = self._packed = 0
        self._error = ""  # the last one whose traceback was seen
        self.why: Counter[str] = Counter()
        self._words, self._rows, self._bound = words, rows, bound
        self._rows_per_pack, self._rows_per_step = rows_per_pass, rows_per_pass * passes_per_step

    def read(self, line: str, step: int) -> bool:
        """Does the line say that a row is left out? ``step`` is the last one that is done.

        Raises:
            TrainingFailed: more rows are left out than may be.
        """
        if error := _ERROR.match(line):
            self._error = error[1]
        found = self._words.search(line)
        if found is None:
            return False
        self.times += 1
        said = next(text for text in found.groups() if text is not None)
        if "frame" in found.groupdict() and found["frame"]:
            said, self._error = self._error or said, ""
        self.why[next((ours for theirs, ours in _WORDS.items() if said.startswith(theirs)), said[:SHOWN])] += 1
        if self.times > self._bound * self._rows * self._passes(step):
            raise self._too_many(step)
        return True

    def packed(self, line: str) -> None:
        """Count the rows of a pack, where a progress line names them."""
        if found := _PACK.search(line):
            self._packs, self._packed = self._packs + 1, self._packed + found[1].count("-") + 1

    def as_dict(self, step: int) -> contents.LeftOut:
        """Plain data, for the training's record; ``passes`` says how often each row was used until ``step``."""
        filled = self._packed / self._packs / self._rows_per_pack if self._packs else 1.0
        passes = step * self._rows_per_step * filled / max(self._rows, 1)
        return {"rows": self._rows, "passes": round(passes, 2), "times": self.times, "why": dict(self.why)}

    def _passes(self, step: int) -> int:
        """Passes over the rows that have begun."""
        return step * self._rows_per_step // max(self._rows, 1) + 1

    def _too_many(self, step: int) -> TrainingFailed:
        reasons = "; ".join(f"{why} ({times} ×)" for why, times in self.why.most_common(3))
        of = f"of {self._rows} rows" + (f" in pass {self._passes(step)}" if step else " before the first step")
        return TrainingFailed(
            f"the trainer leaves out rows: {reasons}",
            where=f"step {step}",
            value=f"{self.times} {of}; train.dropped_rows allows {100 * self._bound:g} % of them in a pass",
            remedy="sft validate FILE --model FOLDER OF THE BASE MODEL names rows that are too long: split them, scale "
            "their images down or raise train.max_seq_len; to train without them, raise train.dropped_rows",
        )


def check_enlarged(stats: Facts, bound: float) -> None:
    """Would the trainer's augmentation enlarge images until more rows are too long than may be left out?

    Raises:
        DatasetError: it would.
    """
    expected = stats.enlarged / PARTS
    if expected > bound * stats.rows:
        raise DatasetError(
            "the trainer's augmentation enlarges images until rows are too long, and leaves these out",
            value=f"{expected:.1f} of {stats.rows} rows in each pass; train.dropped_rows allows {100 * bound:g} %",
            remedy="raise train.max_seq_len, scale these images down (rule tokens-enlarged names the rows), or raise "
            "train.dropped_rows",
        )


def describe(left_out: contents.LeftOut | None) -> str:
    """One sentence for people, from a training's record; empty where every row was used.

    Example: ``3 times the trainer left out one of 4000 rows: longer than max_seq_len (3 ×)``.
    """
    if left_out is None or not left_out["times"]:
        return ""
    reasons = "; ".join(f"{why} ({times} ×)" for why, times in left_out["why"].items())
    times = "once" if left_out["times"] == 1 else f"{left_out['times']} times"
    return f"{times} the trainer left out one of {left_out['rows']} rows: {reasons}"
