"""What a job is: a plain function of typed arguments and a context, with plain data as its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from sft.context import Context

Args = TypeVar("Args", bound=BaseModel)


@dataclass(frozen=True)
class Job(Generic[Args]):
    """A job's name, the model of its arguments and its body. The result is plain data (JSON types).

    ``billed``: its calls note what they use, as what their argument ``gpu`` says.
    """

    name: str
    args: type[Args]
    body: Callable[[Args, Context], Mapping[str, object]]
    billed: bool = False

    def run(self, args: dict[str, Any], context: Context) -> dict[str, Any]:
        """Check the arguments and run the body; what it has unpacked is gone at its end."""
        checked = self.args.model_validate(args)
        with closing(context):
            return self._run(checked, context)

    def _run(self, checked: Args, context: Context) -> dict[str, Any]:
        if not self.billed:
            return dict(self.body(checked, context))
        values = checked.model_dump(include={"gpu", "identity"})
        with context.metered(self.name, values["gpu"], values.get("identity", "")):
            return dict(self.body(checked, context))
