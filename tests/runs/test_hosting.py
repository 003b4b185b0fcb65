"""What the containers of a hosted run know of each other, and who is known to have cancelled what."""

from pathlib import Path

from compute.local import LocalCompute
from runs import calls
from runs.hosting import Hosted, Prepared, Request
from sft.config import load


def request(call_id: str, *settings: str) -> Request:
    config = load("smoke", settings).config
    return Request(config=config, prepared=Prepared(), name=config.name, call_id=call_id)


def test_the_next_container_goes_on_with_the_same_entry_until_there_is_an_outcome(tmp_path: Path) -> None:
    compute = LocalCompute(tmp_path)
    first = Hosted(request("fc-1"), compute)
    assert (first.containers, first.entry, first.earlier, first.replaced_since) == (1, None, "", None)
    first.named("20261127-000000-abcdef01", 1000.0)
    first.note(flow_run="a-run-of-prefect")
    second = Hosted(request("fc-1"), compute)
    assert second.entry == ("20261127-000000-abcdef01", 1000.0)
    assert (second.containers, second.earlier, second.replaced_since) == (2, "a-run-of-prefect", 1000.0)
    assert second.outcome is None
    second.note(outcome={"ok": True, "value": {}})
    assert Hosted(request("fc-1"), compute).outcome == {"ok": True, "value": {}}, "taken away after the end"
    assert Hosted(request("fc-2"), compute).containers == 1, "another call is another run"


def test_the_same_values_are_the_same_run() -> None:
    assert request("fc-1").key == request("fc-2").key
    assert request("fc-1").key != request("fc-1", "train.seed=99").key


def test_what_somebody_has_cancelled_is_known_until_it_is_begun_again(tmp_path: Path) -> None:
    compute = LocalCompute(tmp_path)
    calls.noted(compute, "train-x", "fc-1", "train")
    assert not calls.was_cancelled(compute, "train-x")
    calls.stopping(compute, "fc-1", "the rung is reached", goes_on=True)
    assert not calls.was_cancelled(compute, "train-x"), "who stopped it goes on with it"
    calls.stopping(compute, "fc-1", "Ctrl-C")
    assert "Ctrl-C" in calls.stopped_by(compute, "fc-1")
    assert calls.stopped_by(compute, "fc-2") == ""
    assert calls.was_cancelled(compute, "train-x")
    assert calls.was_cancelled(compute, "train-x", since=1000.0)
    assert not calls.was_cancelled(compute, "train-x", since=1e12), "that was before the run began"
    calls.noted(compute, "train-x", "fc-2", "train")
    assert not calls.was_cancelled(compute, "train-x"), "run again on purpose"
