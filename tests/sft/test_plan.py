from pathlib import Path

import pytest

from modal_infra.names import function_name
from runs.asked import predict_args
from sft import metrics
from sft.config import load
from sft.dataset.files import DatasetFiles
from sft.dataset.packing import Amount
from sft.errors import DatasetError
from sft.jobs.placed_rows import DatasetPlace, MixedPlace
from sft.jobs.train import TrainArgs
from sft.plan import evaluate_args, train_args
from sft.store.contents import Base

BASE = {"name": "base@1", "identity": "b"}


def args(*settings: str, fingerprint: str = "f", base: str = "b", root: str = "/data") -> TrainArgs:
    place = DatasetPlace(
        root=root,
        train="t.jsonl",
        held_out="h.jsonl",
        train_format="erniekit",
        held_out_format="erniekit",
        fingerprint=fingerprint,
    )
    return train_args(
        load("smoke", settings).config, place, Amount(100), Base(name=BASE["name"], identity=base, files={})
    )


def test_what_changes_the_result_changes_the_identity() -> None:
    same = args().identity
    assert args(fingerprint="g").identity != same
    assert args(base="c").identity != same
    assert args("train.weight_decay=0.2").identity != same


def test_where_it_runs_and_what_it_is_called_do_not() -> None:
    same = args().identity
    assert args("name=other", "output.folder=elsewhere", "modal.gpu=H100", root="/elsewhere").identity == same
    assert args("evaluate.batch_size=1", "train.resume=never").identity == same


def test_an_evaluation_is_named_by_model_rows_and_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate_args(load("smoke").config, args())
    same = evaluate_args(load("smoke", ["evaluate.batch_size=1", "evaluate.examples=3"]).config, args())
    other = evaluate_args(load("smoke", ["evaluate.max_new_tokens=5"]).config, args())
    assert first.key("m") == same.key("m")
    assert len({first.key("m"), first.key("n"), other.key("m")}) == 3
    fewer = evaluate_args(load("smoke", ["evaluate.max_rows=5"]).config, args())
    with monkeypatch.context() as patched:
        patched.setattr(metrics, "VERSION", metrics.VERSION + 1)
        again = first.key("m")
    assert len({first.key("m"), fewer.key("m"), again}) == 3, "other rows, or another measure: judged anew"
    assert first.place("m") == fewer.place("m") != other.place("m"), "from the answers that were read before"


def test_vllm_reads_in_calls_of_a_function_of_its_own() -> None:
    asked = evaluate_args(load("smoke").config, args())

    def shares(backend: str) -> list[tuple[str, str]]:
        models = [asked.named(which) for which in asked.models]
        found = predict_args(asked.by(backend), models, asked.rows_place, 1, "k")
        return [(share.model.label, share.backend) for share in found.values()]

    assert shares("auto") == shares("transformers") == []
    assert shares("vllm") == [("base", "vllm"), ("tuned", "vllm")]
    assert function_name("predict", "erniekit", backend="vllm") == "predict_vllm"
    assert function_name("evaluate", "erniekit", backend="vllm") == "evaluate"


def test_the_folder_of_a_dataset_is_the_nearest_above_both_files(tmp_path: Path) -> None:
    for name in ("a/x/t.jsonl", "a/y/h.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    files = DatasetFiles.of(tmp_path / "a/x/t.jsonl", tmp_path / "a/y/h.jsonl")
    assert files.root == tmp_path / "a"
    with pytest.raises(DatasetError, match="one file"):
        DatasetFiles.of(files.train, files.train)
    with pytest.raises(DatasetError, match="different trees"):
        DatasetFiles.of(files.train, Path("/proc/version"))


def test_what_is_mixed_in_is_a_part_of_what_a_training_is() -> None:
    given = args()
    place = given.dataset.model_copy(update={"mix": {"a": MixedPlace(file="a.jsonl", format="erniekit", share=0.2)}})
    more = place.model_copy(update={"mix": {"a": MixedPlace(file="a.jsonl", format="erniekit", share=0.3)}})
    config, base = load("smoke").config, Base(name="base@1", identity="b", files={})
    found = {train_args(config, each, Amount(32), base).identity for each in (given.dataset, place, more)}
    assert len(found) == 3
