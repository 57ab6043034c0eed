"""Several cards at work on one job: two processes on the CPU, that talk as those of graphics cards do."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from void_server.api.errors import JobCancelled, JobFailed
from void_server.engines.void import team
from void_server.engines.void.kept import EVERY, KeptTensors, Progress, Underway
from void_server.engines.void.memory import LOW
from void_server.engines.void.message import Message
from void_server.engines.void.model import Model, cards_beside
from void_server.engines.void.sampling import Conditioning, Order, Sampler, embed, starting_noise
from void_server.engines.void.team import Group
from void_server.engines.void.weights import Weights
from void_server.engines.void.windows import plan
from void_server.interpreter import running

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(weights: Path) -> Model:
    return Model(Weights(weights), CPU)


@pytest.fixture(scope="module")
def pair(weights: Path) -> Any:
    made = Model(Weights(weights), CPU, helpers=(CPU,))
    yield made
    made.send_helpers_away()


def sampler(model: Model, length: int, **changes: Any) -> Sampler:
    prompt, negative = embed(model, "a lime falls", "").split(1)
    guided = changes.get("guidance", 1.0) > 1
    options = {"number": 1, "plan": plan(length, 6), "steps": 3, "guidance": 1.0, **changes}
    return Sampler(prompt=prompt, negative=negative if guided else None, **options)


def given(length: int, height: int = 4, width: int = 6) -> tuple[torch.Tensor, Conditioning]:
    torch.manual_seed(1)
    shape = 1, 16, length, height, width
    return starting_noise((1, length, 16, height, width), 1), Conditioning(torch.randn(shape), torch.randn(shape))


def helper_of(pair: Model) -> subprocess.Popen[bytes]:
    assert pair._team is not None
    return pair._team._helpers[0]


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs().max() < 1e-5 * other.abs().max())


@pytest.mark.parametrize(
    ("length", "size", "guidance", "splits"),
    [
        # one window, whose tokens are split: 18 among two, and 15 as 8 and 7
        (6, (4, 6), 1.0, True),
        (6, (2, 10), 1.0, True),
        # two windows; the halves of one; three windows of one call each; published, of which the last is shorter
        (8, (4, 6), 1.0, False),
        (6, (4, 6), 6.0, False),
        (10, (4, 6), 1.0, True),
        (10, (4, 6), 6.0, False),
    ],
)
def test_two_processes_make_what_one_makes(
    model: Model, pair: Model, length: int, size: tuple[int, int], guidance: float, splits: bool
) -> None:
    noise, conditions = given(length, *size)
    one = sampler(model, length, guidance=guidance)
    alone = one.run(model, noise, conditions, lambda *_: None)
    steps: list[int] = []
    both = one.run(pair, noise, conditions, lambda done, _: steps.append(done))
    assert one._splits(pair) == splits
    assert close(both, alone)
    assert steps == [0, 1, 2, 3]


def test_windows_of_different_lengths_and_caches_are_shared_out(model: Model, pair: Model) -> None:
    noise, conditions = given(14)
    shorter = plan(14, 8, published=True)
    assert shorter.windows[-1] == (8, 14)
    for changes in ({"plan": shorter, "guidance": 6.0}, {"fast": True}, {"fast": True, "guidance": 6.0}):
        one = sampler(model, 14, **changes)
        assert not one._splits(pair)
        assert close(
            one.run(pair, noise, conditions, lambda *_: None), one.run(model, noise, conditions, lambda *_: None)
        )


def test_each_card_does_its_share_and_no_more(pair: Model) -> None:
    """The leader's own transformer sees half of the tokens, and half of the windows."""
    seen: list[int] = []
    block = pair.transformer(1).transformer_blocks[-1]
    hook = block.ff.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    try:
        for length in (6, 8):
            noise, conditions = given(length)
            sampler(pair, length, steps=1).run(pair, noise, conditions, lambda *_: None)
    finally:
        hook.remove()
    text = pair.tokens
    assert seen == [text + 9, text + 18]


def test_what_stops_a_sampling_ends_the_helpers_and_it_goes_on_with_new_ones(
    model: Model, pair: Model, tmp_path: Path
) -> None:
    noise, conditions = given(6)
    one = sampler(model, 6, steps=7)
    progress = Progress(KeptTensors(tmp_path / "latents.safetensors", {}))

    def stop(done: int, _: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.run(pair, noise, conditions, stop, progress)
    assert pair.group is None
    steps: list[int] = []
    resumed = one.run(pair, noise, conditions, lambda done, _: steps.append(done), progress)
    assert steps == [5, 6, 7]
    assert close(resumed, one.run(model, noise, conditions, lambda *_: None))


@pytest.mark.parametrize("step", [0, 2])
def test_a_helper_that_dies_is_a_sentence_and_the_next_job_works(model: Model, pair: Model, step: int) -> None:
    noise, conditions = given(6)
    one = sampler(model, 6)
    one.run(pair, noise, conditions, lambda *_: None)

    def kill(done: int, _: int) -> None:
        if done == step:
            helper = helper_of(pair)
            os.kill(helper.pid, signal.SIGKILL)
            helper.wait()

    with pytest.raises(JobFailed, match="samples on another CPU has ended"):
        one.run(pair, noise, conditions, kill)
    assert close(one.run(pair, noise, conditions, lambda *_: None), one.run(model, noise, conditions, lambda *_: None))


def test_a_helper_that_cannot_start_is_a_sentence(pair: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once, rather than when everybody has waited for it to join."""
    pair.send_helpers_away()
    (tmp_path / "diffusers.py").write_text("raise ImportError('a broken installation')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    noise, conditions = given(6)
    with pytest.raises(JobFailed, match="samples on another CPU has ended"):
        sampler(pair, 6).run(pair, noise, conditions, lambda *_: None)
    assert pair.group is None


def test_a_helper_that_ends_before_it_joins_is_a_sentence_at_once_and_the_next_job_works(
    model: Model, pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has said that it is ready, so the others are on their way to meet it."""
    pair.send_helpers_away()
    ends = "import os; from void_server.engines.void import helper; "
    ends += "helper.Group.join = lambda *_: os._exit(7); helper.main()"
    noise, conditions = given(6)
    one = sampler(pair, 6)
    waited = threading.Event()
    with monkeypatch.context() as started:
        started.setattr(
            team,
            "_started",
            lambda: subprocess.Popen([sys.executable, "-c", ends], stdin=subprocess.PIPE, stdout=subprocess.PIPE),
        )
        real = team.Group.join

        def join(*what: Any) -> team.Group:
            try:
                return real(*what)
            finally:
                waited.set()

        started.setattr(team.Group, "join", join)
        with pytest.raises(JobFailed, match="samples on another CPU has ended") as told:
            one.run(pair, noise, conditions, lambda *_: None)
    assert not waited.is_set(), "the leader waited until its patience ended"
    assert told.value.detail == "exit status 7"
    assert pair.group is None
    assert close(one.run(pair, noise, conditions, lambda *_: None), one.run(model, noise, conditions, lambda *_: None))


def test_a_lost_helper_is_told_where_its_card_can_no_longer_say_its_name(
    pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits must be let go, whatever the driver says by then."""
    noise, conditions = given(6)
    one = sampler(pair, 6)
    one.run(pair, noise, conditions, lambda *_: None)

    def lost(_: torch.device) -> str:
        raise RuntimeError("CUDA error: the launch failed")

    def kill(done: int, _: int) -> None:
        if done == 1:
            monkeypatch.setattr(team, "_named", lost)
            helper_of(pair).kill()

    with pytest.raises(JobFailed, match="samples on another CPU has ended"):
        one.run(pair, noise, conditions, kill)
    assert pair.group is None


def test_a_helper_killed_while_others_wait_for_it_is_a_sentence_that_names_its_card(
    pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise, conditions = given(6)
    one = sampler(pair, 6)
    one.run(pair, noise, conditions, lambda *_: None)
    helper = helper_of(pair)
    waiting = threading.Event()
    real = dist.all_to_all_single

    def noted(*what: Any, **options: Any) -> None:
        waiting.set()
        real(*what, **options)

    def freeze(done: int, _: int) -> None:
        # its part of this step will never come
        if done == 1:
            helper.send_signal(signal.SIGSTOP)
            monkeypatch.setattr(dist, "all_to_all_single", noted)

    killing = threading.Thread(target=lambda: (waiting.wait(), helper.kill()), daemon=True)
    killing.start()
    with pytest.raises(JobFailed, match="samples on another CPU has ended") as told:
        one.run(pair, noise, conditions, freeze)
    killing.join()
    assert told.value.detail == "exit status -9"
    assert pair.group is None


def test_what_was_given_up_is_never_taken_for_latents(
    pair: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on cards: a call that waits for the lost ends when the group is given up, with no error and no data."""
    noise, conditions = given(6)
    one = sampler(pair, 6, steps=EVERY)
    one.run(pair, noise, conditions, lambda *_: None)
    helper = helper_of(pair)
    given_up = threading.Event()
    waited: list[bool] = []
    abort = dist.distributed_c10d._abort_process_group

    def noted() -> None:
        abort()
        given_up.set()

    def deaf(*_: Any, **__: Any) -> None:
        helper.kill()
        waited.append(given_up.wait(60))

    monkeypatch.setattr(dist.distributed_c10d, "_abort_process_group", noted)
    for call in ("broadcast", "all_gather", "all_to_all_single"):
        monkeypatch.setattr(dist, call, deaf)
    progress = Progress(KeptTensors(tmp_path / "latents.safetensors", {}))
    with pytest.raises(JobFailed, match="samples on another CPU has ended"):
        one.run(pair, noise, conditions, lambda *_: None, progress)
    assert waited, "the leader never waited for its helper"
    assert all(waited), "nobody gave up what the helper had promised"
    assert progress.read() is None


def test_cancelling_gives_up_the_talk_before_it_ends_the_processes_and_leaves_nothing(
    pair: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that reads another's memory must stop first. The helper is in the middle of its step meanwhile."""
    noise, conditions = given(6)
    alive: list[bool] = []
    abort = dist.distributed_c10d._abort_process_group

    def noted() -> None:
        alive.append(helper.poll() is None)
        abort()

    def cancel(done: int, _: int) -> None:
        if done == 1:
            raise JobCancelled("stopped")

    one = sampler(pair, 6)
    one.run(pair, noise, conditions, lambda *_: None)
    helper, one_team = helper_of(pair), pair._team
    monkeypatch.setattr(dist.distributed_c10d, "_abort_process_group", noted)
    with pytest.raises(JobCancelled):
        one.run(pair, noise, conditions, cancel)
    assert alive == [True]
    assert one_team is not None
    assert not Path(one_team._folder.name).exists()
    assert helper.poll() == -9
    assert not any(watcher.is_alive() for watcher in one_team._watchers)
    assert pair._team is None
    assert not dist.is_initialized()


def test_helpers_make_the_leaders_model(weights: Path) -> None:
    leader = Model(Weights(weights), CPU, LOW, compiled=True, float8=True, precision=torch.bfloat16)
    helper = Model.of(json.loads(json.dumps(leader._described)), CPU, Group(1, 2))
    assert helper == replace(leader, group=helper.group)


def test_orders_arrive_as_they_were_sent() -> None:
    torch.manual_seed(2)
    negative, latents = torch.randn(1, 4, 8).to(torch.bfloat16), torch.randn(1, 8, 16, 2, 3)
    # DPM-Solver++ may remember the very latents
    memory = {"bytes": torch.arange(9, dtype=torch.uint8), "predicted": latents * 2, "the same": latents}
    begun = Underway(5, latents, memory)
    conditions = Conditioning(latents.transpose(1, 2), -latents.transpose(1, 2))
    one = Sampler(2, plan(8, 6), 7, 6.0, negative + 1, negative, 0.5, fast=True, solver="dpm", seed=2**32 - 1, first=3)
    pipe = io.BytesIO()
    Order(one, "native", conditions, begun).message().send(pipe)
    pipe.seek(0)
    order = Order.of(Message.receive(pipe))
    assert replace(order.sampler, prompt=one.prompt, negative=one.negative) == one
    assert order.backend == "native"
    assert order.begun.done == 5
    pairs = [
        (order.sampler.prompt, one.prompt),
        (order.sampler.negative, negative),
        (order.conditions.mask, conditions.mask),
        (order.conditions.video, conditions.video),
        (order.begun.latents, latents),
        *((order.begun.memory[name], tensor) for name, tensor in begun.memory.items()),
    ]
    for found, sent in pairs:
        assert found is not None
        assert found.dtype == sent.dtype
        assert torch.equal(found, sent)
    with pytest.raises(EOFError):
        Message.receive(pipe)


def test_nothing_that_a_helper_is_told_ever_runs(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    command = running("void_server.engines.void.helper")
    helper = subprocess.run(command, input=pickle.dumps(Harmful()) + b"\n", capture_output=True, timeout=300)
    assert helper.returncode == 1
    assert not (tmp_path / "ran").exists()


def test_helpers_end_with_their_leader(pair: Model) -> None:
    noise, conditions = given(6)
    sampler(pair, 6, steps=1).run(pair, noise, conditions, lambda *_: None)
    helper = helper_of(pair)
    assert helper.stdin is not None
    # as it is when the leader was killed
    helper.stdin.close()
    assert helper.wait(timeout=60) == 1
    pair.send_helpers_away()


def test_a_job_takes_all_cards_that_it_was_given_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    first = torch.device("cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,3")
    assert cards_beside("auto", first) == (torch.device("cuda:1"), torch.device("cuda:2"))
    assert cards_beside("cuda:1", torch.device("cuda:1")) == ()
    assert cards_beside("auto", CPU) == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert cards_beside("auto", first) == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert cards_beside("auto", first) == (), "how many are its own, nobody has said"
