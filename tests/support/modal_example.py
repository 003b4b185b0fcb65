"""An app for the stand-in's own tests, after the example of Modal's guide to volumes ("Volume commits and reloads")."""

from __future__ import annotations

import os
from pathlib import Path

import modal

app = modal.App("example")
# The image is this machine's Python: nothing is mounted into it.
image = modal.Image.debian_slim()
volume = modal.Volume.from_name("my-volume", create_if_missing=True)
PLACE = Path("/root/foo/bar.txt")
OPTIONS = {"image": image, "volumes": {"/root/foo": volume}, "include_source": False}


@app.function(**OPTIONS)  # type: ignore[arg-type]
def f() -> str:
    PLACE.write_text("hello")
    volume.commit()
    return "committed"


@app.function(**OPTIONS)  # type: ignore[arg-type]
def g(reload: bool = False) -> str:
    if reload:
        volume.reload()
    return PLACE.read_text() if PLACE.exists() else "does not exist"


@app.function(**OPTIONS)  # type: ignore[arg-type]
def busy() -> str:
    with PLACE.open():
        try:
            volume.reload()
        except RuntimeError as error:
            return str(error)
    return "reloaded"


@app.function(**OPTIONS)  # type: ignore[arg-type]
def works_there() -> str:
    """A working directory in the volume is in use as an open file is."""
    os.chdir("/root/foo")
    try:
        volume.reload()
    except RuntimeError as error:
        return str(error)
    finally:
        os.chdir("/")
    return "reloaded"
