"""What a comparison of models came to, as text. Needs no Prefect."""

from __future__ import annotations

from sft.store.contents import Compared, Scored

HEAD = ("model", "rows", "CER (95 %)", "error (95 %)", "WER", "exactly right", "empty", "runaway")


def table(record: Compared) -> list[str]:
    """The scores in all, a Markdown line for each model; by task where there is more than one; the differences."""
    tasks = [name for name in next(iter(record["scores"].values())) if name != "all"]
    lines = _scores(record, "all")
    for task in tasks if len(tasks) > 1 else ():
        lines += ["", f"**{task}**", "", *_scores(record, task)]
    if record["differences"]:
        reference = record["models"][0]
        lines += [
            "",
            f"| minus {reference} | metric | difference | 95 % interval | better in |",
            "|---|---|---:|---:|---:|",
        ]
    for model in record["models"][1:]:  # a record's keys are sorted
        changes = record["differences"][model]
        for metric in ("cer", "error"):
            change = changes["all"][metric]
            interval = f"{change['low']:+.4f} to {change['high']:+.4f}"
            better = f"{100 * change['better']:.1f} % of draws"
            lines.append(f"| {model} | {metric} | {change['value']:+.4f} | {interval} | {better} |")
    return lines


def _scores(record: Compared, group: str) -> list[str]:
    rows = [_row(model, record["scores"][model][group]) for model in record["models"]]
    return [f"| {' | '.join(HEAD)} |", f"|---|{'---:|' * (len(HEAD) - 1)}", *rows]


def _row(model: str, scores: Scored) -> str:
    cells = [model, str(scores["rows"]), _between(scores, "cer"), _between(scores, "error"), f"{scores['wer']:.3f}"]
    cells += [f"{100 * scores['exact']:.1f} %", str(scores["empty"]), str(scores["runaway"])]
    return f"| {' | '.join(cells)} |"


def _between(scores: Scored, metric: str) -> str:
    value = scores["cer"] if metric == "cer" else scores["error"]
    low, high = scores["intervals"].get(metric, (value, value))
    return f"{value:.3f} ({low:.3f}-{high:.3f})"


def conclusion(record: Compared) -> list[str]:
    """What each other model is to the first, in words."""
    first, lines = record["models"][0], []
    for model in record["models"][1:]:
        change = record["differences"][model]["all"]["error"]
        sure = "better" if change["high"] < 0 else "worse" if change["low"] > 0 else ""
        said = f"is {sure} than {first}" if sure else f"is neither better nor worse than {first} beyond chance"
        interval = f"[{change['low']:+.3f}, {change['high']:+.3f}]"
        lines.append(f"{model} {said}: error {change['value']:+.3f} {interval}")
    return lines
