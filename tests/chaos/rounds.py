"""One round: a run is disturbed at random moments, then triggered again undisturbed, and nothing may be lost.

Everything is real: orchestrators are ``sft run`` processes, jobs and trainers are processes or containers of the
stand-in for Modal, and what is killed is killed by SIGKILL.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from grpclib import Status

from sft.store import records, usage
from sft.store.checkpoints import listed
from tests.support.living import TRAINER
from tests.support.modal_server import RPCS, ModalServer

STEPS, SAVE = 14, 3
SFT = str(Path(sys.executable).with_name("sft"))
CANCELLED = 10  # seconds within which a cancelled run's job must be gone
ARGUMENTS = "MODAL_CONTAINER_ARGUMENTS_PATH"  # of a container, below its round's folder
LONGEST = 480  # seconds until a process is given up
NEVER_FAULTY = {"ClientHello", "ContainerHello"}  # asked once, before there is anything to retry
SETTINGS = (
    "dataset.digits.train_rows=64",
    "dataset.digits.held_out_rows=4",
    f"train.max_steps={STEPS}",
    "train.warmup_steps=2",
    "train.batch_size=4",
    f"train.save_steps={SAVE}",
    "train.logging_steps=1",
    "train.restarts=1",
    "promote.min_rows=2",
    "promote.check_rows=4",
)


@dataclass
class Outcome:
    """What a round came to: seconds from a rerun's start to "attached", and from a cancel to the job's end."""

    seed: int
    place: str
    faults: list[str] = field(default_factory=list)
    weather: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    attach: list[float] = field(default_factory=list)
    cancel: list[float] = field(default_factory=list)
    seconds: float = 0.0
    loss: float | None = None


class Watch:
    """Looks all the time how many trainers work below a folder: never two."""

    def __init__(self, home: Path) -> None:
        self.most = 0
        self._home, self._stop = str(home), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.15):
            self.most = max(self.most, len(trainers(self._home)))

    def end(self) -> int:
        """The highest number seen."""
        self._stop.set()
        self._thread.join()
        return self.most


def below(home: str) -> list[psutil.Process]:
    """Processes that work for a round: those that name its folder, those whose working directory lies in it, and what
    runs in its containers."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            named = home in " ".join(process.cmdline()) or process.cwd().startswith(home)
            if named or process.environ().get(ARGUMENTS, "").startswith(home):
                found.append(process)
    return found


def trainers(home: str) -> list[psutil.Process]:
    """Living trainers of a round. A container's trainer shows the mount's paths, but works in the round's folder."""
    found: dict[int, psutil.Process] = {}
    for process in below(home):
        with suppress(psutil.Error, OSError):
            if TRAINER in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
    alone = []
    for process in found.values():
        with suppress(psutil.Error):
            if process.ppid() not in found:  # a child between fork and exec still has its parent's command line
                alone.append(process)
    return alone


class Round:
    """The state of one round in a folder of its own."""

    def __init__(self, seed: int, home: Path, api: str, place: str) -> None:
        self.draw = random.Random(seed)
        self.home, self.api = home, api
        self.outcome = Outcome(seed, place)
        self.server: ModalServer | None = None
        self.started: list[subprocess.Popen[bytes]] = []
        if place == "modal":
            self.server = ModalServer(home / "server")
            self.server.state.mkdir(parents=True)
            self.server.start()

    def environment(self) -> dict[str, str]:
        own = {"SFT_HOME": str(self.home / "state"), "PREFECT_API_URL": self.api, "PYTHONWARNINGS": "ignore"}
        if self.server is not None:
            own |= {"MODAL_SERVER_URL": self.server.url, "MODAL_TOKEN_ID": "ak", "MODAL_TOKEN_SECRET": "as"}
            own["MODAL_CONFIG_PATH"] = str(self.home / "modal.toml")
        return {**os.environ, **own}

    def weather(self) -> None:
        """How the volumes behave in this round, and which clock the containers have (see tests/support/modal_volumes).

        Slow is 3 s a commit; lost: the answer does not come although the commit was made; refused: it was not made.
        """
        assert self.server is not None
        rules, draw, told = self.server.rules, self.draw, []
        rules.commit_seconds = draw.choice([0.0, 0.3, 3.0])
        rules.reload_seconds = draw.choice([0.0, 0.3])
        rules.background = draw.choice([None, 2.0])
        # Not both: what is written between a commit and the reload behind it would be gone, whoever wrote it.
        rules.reload_after_commit = draw.random() < 0.3
        rules.reload_drops = draw.random() < 0.5 and not rules.reload_after_commit
        told += [f"commits take {rules.commit_seconds} s"] if rules.commit_seconds else []
        told += [name for name in ("reload_after_commit", "reload_drops") if getattr(rules, name)]
        told += ["no background commits"] if rules.background is None else []
        if draw.random() < 0.4:
            self.server.cut.update({name: draw.randint(1, 3) for name in ("VolumeCommit", "VolumeReload")})
            told.append("lost answers")
        if draw.random() < 0.4:
            busy = ("VolumeReload", Status.FAILED_PRECONDITION), ("VolumeCommit", Status.ABORTED)
            self.server.refused_once += [draw.choice(busy) for _ in range(draw.randint(1, 4))]
            told.append("refused commits and reloads")
        if draw.random() < 0.25:
            self.server.environment["STAND_IN_CLOCK"] = str(draw.choice([-86_400, 86_400]))
            told.append("the containers' clock is a day apart")
        self.outcome.weather = told

    def deploy(self) -> None:
        """Functions at the stand-in for Modal; the wheels are small files: nothing installs them here."""
        from tests.support.modal_runs import DEPLOY, write_wheels

        command = [sys.executable, "-c", DEPLOY, *write_wheels(self.home)]
        subprocess.run(command, cwd=self.home, env=self.environment(), check=True, capture_output=True)

    def trigger(self) -> tuple[subprocess.Popen[bytes], Path]:
        """``sft run smoke`` in a process of its own; its terminal goes to a file."""
        log = self.home / f"orchestrator-{len(self.started)}.log"
        place = ("compute=modal", "modal.gpu=none") if self.server else ()
        settings = [part for setting in (*SETTINGS, *place) for part in ("--set", setting)]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [SFT, "run", "smoke", *settings], cwd=self.home, env=self.environment(), stdout=out, stderr=out
            )
        self.started.append(process)
        return process, log

    def outputs(self) -> Path:
        if self.server is not None:
            return self.server.volumes_folder / "vo-paddleocr-vl-outputs"
        return self.home / "state" / "volumes" / "outputs"

    def run_folder(self) -> Path | None:
        return next(iter(sorted((self.outputs() / "runs").glob("*"))), None)

    def wait(self, seconds: float, process: subprocess.Popen[bytes] | None = None) -> None:
        """Let time pass; less, where the process ends."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (process is None or process.poll() is None):
            time.sleep(0.05)

    def wait_for(self, log: Path, text: str, process: subprocess.Popen[bytes], seconds: float = 60) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            if text in log.read_text(errors="replace"):
                return True
            time.sleep(0.05)
        return False

    # Faults: each lets something happen to a run that works, and leaves it to the next trigger.

    def kill_orchestrator(self) -> None:
        process, log = self.trigger()
        self.wait(self.draw.uniform(0, 16), process)
        process.kill()
        process.wait()
        started = b"train: started call" in log.read_bytes()
        if started and (self.run_folder() or Path()).joinpath("lease.json").exists():
            begun = time.monotonic()
            again, log = self.trigger()
            if self.wait_for(log, "attached to call", again):
                self.outcome.attach.append(time.monotonic() - begun)
            self.wait(self.draw.uniform(0, 4), again)
            again.kill()
            again.wait()

    def kill_job(self) -> None:
        process, log = self.trigger()
        self.wait_for(log, "train: started call", process)
        self.wait(self.draw.uniform(0, 8), process)
        if self.server is not None:
            for call in list(self.server.calls.values()):
                if call.container is not None and not call.done.is_set():
                    call.container.kill()
        else:
            for folder in (self.home / "state" / "calls").glob("train-*"):
                with suppress(OSError, ValueError):
                    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
        self._end(process)

    def kill_trainer(self) -> None:
        process, log = self.trigger()
        self.wait_for(log, "train: started call", process)
        self.wait(self.draw.uniform(2, 9), process)
        for trainer in trainers(str(self.home)):
            with suppress(psutil.Error):
                trainer.kill()
        self._end(process)

    def kill_everything(self) -> None:
        """As a power cut."""
        process, _ = self.trigger()
        self.wait(self.draw.uniform(0, 16), process)
        self._cut_power(process)

    def _cut_power(self, process: subprocess.Popen[bytes]) -> None:
        for victim in below(str(self.home)):
            with suppress(psutil.Error):
                victim.kill()
        process.wait()

    def tear_checkpoint(self) -> None:
        """After a power cut the newest checkpoint has lost the end of one of its files."""
        process, _ = self.trigger()
        end = time.monotonic() + LONGEST
        while not self._checkpoints() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        self.wait(self.draw.uniform(0, 3), process)
        self._cut_power(process)
        if found := self._checkpoints():
            files = [p for p in sorted(found[-1][1].iterdir()) if p.is_file() and p.stat().st_size]
            torn = self.draw.choice(files)
            os.truncate(torn, self.draw.randrange(torn.stat().st_size))
            self.outcome.faults.append(f"torn {torn.name}")

    def _checkpoints(self) -> list[tuple[int, Path]]:
        folder = self.run_folder()
        return listed(folder / "trainer") if folder else []

    def cancel(self) -> None:
        process, log = self.trigger()
        self.wait_for(log, "train: started call", process)
        self.wait(self.draw.uniform(0, 8), process)
        if process.poll() is not None:
            return
        begun, working = time.monotonic(), len(below(str(self.home))) > 1
        process.send_signal(self.draw.choice([signal.SIGINT, signal.SIGTERM]))
        while [p for p in below(str(self.home)) if p.pid != process.pid] and time.monotonic() - begun < 30:
            time.sleep(0.05)
        if working:
            self.outcome.cancel.append(time.monotonic() - begun)
            if self.outcome.cancel[-1] > CANCELLED:
                self.outcome.problems.append(f"the job died {self.outcome.cancel[-1]:.1f} s after the cancel")
        self._end(process)

    def two_triggers(self) -> None:
        pair = [self.trigger()[0] for _ in range(2)]
        self.wait(self.draw.uniform(4, 20), pair[0])
        for process in pair:
            process.kill()
            process.wait()

    def jump_of_the_clock(self) -> None:
        """What the clock wrote lies a day ahead or back: leases, heartbeats, pointers."""
        self.kill_orchestrator()
        shift = self.draw.choice([-86_400, 86_400])
        for path in (*self.outputs().rglob("lease.json"), *self.outputs().glob("calls/*.json")):
            content = records.read_json(path)
            if isinstance(content, dict):
                moved = {k: v + shift if k in ("heartbeat", "started") else v for k, v in content.items()}
                records.write_json(path, moved)

    def failing_requests(self) -> None:
        assert self.server is not None
        names = self.draw.sample([name for name in RPCS if name not in NEVER_FAULTY], 8)
        self.server.faults.update({name: self.draw.randint(1, 3) for name in names})
        self.outcome.faults.append("UNAVAILABLE " + ", ".join(sorted(names)))
        self.kill_orchestrator()

    def slow_requests(self) -> None:
        assert self.server is not None
        self.server.delay = self.draw.uniform(0.05, 0.6)
        self.kill_orchestrator()
        self.server.delay = 0.0

    def preempt(self) -> None:
        assert self.server is not None
        process, log = self.trigger()
        self.wait_for(log, "train: started call", process)
        self.wait(self.draw.uniform(1, 8), process)
        for call in list(self.server.calls.values()):
            running = call.container is not None and call.container.process is not None and not call.done.is_set()
            if running and "train" in call.function_id and call.container is not None:
                call.container.preempt()
        self.wait(self.draw.uniform(0, 8), process)
        process.kill()
        process.wait()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self.outcome.problems.append("an orchestrator did not end")
            process.kill()
            process.wait()

    def play(self) -> Outcome:
        """Disturb, run undisturbed, check."""
        begun = time.monotonic()
        watch = Watch(self.home)
        try:
            if self.server is not None:
                self.deploy()
                self.weather()
            for name in self.draw.sample(self.kinds(), self.draw.randint(1, 2)):
                self.outcome.faults.append(name)
                getattr(self, name)()
            self._last(watch)
        finally:
            self._clean()
        self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    def kinds(self) -> list[str]:
        """The faults that this place knows."""
        common = ["kill_orchestrator", "kill_job", "kill_everything", "tear_checkpoint", "cancel", "two_triggers"]
        if self.server is not None:
            return [*common, "failing_requests", "slow_requests", "preempt"]
        return [*common, "kill_trainer", "jump_of_the_clock"]

    def _last(self, watch: Watch) -> None:
        process, log = self.trigger()
        self._end(process)
        most = watch.end()
        say: Callable[[str], None] = self.outcome.problems.append
        if process.returncode != 0:
            say(f"the last run ended with {process.returncode}: {log.read_text(errors='replace')[-800:]}")
            return
        if most > 1:
            say(f"{most} trainers worked at the same time")
        folders = sorted((self.outputs() / "runs").glob("*"))
        if len(folders) != 1:
            say(f"{len(folders)} trainings instead of one")
        self._check_training(folders[0])

    def _check_training(self, folder: Path) -> None:
        say: Callable[[str], None] = self.outcome.problems.append
        record = records.read_record(folder)
        if record is None:
            say("no record of the training")
            return
        self.outcome.loss = record["loss"]
        if broken := records.broken_files(folder / "model", record["model"]):
            say(f"the model does not verify: {broken}")
        steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        if steps != list(range(1, STEPS + 1)):
            say(f"the curve is not each step once: {steps}")
        notes = sorted((self.outputs() / usage.FOLDER).rglob("*.json"))
        calls = [u for u in map(usage.Usage.model_validate_json, map(Path.read_text, notes)) if u.job == "train"]
        if any(later.began < earlier.seen - 1 for earlier, later in pairwise(calls)) or not calls:
            say(f"calls that were billed at the same time, or none: {calls}")
        for starts, resumed in trained(self._logs()):
            if starts != resumed + 1:
                say(f"trained from step {starts}, although it resumed from {resumed}")
        results = [path for path in (self.home / "models").iterdir() if not path.name.startswith(".")]
        (synced,) = [path for path in results if not path.is_symlink()]
        for link in results:
            if link.is_symlink() and link.resolve() != (synced / "model").resolve():
                say(f"the champion's link leads to {link.resolve()}")
        if records.broken_files(synced / "model", record["model"]):
            say("the copy on this machine does not verify")

    def _logs(self) -> list[str]:
        if self.server is not None:
            return [c.log.decode("utf-8", "replace") for c in self.server.calls.values() if "train" in c.function_id]
        folders = (self.home / "state" / "calls").glob("train-*")
        return [(folder / "log.txt").read_text(errors="replace") for folder in folders]

    def _clean(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        for victim in below(str(self.home)):
            with suppress(psutil.Error):
                victim.kill()
        if self.server is not None:
            self.server.stop()


def trained(logs: list[str]) -> list[tuple[int, int]]:
    """(first step trained, checkpoint resumed from or 0) of each time that a trainer was started."""
    found: list[tuple[int, int]] = []
    for log in logs:
        resumed, waiting = 0, False
        for line in log.splitlines():
            event: dict[str, Any] = json.loads(line[5:]) if line.startswith("@sft {") else {}
            if event.get("event") == "start":
                resumed, waiting = 0, True
            elif event.get("event") == "resume":
                resumed = int(event["checkpoint"].rpartition("-")[2])
            elif event.get("event") == "progress" and waiting:
                found.append((event["step"], resumed))
                waiting = False
    return found


def play(seed: int, folder: Path, api: str, place: str, *, keep: bool = False) -> Outcome:
    """Play a round in ``folder/seed``; the folder of a good round is removed."""
    home = folder / f"round-{seed}"
    home.mkdir(parents=True)
    outcome = Round(seed, home, api, place).play()
    if not outcome.problems and not keep:
        shutil.rmtree(home, ignore_errors=True)
    return outcome


def summary(outcomes: list[Outcome]) -> str:
    """Counts of faults, times, and every problem with its seed."""
    kinds = Counter(name.split(" ")[0] for outcome in outcomes for name in outcome.faults)
    weather = Counter(name for outcome in outcomes for name in outcome.weather)
    losses = [outcome.loss for outcome in outcomes if outcome.loss is not None]
    lines = [f"{len(outcomes)} rounds, {sum(bool(o.problems) for o in outcomes)} with problems"]
    lines += [f"  {count:4} × {kind}" for kind, count in kinds.most_common()]
    lines += [f"  {count:4} rounds with: {name}" for name, count in weather.most_common()]
    for name in ("attach", "cancel"):
        values = sorted(value for outcome in outcomes for value in getattr(outcome, name))
        if values:
            p95 = values[min(len(values) - 1, int(0.95 * len(values)))]
            lines.append(f"  {name}: {len(values)} times, median {values[len(values) // 2]:.1f} s, p95 {p95:.1f} s")
    if losses:
        lines.append(f"  last loss: {min(losses):.4f} to {max(losses):.4f}")
    lines += [f"  seed {o.seed} ({o.place}): {problem}" for o in outcomes for problem in o.problems]
    return "\n".join(lines)
