"""Who holds a lease between machines: the real code under any order of its requests, with crashes, sleeps and losses.

Each machine runs :class:`sft.store.agreement.Claim` in a thread that stops before each request; hypothesis says who
goes on, how much time passes, who is killed, who sleeps, and when the dictionary loses what it has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sft.errors import LeaseHeld, TransientError
from sft.store import agreement
from sft.store.agreement import Claim, Entry, Known

PLACE = "/outputs/runs/x"


class Killed(BaseException):
    """The machine is gone: nothing of it runs any more."""


@dataclass
class Writes:
    """What was accepted, in order: (machine, fence)."""

    accepted: list[tuple[int, int]] = field(default_factory=list)


class World:
    """The dictionary, the volume's newest fence, the time, and which calls have ended."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.now = 1000.0
        self.ended: set[str] = set()
        self.writes = Writes()
        self.lost = False
        self.seen = Known()  # the last holder, by a file of the volume


class Machine:
    """A container: it takes the lease, writes some results under it, each behind a check, and gives it back."""

    def __init__(self, world: World, number: int, call_id: str, rounds: int = 2) -> None:
        self.world, self.number, self.call_id, self.rounds = world, number, call_id, rounds
        self.inside, self.outcome = False, ""
        self.killed = False
        self.unreachable = 0  # requests that still fail
        self.waits_until = 0.0
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.claim = Claim(self, PLACE, call_id, self._running, known=self._known, clock=self._clock, sleep=self._sleep)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def step(self) -> None:
        """Let it do its next request, up to right before the one behind it."""
        if not self.over:
            self._go.release()
            self._stopped.acquire()
        if not self._thread.is_alive() or self.outcome:
            self._thread.join()

    def kill(self) -> None:
        self.killed = True
        while not self.over:
            self.step()

    def _run(self) -> None:
        try:
            self._halt()
            self.claim.take()
            claim = self.claim
            if claim.number >= self.world.seen.number:  # published before it works
                self.world.seen = Known(claim.number, claim.chain, self.call_id, claim.token)
            self.inside = True
            for _ in range(self.rounds):
                self.claim.beat()
                self.claim.check()
                self.world.writes.accepted.append((self.number, self.claim.number))
            self.inside = False
            if self.world.seen.token == claim.token:
                self.world.seen = Known(claim.number)  # the file is removed before the lease is given back
            self.claim.release()
            self.outcome = "done"
        except LeaseHeld:
            self.outcome = "held" if not self.inside else "lost"
        except TransientError:
            self.outcome = "unreachable"
        except Killed:
            self.outcome = "killed"
        finally:
            self.inside = False
            self._stopped.release()

    def _halt(self) -> None:
        self._stopped.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def _ask(self) -> dict[str, Entry]:
        self._halt()
        if self.unreachable:
            self.unreachable -= 1
            raise TransientError("unreachable")
        return self.world.entries

    def add(self, key: str, value: Entry) -> bool:
        entries = self._ask()
        if key in entries:
            return False
        entries[key] = value
        return True

    def get(self, key: str) -> Entry | None:
        return self._ask().get(key)

    def put(self, key: str, value: Entry) -> None:
        self._ask()[key] = value

    def remove(self, key: str) -> None:
        self._ask().pop(key, None)

    def _running(self, call_id: str) -> bool:
        self._halt()
        return call_id not in self.world.ended

    def _known(self) -> Known:
        return self.world.seen

    def _clock(self) -> float:
        return self.world.now

    def _sleep(self, seconds: float) -> None:
        self.waits_until = self.world.now + seconds
        self._halt()


def finish(world: World, machines: list[Machine]) -> None:
    """Everybody goes on to the end, as the time passes."""
    for _ in range(4000):
        alive = [machine for machine in machines if not machine.over]
        if not alive:
            return
        for machine in alive:
            machine.step()
        world.now += 0.25
    raise AssertionError("somebody never came to an end")


def a_newcomer_gets_it(world: World) -> Machine:
    """No identity is stuck: when all calls have ended, the next one takes the lease within a minute."""
    before = world.now
    newcomer = Machine(world, 99, "fc-new")
    finish(world, [newcomer])
    assert newcomer.outcome == "done"
    assert world.now - before < 60
    return newcomer


def order_of(world: World) -> list[int]:
    order: list[int] = []
    for machine, _ in world.writes.accepted:
        if not order or order[-1] != machine:
            order.append(machine)
    return order


CALLS = ["fc-1", "fc-2", "fc-3"]
EVENTS = ("end", "kill", "fail", "lose all", "lose the root", "lose the entry")


def happen(world: World, machine: Machine, what: str) -> None:
    if what == "kill":
        machine.kill()
    elif what == "end":  # cancelled or over, by what Modal says; the machine may write on for a moment, or sleep
        world.ended.add(machine.call_id)
    elif what == "fail":
        machine.unreachable = 2
    elif what.startswith("lose") and not world.lost:
        world.lost = True  # once: see what remains possible
        parts = {"lose the root": [PLACE], "lose the entry": list(entries_of(world))[-1:]}
        for key in parts.get(what, list(world.entries)):
            world.entries.pop(key, None)


def entries_of(world: World) -> list[str]:
    return [key for key in world.entries if key.startswith(f"{PLACE}#")]


def check_now(world: World, machines: list[Machine]) -> None:
    inside = {machine.call_id for machine in machines if machine.inside and machine.call_id not in world.ended}
    assert world.lost or len(inside) <= 1, "two calls that run train at the same time"


def check_at_the_end(world: World, machines: list[Machine]) -> None:
    """Nobody waits for ever, nobody's write comes behind that of a later holder, and the next one gets the lease."""
    for machine in machines:
        machine.unreachable = 0
    finish(world, machines)
    world.ended.update(machine.call_id for machine in machines)
    newcomer = a_newcomer_gets_it(world)
    order = order_of(world)
    assert len(order) == len(set(order)), f"a write of one that had lost it was accepted: {order}"
    fences = [fence for _, fence in world.writes.accepted]
    assert fences == sorted(fences)
    assert newcomer.claim.number >= max(fences)


def go_on(world: World, machines: list[Machine], who: int, steps: int) -> None:
    for _ in range(steps):
        machines[who].step()
        check_now(world, machines)


TAKEN = 10  # requests of a machine until it holds the lease
ALL = 40


@pytest.mark.parametrize("calls", [CALLS[:2], ["fc-1", "fc-1"]], ids=["two calls", "one call on two machines"])
def test_every_order_of_two_with_up_to_three_switches(calls: list[str]) -> None:
    """One works so far, something happens, it works on a bit, the other works so far, the first goes on to its end."""
    schedules = [("", first, 0, second) for first in range(ALL // 2) for second in range(TAKEN + 4)]
    schedules += [(event, first, 0, second) for event in EVENTS for first in range(TAKEN) for second in (3, 5, 7, ALL)]
    schedules += [(event, first, more, ALL) for event in EVENTS for first in (9, 13, 17) for more in range(1, 8)]
    for event, first, more, second in schedules:
        world = World()
        machines = [Machine(world, number, call_id, rounds=2) for number, call_id in enumerate(calls)]
        try:
            go_on(world, machines, 0, first)
            happen(world, machines[0], event)
            go_on(world, machines, 0, more)
            go_on(world, machines, 1, second)
            go_on(world, machines, 0, ALL)
            check_at_the_end(world, machines)
        except AssertionError as error:
            raise AssertionError(f"{event or 'nothing'} after {first}, {more} more, then {second}: {error}") from error
        finally:
            for machine in machines:
                machine.kill()


# Who goes on, or what happens: most of it is going on.
HAPPENING = st.one_of(
    *[st.tuples(st.just("step"), st.integers(0, 2), st.integers(1, 12))] * 5,
    st.tuples(st.just("wait"), st.integers(0, 2), st.integers(1, 40)),
    st.tuples(st.sampled_from(EVENTS), st.integers(0, 2), st.just(0)),
)


@pytest.mark.parametrize("calls", [CALLS, ["fc-1", "fc-1", "fc-2"]], ids=["three calls", "one call on two machines"])
def test_no_interleaving_accepts_two_or_leaves_it_stuck(calls: list[str]) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(HAPPENING, max_size=40))
    def run(happenings: list[tuple[str, int, int]]) -> None:
        world = World()
        machines = [Machine(world, number, call_id) for number, call_id in enumerate(calls)]
        try:
            for what, who, much in happenings:
                world.now += much if what == "wait" else 0.1
                if what == "step":
                    go_on(world, machines, who, much)
                else:
                    happen(world, machines[who], what)
            check_at_the_end(world, machines)
        finally:
            for machine in machines:
                machine.kill()

    run()


@pytest.mark.parametrize("lost", ["lose the root", "lose the entry", "lose all"])
def test_what_is_lost_of_a_known_holder_is_put_back_by_whoever_comes(lost: str) -> None:
    """In the middle of its check, too, of which a part was read before: a second holder would write before it."""
    for steps in range(12):  # from its first write on, wherever it is
        world = World()
        first = Machine(world, 0, "fc-1", rounds=4)
        while not world.writes.accepted:
            first.step()
        for _ in range(steps):
            first.step()
        happen(world, first, lost)
        other = Machine(world, 1, "fc-2")
        finish(world, [other])
        assert other.outcome == "held", steps
        finish(world, [first])
        assert first.outcome == "done"


def held_by(world: World, machine: Machine) -> None:
    while not machine.inside:
        machine.step()


def test_who_slept_while_its_call_ended_writes_nothing_any_more() -> None:
    world = World()
    first = Machine(world, 1, "fc-1")
    held_by(world, first)
    world.ended.add("fc-1")
    second = Machine(world, 2, "fc-2")
    finish(world, [second])
    assert second.outcome == "done"
    finish(world, [first])
    assert first.outcome == "lost"
    assert [machine for machine, _ in world.writes.accepted] == [2, 2]


def test_a_cancelled_call_whose_machine_still_works_is_waited_for() -> None:
    world = World()
    first = Machine(world, 1, "fc-1", rounds=30)
    held_by(world, first)
    world.ended.add("fc-1")
    second = Machine(world, 2, "fc-2")
    for _ in range(200):  # both go on
        first.step()
        second.step()
        world.now += 0.1
        assert not (first.inside and second.inside)
    finish(world, [first, second])
    assert (first.outcome, second.outcome) == ("done", "done")
    assert order_of(world) == [1, 2]


@pytest.mark.parametrize("lost", ["all of it", "the root", "the holder's entry"])
def test_a_dictionary_that_lost_something_is_mended_by_the_holder(lost: str) -> None:
    world = World()
    first = Machine(world, 1, "fc-1")
    held_by(world, first)
    keys = {"all of it": list(world.entries), "the root": [PLACE]}
    for key in keys.get(lost, [key for key in world.entries if "#" in key]):
        del world.entries[key]
    for _ in range(12):
        first.step()
    second = Machine(world, 2, "fc-2")
    for _ in range(12):
        second.step()
    assert second.outcome == "held"
    finish(world, [first])
    assert first.outcome == "done"


def test_an_answer_that_was_lost_is_no_stranger() -> None:
    """The client asks again after a cut; the server had done it, and says that the key is there."""
    world = World()
    machine = Machine(world, 1, "fc-1")
    add = machine.add

    def cut(key: str, value: Entry) -> bool:
        add(key, value)
        return False

    machine.add = cut  # type: ignore[method-assign]
    finish(world, [machine])
    assert machine.outcome == "done"


def test_a_chain_does_not_grow_for_ever() -> None:
    world = World()
    for number in range(4 * agreement.LONG):
        machine = Machine(world, number, f"fc-{number}")
        finish(world, [machine])
        world.ended.add(machine.call_id)
        assert machine.outcome == "done"
    chain = world.entries[PLACE]["chain"]
    assert sum(f"#{chain}#" in key for key in world.entries) <= agreement.LONG + 1
    fences = [fence for _, fence in world.writes.accepted]
    assert fences == sorted(fences)


def test_one_that_cannot_be_reached_is_asked_again_but_not_for_ever() -> None:
    asked: list[int] = []

    def body(good_after: int) -> Callable[[], None]:
        def ask() -> None:
            asked.append(1)
            if len(asked) < good_after:
                raise TransientError("unreachable")

        return ask

    agreement.patient(body(3), 60, sleep=lambda seconds: None)
    assert len(asked) == 3
    with pytest.raises(TransientError):
        agreement.patient(body(10_000), 0)
