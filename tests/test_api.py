"""Shots, jobs and errors survive their way through messages."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from void_server.api import Job, JobState, Progress, Prompt, Settings, Shot, messages
from void_server.api.errors import ProtocolError, SettingError, UnknownJob, VoidError, from_dict

points = st.tuples(st.floats(0, 9e4), st.floats(0, 9e4))
prompts = st.builds(
    Prompt, frame=st.integers(-(2**31), 2**31), kind=st.sampled_from(["point", "not"]), at=points
) | st.builds(Prompt, frame=st.just(7), kind=st.just("box"), at=st.just((1.0, 2.0, 3.0, 4.0)), object=st.integers(1, 9))
shots = st.builds(
    Shot,
    plate=st.text(min_size=1).filter(str.strip),
    roto=st.text(min_size=1),
    prompts=st.lists(prompts).map(tuple),
    frames=st.none() | st.text(),
    prompt=st.text(),
    settings=st.builds(
        Settings, feather=st.floats(0, 200), seed=st.integers(0, 2**32 - 1), grain=st.booleans(), engine=st.text()
    ),
)


@given(shots, st.sampled_from(JobState), st.floats(0, 1))
def test_jobs_travel(shot: Shot, state: JobState, fraction: float) -> None:
    job = Job("0123456789ab", state, shot, "/out/v001", 1.0, 2.0, Progress("Rewriting", 1001, fraction), None, ("w",))
    message = messages.unpack(messages.pack(3, body=job.to_dict()))
    assert Job.from_dict(messages.result(message)) == job


def test_errors_travel_as_what_they_are() -> None:
    message = messages.unpack(messages.pack_error(3, UnknownJob("no job", "detail")))
    with pytest.raises(UnknownJob, match="no job") as caught:
        messages.result(message)
    assert caught.value.detail == "detail"
    assert type(from_dict({"kind": "FromTheFuture", "message": "new"})) is VoidError


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        messages.unpack(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plate": 3}, "plate is 3; give text"),
        ({"speed": 1}, "Unknown shot field 'speed'"),
        ({b"speed": 1, "size": 2}, "Unknown shot field"),
        ({"settings": {"seed": "x"}}, "seed is 'x'; give a whole number from 0"),
        ({"settings": {"grain": 1}}, "grain is 1; give true or false"),
        ({"settings": {"seed": True}}, "seed is True; give a whole number from 0"),
        ({"settings": {"feather": float("nan")}}, "feather is nan"),
        ({"settings": []}, "settings must be a table"),
        ({"prompts": 3}, "prompts is 3; it must be a list"),
        ({"prompts": ["1001:3,4"]}, "A prompt must be a table"),
        ({"prompts": [{"frame": 1, "kind": "point", "at": ["x", 2]}]}, "give numbers"),
        ({"prompts": [{"kind": "point", "at": [1, 2]}]}, "names no frame"),
        ({"prompts": [{"frame": 1, "kind": "scribble", "at": [1, 2]}]}, "of kind 'scribble'"),
        ({"prompts": [{"frame": 1, "kind": "box", "at": [5, 5, 5, 9]}]}, "The box in frame 1 is empty"),
        ({"prompts": [{"frame": 1, "kind": "point", "at": [1, 2, 3]}]}, "has 3 numbers; give 2"),
        ({"plate": " "}, "names no plate"),
        ({"roto": ""}, "names no roto, no quadmask, and no point or box"),
    ],
)
def test_shots_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Shot.from_dict({"plate": "p", "roto": "r", **change})


def test_a_shot_needs_its_plate() -> None:
    with pytest.raises(SettingError, match="names no plate"):
        Shot.from_dict({"roto": "r"})


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("1001:640,360", "point", Prompt(1001, "point", (640.0, 360.0))),
        (" 2@-5: 1.5 , 2", "not", Prompt(-5, "not", (1.5, 2.0), 2)),
        ("1001:10,20,300,400", "box", Prompt(1001, "box", (10.0, 20.0, 300.0, 400.0))),
    ],
)
def test_prompts_are_written_as_text(text: str, kind: str, expected: Prompt) -> None:
    assert Prompt.parse(text, kind) == expected


@pytest.mark.parametrize("text", ["", "640,360", "1001:640", "1001:640;360", "x@1001:1,2", "1001:1.2.3,4"])
def test_a_prompt_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(SettingError, match=r"write it like 1001:640,360|number that is none"):
        Prompt.parse(text, "point")
