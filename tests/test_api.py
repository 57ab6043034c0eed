"""Shots, jobs and errors survive their way through messages."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from void_server.api import Job, JobState, Progress, Settings, Shot, messages
from void_server.api.errors import ProtocolError, SettingError, UnknownJob, VoidError, from_dict

shots = st.builds(
    Shot,
    plate=st.text(),
    roto=st.text(),
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
        ({"plate": 3}, "plate is 3; it must be str"),
        ({"speed": 1}, "Unknown shot field 'speed'"),
        ({"settings": {"seed": "x"}}, "seed is 'x'; it must be int"),
        ({"settings": {"grain": 1}}, "grain is 1; it must be bool"),
        ({"settings": {"seed": True}}, "seed is True; it must be int"),
        ({"settings": {"feather": float("nan")}}, "feather is nan"),
        ({"settings": []}, "settings must be a table"),
    ],
)
def test_shots_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Shot.from_dict({"plate": "p", "roto": "r", **change})


def test_a_shot_needs_its_plate() -> None:
    with pytest.raises(SettingError, match="names no plate"):
        Shot.from_dict({"roto": "r"})
