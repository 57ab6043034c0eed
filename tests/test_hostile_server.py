"""What a broken or hostile server answers: the client says so in a sentence, and never does as it is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from void_server.api import Client, Job, JobState, ServerInfo, Shot, messages
from void_server.api.errors import ProtocolError, ServerBusy, ServerUnreachable, VoidError, from_dict
from void_server.api.reach import Reach
from void_server.cli.deliveries import Delivery
from void_server.cli.errand import Errand

pytestmark = pytest.mark.slow

JOB = Job("0123456789ab", JobState.RUNNING, Shot("/p.exr", "/r.exr"), "/out/v001", 1.0, 2.0).to_dict()
SERVER = {"version": "1", "protocol": 1, "pid": 2, "roots": [], "engines": ["a"], "reasoners": []}
WRONG = [None, [], {}, "x", b"x", 7, -1, True, float("nan"), float("inf"), 2**63, [None], {"a": 1}]


@contextmanager
def answering(answer: Callable[[int], list[bytes]]) -> Iterator[Client]:
    """A server that answers each request with the frames that ``answer`` makes of its number."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            if router.poll(20):
                sender, data = router.recv_multipart()
                for frame in answer(msgpack.unpackb(data)["id"]):
                    router.send_multipart([sender, frame])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with Client(f"tcp://127.0.0.1:{port}", timeout=3) as client:
            yield client
    finally:
        ended.set()
        thread.join()
        router.close(linger=0)
        context.term()


def body(content: Any) -> Callable[[int], list[bytes]]:
    return lambda number: [messages.pack(number, body=content)]


@pytest.mark.parametrize("field", [name for name in JOB if name != "error"])
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_job_of_wrong_types_is_a_sentence(field: str, value: Any) -> None:
    if (field, value) in (
        ("warnings", []),
        ("created", 7),
        ("updated", 7),
        ("folder", "x"),
        ("submitter", "x"),
        ("priority", 7),
    ):
        pytest.skip("malformed")
    with pytest.raises(ProtocolError, match="does not describe a job"):
        Job.from_dict({**JOB, field: value})


@pytest.mark.parametrize("field", ["stage", "frame", "fraction", "seconds_left"])
@pytest.mark.parametrize("value", [[], {}, True, float("nan"), float("inf"), 2**63, -1.5], ids=repr)
def test_progress_of_wrong_types_is_a_sentence(field: str, value: Any) -> None:
    with pytest.raises(ProtocolError, match="does not describe a job"):
        Job.from_dict({**JOB, "progress": {**JOB["progress"], field: value}})


@pytest.mark.parametrize("number", ["../../etc", "0123456789AB", "0123456789ab\n", "", "a" * 10**6])
def test_an_id_is_no_path_and_no_novel(number: str) -> None:
    with pytest.raises(ProtocolError, match="its id is") as caught:
        Job.from_dict({**JOB, "id": number})
    assert len(str(caught.value)) < 300


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(list(JOB)), ANYTHING)
def test_whatever_comes_as_a_job_is_one_or_a_sentence(field: str, value: Any) -> None:
    try:
        job = Job.from_dict({**JOB, field: value})
    except VoidError:
        return
    assert len(job.id) == 12


@given(ANYTHING)
def test_whatever_comes_as_an_error_is_one(data: Any) -> None:
    assert isinstance(from_dict(data), VoidError)


@given(st.sampled_from(list(SERVER)), ANYTHING)
def test_whatever_comes_as_a_greeting_is_one_or_a_sentence(field: str, value: Any) -> None:
    try:
        info = ServerInfo.from_dict({**SERVER, field: value})
    except ProtocolError:
        return
    assert all(isinstance(name, str) for name in info.engines)


@pytest.mark.parametrize("verb", ["status", "cancel", "resume"])
def test_another_job_than_the_one_asked_for_is_refused(verb: str) -> None:
    with (
        answering(body(JOB)) as client,
        pytest.raises(ProtocolError, match=r"ba9876543210.*answered with 0123456789ab"),
    ):
        getattr(client, verb)("ba9876543210")


@pytest.mark.parametrize("content", [7, "x", None, {"a": 1}], ids=repr)
def test_a_list_of_jobs_that_is_none_is_a_sentence(content: Any) -> None:
    with answering(body(content)) as client, pytest.raises(ProtocolError, match="not a list of jobs"):
        client.jobs()


def test_answers_to_other_questions_without_end_are_not_read_for_ever() -> None:
    def flood(number: int) -> list[bytes]:
        return 50_000 * [messages.pack(number + 1, body={})]

    with answering(flood) as client:
        client._timeout = 0.2
        with pytest.raises(ServerUnreachable):
            client.hello()


def test_a_refusal_by_who_could_not_read_the_request_is_told() -> None:
    def refusing(_: int) -> list[bytes]:
        return [messages.pack_error(messages.UNASKED, ProtocolError("This server speaks protocol 2; update."))]

    with answering(refusing) as client, pytest.raises(ProtocolError, match="protocol 2"):
        client.hello()


def refusing_three(number: int) -> list[bytes]:
    refused = messages.pack_error(messages.UNASKED, ServerBusy("Wait 3 s."))
    return [refused if number <= 3 else messages.pack(number, body={**JOB, "state": "done"})]


def test_refusals_of_requests_under_way_are_no_answers_to_later_ones() -> None:
    with answering(refusing_three) as client:
        with pytest.raises(ServerBusy, match="Wait 3 s"):
            list(client._ask_ahead("upload.chunk", [{}, {}, {}]))
        assert client.status(JOB["id"]).state is JobState.DONE


def test_a_job_is_followed_also_where_its_user_has_to_wait() -> None:
    with answering(refusing_three) as client:
        assert [job.state for job in client.watch(JOB["id"], heartbeat=0.1)] == [JobState.DONE]


def test_who_has_to_wait_for_a_result_hears_how_to_fetch_it(tmp_path: Path) -> None:
    with answering(refusing_three) as client:
        errand = Errand(client, JOB["id"], progress=False, delivery=Delivery(JOB["id"], str(tmp_path)))
        with pytest.raises(ServerBusy, match=r"Wait 3 s\. .* void fetch 0123456789ab"):
            errand.bring(Job.from_dict({**JOB, "state": "done"}))


def test_a_message_that_is_too_large_never_arrives() -> None:
    def large(number: int) -> list[bytes]:
        return [messages.pack(number, body={"x": bytes(3 * messages.MAX_MESSAGE)})]

    with answering(large) as client, pytest.raises(ServerUnreachable):
        client.hello()


def test_a_connection_that_breaks_again_and_again_unwatched_wedges_nothing() -> None:
    # some three events each, where ZeroMQ keeps two thousand
    context = zmq.Context()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        idle = context.socket(zmq.DEALER)
        idle.setsockopt(zmq.RECONNECT_IVL, 1)
        reach = Reach(idle, keys=False)
        idle.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        try:
            for _ in range(1000):
                listener.accept()[0].close()
        finally:
            assert "VOID server" in reach.why()
            reach.close()
            idle.close(linger=0)
            context.term()
