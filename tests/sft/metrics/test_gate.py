"""The gate and the champion's pointer, on evaluations computed from real answers."""

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sft.context import Context
from sft.errors import InputError, IntegrityError, TransientError
from sft.jobs.evaluate import compare
from sft.jobs.promote import PROMOTE
from sft.metrics import Normalisation
from sft.metrics.gate import Rule, decide
from sft.models.heard import judge
from sft.models.held_out import HeldOutRow
from sft.report import remarks
from sft.store import champions, records
from sft.store.contents import Export, Model
from sft.store.lease import hold
from sft.store.volumes import Volumes

ROWS = 100
GOOD: Export = {"problems": [], "rows": 8, "equal": 8}


def spoilt(texts: Sequence[str], share: float, seed: int) -> list[str]:
    """Answers of which ``share`` have a wrong character."""
    wrong = set(random.Random(seed).sample(range(len(texts)), round(share * len(texts))))
    return [text[:-1] + "x" if number in wrong else text for number, text in enumerate(texts)]


def evaluation(base: float, tuned: float, champion: float | None = None, tasks: Sequence[str] = ("ocr",)) -> Any:
    """An evaluation in which the models get these shares of the rows wrong."""
    rows = [HeldOutRow(i, (Path("x.png"),), "OCR:", f"text {i}", tasks[i % len(tasks)]) for i in range(ROWS)]
    truths = [row.truth for row in rows]
    texts: dict[Model, list[str]] = {"base": spoilt(truths, base, 1)}
    if champion is not None:
        texts["champion"] = spoilt(truths, champion, 2)
    return compare(judge(rows, {**texts, "tuned": spoilt(truths, tuned, 3)}, Normalisation()))


def failed(found: Any, export: Any = GOOD, rule: Rule = Rule()) -> list[str]:  # noqa: B008 (frozen)
    return [check.name for check in decide(rule, found, export) if not check.passed]


def test_a_clearly_better_model_passes() -> None:
    assert failed(evaluation(0.8, 0.2)) == []
    assert failed(evaluation(0.8, 0.2, champion=0.6)) == []


@pytest.mark.parametrize("tuned", [0.95, 0.8, 0.75])
def test_a_worse_or_hardly_better_model_is_refused(tuned: float) -> None:
    assert failed(evaluation(0.8, tuned)) == ["better than base"]


def test_better_than_the_base_is_not_enough_where_there_is_a_champion() -> None:
    assert failed(evaluation(0.8, 0.5, champion=0.3)) == ["better than champion"]


def test_a_margin_is_asked_for_on_top() -> None:
    found = evaluation(0.8, 0.2)
    better = -found["differences"]["base"]["all"]["error"]["value"]
    assert failed(found, rule=Rule(margin=better - 0.001)) == []
    assert failed(found, rule=Rule(margin=better + 0.001)) == ["better than base"]


def test_no_task_may_pay_for_the_others() -> None:
    rows = [HeldOutRow(i, (Path("x.png"),), "OCR:", f"text {i}", "ocr") for i in range(ROWS) if i % 5]
    rows += [
        HeldOutRow(i, (Path("x.png"),), "Chart Recognition:", f"x | y\n{i} | 1", "chart", measure="chart")
        for i in range(20)
    ]
    truths = [row.truth for row in rows]
    base = [t if row.task == "chart" else "wrong" for row, t in zip(rows, truths)]
    tuned = ["wrong" if row.task == "chart" else t for row, t in zip(rows, truths)]
    found = compare(judge(rows, {"base": base, "tuned": tuned}, Normalisation()))
    assert found["tuned"]["all"]["error"] < found["base"]["all"]["error"]
    assert failed(found) == ["chart against base"]


@pytest.mark.parametrize(("answer", "name"), [("", "empty"), ("y" * 500, "runaway")])
def test_collapsed_answers_are_refused_although_the_rest_is_better(answer: str, name: str) -> None:
    rows = [HeldOutRow(i, (Path("x.png"),), "OCR:", f"text {i}", "ocr") for i in range(ROWS)]
    truths = [row.truth for row in rows]
    tuned = [answer if i < 5 else truth for i, truth in enumerate(truths)]
    found = compare(judge(rows, {"base": spoilt(truths, 1, 1), "tuned": tuned}, Normalisation()))
    assert name in failed(found)


def test_answers_that_were_cut_off_are_counted_and_many_are_refused_with_the_remedy() -> None:
    rows = [HeldOutRow(i, (Path("x.png"),), "OCR:", f"text {i}", "ocr") for i in range(ROWS)]
    truths = [row.truth for row in rows]
    texts: dict[Model, list[str]] = {"base": spoilt(truths, 1, 1), "tuned": truths}
    for number, refused in ((2, []), (3, ["cut"])):
        cut: dict[Model, list[bool]] = {"base": [True] * ROWS, "tuned": [i < number for i in range(ROWS)]}
        found = compare(judge(rows, texts, Normalisation(), cut))
        found["max_new_tokens"], found["held_out"] = 16, 4 * ROWS
        assert failed(found) == refused
        told = remarks(found)
        assert told[0].startswith(f"{ROWS} of {4 * ROWS} held-out rows were read")
        assert f"{number} of {ROWS} answers of tuned were cut off at 16 tokens" in told[2]
    (check,) = [check for check in decide(Rule(), found, GOOD) if not check.passed]
    assert (check.found, "raise evaluate.max_new_tokens" in check.needed) == ("3 of 100 answers (3.0 %)", True)
    (rows_read,) = [check.found for check in decide(Rule(), found, GOOD) if check.name == "rows"]
    assert rows_read == f"{ROWS} of {4 * ROWS}"


def test_truths_that_cannot_be_read_are_no_win_for_anybody_and_are_told() -> None:
    rows = [
        HeldOutRow(i, (Path("x.png"),), "Table Recognition:", f"<td>{i}</td>", "table", measure="table")
        for i in range(ROWS)
    ]
    truths = [row.truth for row in rows]
    found = compare(judge(rows, {"base": ["x"] * ROWS, "tuned": truths}, Normalisation()))
    assert found["tuned"]["all"]["error"] == found["base"]["all"]["error"] == 1
    assert failed(found) == ["better than base"]
    assert remarks(found)[0].startswith(f"{ROWS} truths cannot be read")


def test_few_documents_decide_nothing_and_say_so() -> None:
    rows = [HeldOutRow(i, (Path("x.png"),), "OCR:", f"text {i}", "ocr", document=f"page {i % 3}") for i in range(ROWS)]
    truths = [row.truth for row in rows]
    found = compare(judge(rows, {"base": ["x"] * ROWS, "tuned": truths}, Normalisation()))
    assert found["documents"] == 3
    assert failed(found) == ["documents"]
    assert failed(found, rule=Rule(min_documents=3)) == []
    (check,) = [check for check in decide(Rule(), found, GOOD) if check.name == "documents"]
    assert (check.found, check.needed) == ("3, of 100 rows", "at least 10: sft split shares documents out")
    assert remarks(found)[0].startswith("the 100 rows come from 3 documents: intervals and the gate draw documents")


def test_few_rows_and_a_broken_export_are_refused() -> None:
    assert failed(evaluation(0.8, 0.2), rule=Rule(min_rows=ROWS + 1)) == ["rows"]
    assert failed(evaluation(0.8, 0.2), {"problems": ["inference.yml is missing"]}) == ["export"]
    assert failed(evaluation(0.8, 0.2), {}) == ["export"], "one that nobody checked"
    many: Any = {"problems": [f"config.json: key{n} is 1, the base has 2" for n in range(110)]}
    (said,) = [check.found for check in decide(Rule(), evaluation(0.8, 0.2), many) if not check.passed]
    assert said.startswith("config.json: key0 is 1")
    assert said.endswith("; and 104 more"), "a decision can be read"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    volumes = Volumes.below(tmp_path)
    volumes.make()
    return Context(volumes, "call-1", say=lambda line: None)


def candidate(context: Context, letter: str, found: Any, export: Any = GOOD) -> str:
    """A finished, evaluated and checked training; returns its identity."""
    identity = letter * 64
    run = context.volumes.run(identity)
    (run / "model").mkdir(parents=True)
    (run / "model" / "weights").write_text(letter)
    files = records.manifest(run / "model")
    records.write_record(run, {"identity": identity, "model": files, "model_identity": records.manifest_hash(files)})
    records.write_record(run / "evaluation", found)
    records.write_record(run / "export", export)
    return identity


def promote(context: Context, identity: str, over: str = "", **more: Any) -> dict[str, Any]:
    args = {"name": "n", "identity": identity, "evaluation": "evaluation", "export": "export", "over": over, **more}
    return PROMOTE.run(args, context)


def live(context: Context) -> str:
    now = champions.read(context.volumes.outputs / "champions" / "n")
    return now.identity[0] if now else ""


def test_the_better_one_goes_into_service_and_back(context: Context) -> None:
    a = candidate(context, "a", evaluation(0.8, 0.6))
    assert promote(context, a)["promoted"]
    b = candidate(context, "b", evaluation(0.8, 0.2, champion=0.6))
    decided = promote(context, b, over=a)
    assert (decided["promoted"], decided["over"], live(context)) == (True, a, "b")
    spoilt_one = candidate(context, "c", evaluation(0.8, 0.9, champion=0.2))
    refused = promote(context, spoilt_one, over=b)
    assert not refused["promoted"]
    assert live(context) == "b", "a worse model changes nothing"
    assert promote(context, spoilt_one, over=b) == refused, "decided once"
    broken = candidate(
        context, "d", evaluation(0.8, 0.0, champion=0.2), {"problems": ["chat_template.jinja is missing"]}
    )
    assert [c["name"] for c in promote(context, broken, over=b)["checks"] if not c["passed"]] == ["export"]
    assert live(context) == "b"
    PROMOTE.run({"name": "n", "by": "rollback"}, context)
    assert live(context) == "a"
    with pytest.raises(InputError, match="no champion to go back to"):
        PROMOTE.run({"name": "n", "by": "rollback"}, context)
    assert promote(context, b, over=a)["promoted"], "the old decision stands in the records"
    assert live(context) == "a", "but what was rolled back by hand does not come back by itself"
    promote(context, spoilt_one, by="hand")
    assert live(context) == "c", "a person may know better"
    assert [c.by for c in champions.history(context.volumes.outputs / "champions" / "n")] == [
        "gate",
        "gate",
        "rollback",
        "hand",
    ]


def test_a_candidate_compared_with_another_champion_has_to_be_compared_again(context: Context) -> None:
    a, b = (candidate(context, letter, evaluation(0.8, 0.2)) for letter in "ab")
    assert promote(context, a)["promoted"]
    assert promote(context, b)["stale"], "b was compared with the base alone"
    assert live(context) == "a"


def test_a_damaged_model_is_not_promoted_even_by_hand(context: Context) -> None:
    a = candidate(context, "a", evaluation(0.8, 0.2))
    (context.volumes.run(a) / "model" / "weights").write_text("b")
    for by in ("gate", "hand"):
        with pytest.raises(IntegrityError, match="damaged"):
            promote(context, a, by=by)
    assert live(context) == ""


def test_one_promotion_at_a_time(context: Context) -> None:
    a = candidate(context, "a", evaluation(0.8, 0.2))
    with hold(context.volumes.outputs / "champions" / "n", "another"), pytest.raises(TransientError, match="under way"):
        promote(context, a)
    assert live(context) == ""


def test_a_crash_between_history_and_pointer_is_no_promotion(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = candidate(context, "a", evaluation(0.8, 0.6)), candidate(context, "b", evaluation(0.8, 0.2, champion=0.6))
    promote(context, a)
    replace = os.replace

    def dies(source: Any, target: Any) -> None:
        if str(target).endswith(champions.POINTER):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            promote(context, b, over=a)
    folder = context.volumes.outputs / "champions" / "n"
    assert live(context) == "a"
    assert json.loads((folder / champions.POINTER).read_text())["identity"] == a
    assert champions.before(folder) is None, "the promotion that never was cannot be rolled back to or from"
    assert promote(context, b, over=a)["promoted"]
    assert live(context) == "b"
    PROMOTE.run({"name": "n", "by": "rollback"}, context)
    assert live(context) == "a"


def test_a_person_is_asked_once_and_only_where_the_gate_passes(context: Context) -> None:
    folder = context.volumes.outputs / "champions" / "n"
    bad = candidate(context, "c", evaluation(0.8, 0.9))
    refused = promote(context, bad, ask=True)
    assert (refused["promoted"], "open" in refused) == (False, False), "what the gate refuses is never asked"

    a = candidate(context, "a", evaluation(0.8, 0.2))
    asked = promote(context, a, ask=True)
    assert (asked["open"], asked["promoted"], live(context)) == (True, False, "")
    late = {"accepted": False, "who": "nobody", "reason": "nobody answered within 1 h", "late": True}
    assert promote(context, a, ask=True, answer=late)["answer"] == late
    assert promote(context, a, ask=True)["open"], "nobody has said no"
    no = {"accepted": False, "who": "Ada", "reason": "the stamps", "late": False}
    assert not promote(context, a, ask=True, answer=no)["promoted"]
    again = promote(context, a, ask=True, answer={**no, "accepted": True})
    assert (again["promoted"], again["answer"]) == (False, no), "the first answer counts"
    assert not promote(context, a)["promoted"], "also where nobody is asked any more"

    b = candidate(context, "b", evaluation(0.8, 0.2))
    yes = {"accepted": True, "who": "Ada", "reason": "read twenty pages", "late": False}
    assert promote(context, b, ask=True, answer=yes)["promoted"]
    now = champions.read(folder)
    assert now is not None
    assert (now.identity, now.by, now.who, now.reason) == (b, "gate", "Ada", "read twenty pages")
    promote(context, a, by="hand", answer={**yes, "reason": "the stamps are right"})
    assert [(c.by, c.reason) for c in champions.history(folder)][1:] == [("hand", "the stamps are right")]
