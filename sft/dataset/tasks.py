"""Which task a prompt asks for: the base models' own, and the prompts that a user declares for models of their own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from pydantic import Field, field_validator, model_validator

from sft.families import TASKS, Measure, Task
from sft.notation.spotting import without_tokens
from sft.settings import Section

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
RESERVED = ("all", "other", "page", *(task.name for task in TASKS))  # parts of a report, and --task page
OTHER = Task("other", "")
Known = Mapping[str, Task]  # prompt → task
BUILT_IN: Known = {task.prompt: task for task in TASKS}


class Prompt(Section):
    """A prompt of the user's own, and how its answers are judged."""

    prompt: str = Field(min_length=1, max_length=4000, description="The question, exactly as the rows have it")
    measure: Measure = Field(
        "text", description="What answers are: text; table (OTSL); formula (LaTeX); chart (|); spotting; json"
    )
    required: tuple[str, ...] = Field((), description="Keys that each answer in JSON has, such as number, date, total")

    @field_validator("prompt")
    @classmethod
    def _plain(cls, text: str) -> str:
        if re.search(r"<(?:image|video|audio)>", text):
            raise ValueError("leave <image> out: each row says where its images are")
        if text.strip() in BUILT_IN:
            raise ValueError(f"{text.strip()!r} is a task of the base models: it needs no declaration")
        if not text.strip():
            raise ValueError("it is blank")
        return text.strip()

    @model_validator(mode="after")
    def _of_json(self) -> Prompt:
        if self.required and self.measure != "json":
            raise ValueError(f"required keys are of answers in JSON, and measure is {self.measure}: use measure: json")
        return self


def problems(own: Mapping[str, Prompt]) -> list[str]:
    """What is wrong with the names of declared prompts, and with prompts that are declared twice."""
    found = [f"{name!r} is a name of ours: choose another" for name in own if name in RESERVED]
    for name in own:
        if not NAME.fullmatch(name):
            found.append(f"{name!r} is no name: use a small letter, then up to 31 of a-z, 0-9, - and _")
    seen: dict[str, str] = {}
    for name, prompt in own.items():
        if prompt.prompt in seen:
            found.append(f"{name!r} and {seen[prompt.prompt]!r} are one prompt: leave one of them out")
        seen.setdefault(prompt.prompt, name)
    return found


def known(own: Mapping[str, Prompt], tasks: Iterable[Task] = TASKS) -> dict[str, Task]:
    """Prompt → task: those of the base model, and the user's own."""
    return {
        **{task.prompt: task for task in tasks},
        **{given.prompt: Task(name, given.prompt, given.measure, given.required) for name, given in own.items()},
    }


def task_of(prompt: str, among: Known = BUILT_IN) -> Task:
    """The task that a prompt asks for, also of a region of the picture; OTHER for a prompt that nobody declared."""
    return among.get(plain(prompt), OTHER)


def plain(prompt: str) -> str:
    """A prompt without the place that it asks about (PaddleFormers' guide region_ocr.md of 1.5)."""
    return without_tokens(prompt).strip()


def undeclared(prompt: str, among: Known) -> str | None:
    """What to say of a prompt that nobody declared; None for a known one."""
    text = plain(prompt)
    return None if text in among else _nearest(text, tuple(among))


@lru_cache(maxsize=4096)  # the same prompt stands in a million rows
def _nearest(text: str, among: tuple[str, ...]) -> str:
    if text in BUILT_IN:
        return f"{text[:60]!r}, which the base model was not trained for"
    near = next(iter(difflib.get_close_matches(text, among, n=1)), "")
    return f"{text[:60]!r}" + (f", perhaps {near!r}" if near else "")


def find(name: str, among: Known) -> Task | None:
    """The task that a user names: by its name, or by a prompt (several words, or with a colon at its end)."""
    by_name = {task.name: task for task in among.values()}
    if name in by_name:
        return by_name[name]
    if re.search(r"\S\s+\S|:$", name.strip()):
        return among.get(plain(name)) or Task("other", name.strip())
    return None
