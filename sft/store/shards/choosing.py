"""Are the images of a set packed? By their number, by what the volume still takes, or because the user says so."""

from __future__ import annotations

from typing import Literal

from sft.errors import InputError

Packing = Literal["auto", "always", "never"]
# Of Modal's volumes of version 1, from Modal's guide to volumes: each file makes attaching slower beyond the first
# number, and what is beyond the second is refused. Volumes of version 2 have no such bound.
FILES_ADVISED, FILES_MOST = 50_000, 500_000
ABOVE = FILES_ADVISED // 5  # files of a set that are packed: five sets below it still leave the volume quick


def packs(how: Packing, files: int, there: int | None) -> bool:
    """Are the images packed?

    Args:
        files: that the set has.
        there: files and folders on the volume now, None where nothing bounds them.
    Raises:
        InputError: it is not to be packed, and the volume does not take so many.
    """
    if how == "always":
        return True
    if how == "auto":
        return files > ABOVE or (there is not None and there + files > FILES_ADVISED)
    if there is not None and there + files > FILES_MOST:
        raise InputError(
            f"a volume takes {FILES_MOST:,} files and folders",
            where="data volume",
            value=f"{there:,} there and {files:,} new",
            remedy="leave dataset.pack=never out: the images are packed then, a few files for all",
        )
    return False
