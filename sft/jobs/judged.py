"""What the jobs have in common that let models read a set of rows outside a training: compare and doubt."""

from __future__ import annotations

from sft.jobs.placed_rows import RowsPlace
from sft.jobs.predict import Reading
from sft.metrics import Normalisation
from sft.models.held_out import SAMPLING


class Judged(Reading):
    """Models read ``rows``, and what they read is judged.

    Attributes:
        title: what people call the rows.
        fingerprint: of the rows and their images.
        examples: rows whose pictures are in the report itself; ``normalise`` says what is made equal in texts.
    """

    title: str
    rows: RowsPlace
    fingerprint: str
    examples: int
    normalise: Normalisation = Normalisation()

    def how(self) -> dict[str, object]:
        """What changes the result beside models and rows, for its key."""
        return {
            "rows": [self.max_rows, SAMPLING],
            "tokens": self.max_new_tokens,
            "normalise": self.normalise.model_dump(),
            "prompts": self.model_dump(mode="json")["prompts"],
            "device": self.device,
            "examples": self.examples,
        }
