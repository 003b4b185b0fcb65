"""By hand, with a real model: promote, read pages with the champion, publish; and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from typer.testing import CliRunner

import cli.run  # noqa: F401 (registers the commands)
from cli.base import app
from cli.serving import promote_by_hand, publish_model
from compute.local import LocalCompute
from sft.config import RunConfig, load
from sft.errors import InputError, SftError
from sft.jobs.predict import PredictArgs, Reading
from sft.jobs.train import TrainArgs
from sft.plan import evaluate_args
from sft.store import records
from sft.training.events import Board
from tests.compute.test_local import TINY, wait
from tests.sft.models.test_lora import result_of
from tests.support.hub_server import hub_of
from tests.support.runs import short_training

CONFIG = ["evaluate.batch_size=4", "evaluate.max_new_tokens=8", "promote.check_rows=4"]


def configuration() -> RunConfig:
    return load("smoke", CONFIG).config


def sft(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(args))
    return done.exit_code, done.output


def as_trained(compute: LocalCompute) -> tuple[TrainArgs, str]:
    """A finished training whose model is the base itself: real, and quick; (its arguments, its model's identity)."""
    wait(compute, compute.start("download_model", TINY))
    args = short_training(compute)
    run, base = compute.volumes.run(args.identity), compute.volumes.models / args.base_model
    shutil.copytree(base, run / "model", ignore=shutil.ignore_patterns(records.RECORD))
    files = records.manifest(run / "model")
    facts: dict[str, Any] = {"identity": args.identity, "name": "smoke", "model": files, "spec": args.spec.model_dump()}
    facts |= {"model_identity": records.manifest_hash(files), "engine": "e", "engine_version": "1", "steps": 1}
    facts |= {"dataset": "d", "base_model": args.base_model, "resumed_from": None, "seconds": 1, "loss": 1}
    records.write_record(run, facts)
    return args, facts["model_identity"]


def test_promoted_by_hand_it_reads_pages_and_goes_to_the_hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = LocalCompute(home / "state")
    args, model_identity = as_trained(compute)
    judged = evaluate_args(configuration(), args)
    result_of(compute, "evaluate", judged)
    now = promote_by_hand(configuration(), args.identity[:16], lambda text: None, force=False)
    assert (now.identity, now.by) == (args.identity, "hand")

    images = sorted((compute.state / "digits" / "held_out").iterdir())[:2]
    pages = [Image.open(path).convert("RGB") for path in images]
    pages[0].save(home / "two.pdf", save_all=True, append_images=pages[1:], resolution=200)
    code, out = sft("infer", str(home / "two.pdf"), "--out", str(home / "read"))
    assert code == 0, out
    assert sorted(path.name for path in (home / "read").iterdir()) == [
        "two-p0001.json",
        "two-p0001.md",
        "two-p0002.json",
        "two-p0002.md",
    ]
    facts = json.loads((home / "read" / "two-p0002.json").read_text())
    assert facts["place"] == f"outputs/runs/{args.identity[:16]}/model"
    assert facts["text"].isdigit(), "the base model reads digits"

    with hub_of("team/receipts") as hub:
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.token = "hf_team"
        for token, said in (("", "there is no token for the Hub"), ("hf_old", "the Hub does not know the token")):
            monkeypatch.setenv("HF_TOKEN", token)
            with pytest.raises(InputError, match=said):
                publish_model(configuration(), "team/receipts", "champion", public=False, licence="mit")
        assert not hub.files, "nothing was sent"
        monkeypatch.setenv("HF_TOKEN", "hf_team")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        warned = pytest.warns(DeprecationWarning, match="Use 'content=")
        with warned:
            publish_model(configuration(), "team/receipts", "champion", public=False, licence="mit")
        sent = {name: content for name, content in hub.files.items() if name != "README.md"}
        model = compute.volumes.run(args.identity) / "model"
        assert sent == {path.name: path.read_bytes() for path in model.iterdir()}
        assert b"license: mit" in hub.files["README.md"]

    # A corrected truth and a row that shows the same image are read from what was answered before: no model is loaded.
    rows = (compute.state / "digits" / "held_out.jsonl").read_text()
    corrected = re.sub(r'"text": "(?=\d)', '"text": "1', rows)  # the truths, which are digits, and not the prompts
    assert corrected != rows
    (compute.state / "digits" / "held_out.jsonl").write_text(corrected + corrected.splitlines()[0] + "\n")
    reading = judged.model_dump(include=set(Reading.model_fields))
    predict = PredictArgs(**reading, model=judged.named("tuned"), rows=judged.rows_place)
    assert result_of(compute, "predict", predict) == {"rows": 0, "done": 9}
    (compute.state / "digits" / "held_out.jsonl").write_text(rows)

    # Answers other than the evaluated ones: the model in the folder is not the one that was judged.
    (answers,) = (compute.volumes.outputs / judged.place(model_identity)).glob("*.jsonl")
    answers.write_text(answers.read_text().replace('"text": "', '"text": "9'))
    shutil.rmtree(compute.volumes.run(args.identity) / "export")
    with pytest.raises(SftError, match="only 0 of 4 evaluated answers are reproduced"):
        promote_by_hand(configuration(), args.identity, lambda text: None, force=False)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("infer", "none.png", "--model", "base"), "no such file or folder"),
        (("infer", "page.png"), "there is no champion yet"),
        (("infer", "page.png", "--model", "feed" * 4), "no finished training of that identity"),
        (("infer", "page.png", "--model", "feed" * 4 + "/checkpoint-2"), "no such checkpoint"),
        (("infer", "page.png", "--task", "poem"), "no such task"),
        (("infer", "page.png", "--out", "page.png"), "no folder can be made there"),
        (("promote", "smoke", "feed"), "no finished training of that identity"),
        (("promote", "smoke", "../../../../../feed"), "no finished training of that identity"),
        (("promote", "smoke", ""), "no finished training of that identity"),
        (("rollback", "smoke"), "there is no champion to go back to"),
        (("publish", "smoke", "team/receipts"), "there is no champion yet"),
    ],
)
def test_what_is_not_there_is_refused_with_what_to_do(home: Path, command: tuple[str, ...], said: str) -> None:
    Image.new("L", (84, 28), 255).save(home / "page.png")
    code, out = sft(*command)
    assert (code, said in out, "Next: " in out) == (2, True, True), out


@pytest.mark.parametrize("command", ["status", "infer page.png", "rollback smoke", "publish smoke team/receipts"])
def test_a_champion_that_cannot_be_read_is_named_with_the_way_out(home: Path, command: str) -> None:
    Image.new("L", (84, 28), 255).save(home / "page.png")
    pointer = home / "state" / "volumes" / "outputs" / "champions" / "smoke" / "champion.json"
    records.write_json(pointer, {"name": "smoke"})
    code, out = sft(*command.split())
    assert code == 1
    assert "champions/smoke/champion.json: the champion's file cannot be read (found number, identity," in out
    assert "history/" in out.partition("Next: ")[2]
    assert not (home / "state" / "faults").exists()


def test_cleaning_up_an_empty_volume_says_so(home: Path) -> None:
    code, out = sft("cleanup")
    assert code == 0
    assert "0.0 MB would be freed" in out


def test_tensorboard_serves_what_trainings_wrote_and_drops_what_a_resumed_one_repeats(home: Path) -> None:
    run = home / "state" / "volumes" / "outputs" / "runs" / "feed" / "tensorboard"
    first = Board(run)
    for step in range(1, 9):
        first.add(step, {"loss": 9.0})
    time.sleep(1.1)  # event files are named by the second
    second = Board(run, start=4)
    for step in range(5, 7):
        second.add(step, {"loss": 1.0})
    port = 20_000 + time.monotonic_ns() % 20_000
    command = [str(Path(sys.executable).with_name("sft")), "tensorboard", "--port", str(port)]
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=feed/tensorboard&tag=loss"
        end = time.monotonic() + 60
        points: list[list[float]] = []
        while not points or points[-1][1] != 6:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.3)
            try:
                answer = httpx.get(address)
                points = answer.json() if answer.status_code == 200 else []
            except httpx.TransportError:
                continue
    finally:
        process.terminate()
        process.wait(10)
    assert [(step, loss) for _, step, loss in points] == [(1, 9), (2, 9), (3, 9), (4, 9), (5, 1), (6, 1)]
