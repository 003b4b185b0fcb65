"""The files of a dataset, and the one folder that holds them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sft.dataset.reading import image_folder
from sft.dataset.settings import DatasetConfig
from sft.errors import DatasetError, check_all


@dataclass(frozen=True)
class DatasetFiles:
    """The files and the folder that holds all, absolute; ``dev`` where there is one, ``mix`` by name."""

    root: Path
    train: Path
    held_out: Path
    dev: Path | None = None
    mix: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def of(
        cls, train: Path, held_out: Path, dev: Path | None = None, mix: Mapping[str, Path] | None = None
    ) -> DatasetFiles:
        """The folder is the nearest one above the files.

        Raises:
            DatasetError: two files are the same, or they share no folder but the root of the disk.
        """
        # A link's own name is kept: beside it lie the images that its rows name.
        train, held_out = image_folder(train) / train.name, image_folder(held_out) / held_out.name
        if train.resolve() == held_out.resolve():
            raise DatasetError(
                "training and held-out set are one file",
                where="dataset.held_out",
                value=str(held_out),
                remedy="set rows aside that are never trained on, and name their file",
            )
        if dev is not None:
            dev = image_folder(dev) / dev.name
            if dev.resolve() in (train.resolve(), held_out.resolve()):
                remedy = "sft split --dev shares one file out among three"
                said = "the dev set is the training or the held-out set"
                raise DatasetError(said, where="dataset.dev", value=str(dev), remedy=remedy)
        mixed = {name: image_folder(path) / path.name for name, path in (mix or {}).items()}
        for name, path in mixed.items():
            if path.resolve() in (train.resolve(), held_out.resolve(), dev and dev.resolve()):
                remedy = "name a file of other rows"
                said = "a set that is mixed in is one of the dataset's own"
                raise DatasetError(said, where=f"dataset.mix.{name}", value=str(path), remedy=remedy)
        root, files = train.parent, [file for file in (train, held_out, dev, *mixed.values()) if file is not None]
        while not all(file.is_relative_to(root) for file in files):
            root = root.parent
        if root == root.parent:
            raise DatasetError(
                "the files of the dataset lie in different trees",
                where="dataset",
                value=", ".join(map(str, files)),
                remedy="put all below one folder",
            )
        return cls(root, train, held_out, dev, mixed)

    @classmethod
    def named(cls, config: DatasetConfig) -> DatasetFiles:
        """The files that a configuration names; ``~`` is the home.

        Raises:
            DatasetError: one of them is missing, no file, or at an address; or as :meth:`of`.
        """
        named = {"dataset.train": config.train, "dataset.held_out": config.held_out}
        named |= {"dataset.dev": config.dev} if config.dev else {}
        mix = {f"dataset.mix.{name}.path": mixed.path for name, mixed in config.mix.items()}
        check_all(*(partial(_file, key, name) for key, name in {**named, **mix}.items()))
        train, held_out, *dev = (_file(key, name) for key, name in named.items())
        mixed = {name: Path(further.path).expanduser() for name, further in config.mix.items()}
        return cls.of(train, held_out, dev[0] if dev else None, mixed)

    @property
    def every(self) -> dict[str, Path]:
        """train, held_out, dev, mix-NAME → the file."""
        files = {"train": self.train, "held_out": self.held_out}
        files |= {} if self.dev is None else {"dev": self.dev}
        return files | {f"mix-{name}": path for name, path in self.mix.items()}


def _file(key: str, name: str) -> Path:
    path, correct = Path(name).expanduser(), f"correct it: --set {key}=PATH"
    if "://" in name:
        remedy = "copy the file and its images here first; what sft upload has sent is named by dataset.volume"
        raise DatasetError("a dataset file has a path, not an address", where=key, value=name, remedy=remedy)
    if path.is_dir():
        raise DatasetError("the dataset file is a folder", where=key, value=name, remedy=correct)
    if not path.is_file():
        raise DatasetError("the dataset file does not exist", where=key, value=name, remedy=correct)
    return path
