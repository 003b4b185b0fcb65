"""Step approve: a person is asked before a model goes into service that the gate lets pass (``promote.mode: ask``).

Asked is wherever somebody can answer: in Prefect's UI, where the run pauses with a form, and at the terminal. It counts
what is said first, also by ``sft promote`` anywhere else. The run's process waits: what is not answered in time is
refused, and a run whose process is killed meanwhile is asked again by the next one, which trains nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, cast
from uuid import UUID, uuid4

from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import TerminationSignal
from prefect.input import RunInput
from prefect.input.run_input import keyset_from_paused_state
from prefect.runtime import flow_run
from prefect.states import Paused
from pydantic import Field

from compute.base import Compute
from compute.records import read_json
from runs.results import champion
from sft.errors import ComputeError, JobCancelled
from sft.jobs.promote import Answer, PromoteArgs, binding
from sft.store.contents import Decision
from tasks.step import step
from tasks.telling import tell

HOUR = 3600  # seconds
ASK = 2.0  # seconds between two looks at the form
LOOK = 15.0  # seconds between two looks at the volume: did somebody decide elsewhere?
GRACE = 600  # seconds after which the server itself fails a pause that nobody ends: its process is gone
T = TypeVar("T")
PARTY = "nobody"  # who answers where nobody does


class Approval(RunInput):
    """The form."""

    decision: Literal["accept", "refuse"] = Field(description="accept: it goes into service at once")
    reason: str = Field(min_length=1, max_length=500, description="Why; it stands in the champion's record")
    who: str = Field(min_length=1, max_length=80, title="Your name", description="Who decides")


@dataclass(frozen=True)
class Question:
    """What is asked: in one line, and as a page of Markdown."""

    line: str
    page: str


class Asker(Protocol):
    """Somebody in this process who can be asked: the terminal."""

    def ask(self, question: Question) -> None:
        """Put the question."""
        ...

    def heard(self) -> Answer | None:
        """The answer, if there is one; waits a second at most."""
        ...

    def enough(self) -> None:
        """It is decided; nobody listens any more."""
        ...


@contextmanager
def asking(asker: Asker | None, *, form: bool) -> Iterator[None]:
    """How runs in the block ask; outside of one they pause with a form.

    Args:
        form: can people reach the server that the run tells? Not a temporary one.
    """
    _WAYS.append((asker, form))
    try:
        yield
    finally:
        _WAYS.pop()


_WAYS: list[tuple[Asker | None, bool]] = []


def _ways() -> tuple[Asker | None, bool]:
    return _WAYS[-1] if _WAYS else (None, True)


def with_form() -> bool:
    """Would a run ask with a form, which somebody has to be told of?"""
    return _ways()[1]


@step("approve", "Ask a person whether the model, which the gate lets pass, goes into service")
def approve(args: PromoteArgs, question: Question, compute: Compute, wait: float) -> Answer | None:
    """The answer; None where somebody has decided elsewhere, or nobody can be asked here.

    Args:
        wait: for an answer (hours); then it is refused.
    Raises:
        JobCancelled: the run was cancelled. Nothing is decided.
    """
    asker, shown = _ways()
    form = _Form(question, wait) if shown else None
    if asker is None and form is None:
        return None
    if asker is not None:
        asker.ask(question)
    try:
        answer = _first(args, compute, asker, form, wait)
    except (KeyboardInterrupt, TerminationSignal):
        remedy = "the same run again asks again; sft promote decides, too"
        raise JobCancelled("the run was stopped while it waited for a decision", remedy=remedy) from None
    finally:
        if asker is not None:
            asker.enough()
    if form is not None:
        form.end(answer)
    tell(
        "decided elsewhere"
        if answer is None
        else f"{answer.who}: {'yes' if answer.accepted else 'no'}, {answer.reason}"
    )
    return answer


def _first(args: PromoteArgs, compute: Compute, asker: Asker | None, form: _Form | None, wait: float) -> Answer | None:
    """What is said first, wherever; None: the volume has a decision."""
    tell(f"waits for a decision, {wait:g} h at most; by command: sft promote {args.name} {args.identity[:16]}")
    end, decided = time.monotonic() + wait * HOUR, _Every(LOOK, lambda: _decided(args, compute) or None)
    said: _Every[Answer] = _Every(ASK, form.answer if form is not None else lambda: None)
    while True:
        if (answer := said()) is not None:
            return answer
        if asker is None:
            time.sleep(0.5)
        elif (answer := asker.heard()) is not None:
            return answer
        if decided():
            return None
        if time.monotonic() > end:
            return Answer(accepted=False, who=PARTY, reason=f"nobody answered within {wait:g} h", late=True)


class _Every(Generic[T]):
    """Asks now and then."""

    def __init__(self, seconds: float, ask: Callable[[], T | None]) -> None:
        self._seconds, self._ask, self._asked = seconds, ask, 0.0

    def __call__(self) -> T | None:
        if time.monotonic() - self._asked < self._seconds:
            return None
        self._asked = time.monotonic()
        return self._ask()


def _decided(args: PromoteArgs, compute: Compute) -> bool:
    now = champion(compute, args.name)
    if now is not None and now.identity == args.identity:
        return True
    return binding(cast("Decision | None", read_json(compute, "outputs", args.decision()))) is not None


class _Form:
    """The flow run pauses, and the UI shows a form until it is resumed."""

    def __init__(self, question: Question, wait: float) -> None:
        self._run, key = UUID(str(flow_run.id)), f"approve-{uuid4().hex[:8]}"
        self._type = Approval.with_initial_data(description=question.page)
        state: State[Any] = Paused(timeout_seconds=int(wait * HOUR) + GRACE, pause_key=key, message=question.line)
        self._keys = keyset_from_paused_state(state)
        state.state_details.run_input_keyset = cast("dict[str, str]", self._keys)
        with get_client(sync_client=True) as client:
            taken = client.set_flow_run_state(self._run, state)
            if taken.status != SetStateStatus.ACCEPT:
                raise ComputeError("Prefect does not let the run pause", value=str(taken.details), remedy="run again")
        self._type.save(self._keys, flow_run_id=self._run)

    def answer(self) -> Answer | None:
        """What was filled in, once the run was resumed.

        Raises:
            JobCancelled: the run was cancelled.
        """
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(self._run).state
        if state is None or state.is_paused():
            return None
        if not state.is_running():
            remedy = "the same run again asks again; sft promote decides, too"
            raise JobCancelled(
                "the run was cancelled while it waited for a decision", value=state.name or "", remedy=remedy
            )
        said = cast("Approval", self._type.load(self._keys, flow_run_id=self._run))
        return Answer(accepted=said.decision == "accept", who=said.who, reason=said.reason)

    def end(self, answer: Answer | None) -> None:
        """Let the run go on, if the form has not done that."""
        said = {"decision": "accept" if answer and answer.accepted else "refuse"}
        said |= (
            {"who": answer.who, "reason": answer.reason} if answer else {"who": PARTY, "reason": "decided elsewhere"}
        )
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(self._run).state
            if state is not None and state.is_paused():
                client.resume_flow_run(self._run, run_input=said)
