"""Text from servers, files and jobs becomes no command, no mark-up, and no path of the server's choice in Nuke."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shlex
import threading

import nuke
import pytest
from driving import read_node, state, void_remove
from void_nuke.job import session, shell
from void_nuke.job.monitor import Line, Monitor, Update
from void_nuke.node import knobs as k
from void_nuke.node import messages, plain, versions
from void_nuke.node.node import VoidNode
from void_nuke.node.ticket import Ticket
from void_nuke.studio.pathmap import here

from void_server.api.errors import JobFailed, SettingError
from void_server.api.job import Job, JobState, Progress
from void_server.api.shot import Shot

#: The only command on a tile: our own, in the node's file.
OURS = [["value", k.STATE]]
_PIECES = [
    *'[]\\${}";\n\t\r#%<>&() ',
    *("\\[", "\\\\[", "]\\", "[exec calc]", "[python {1}]", "$env(HOME)", "${x}", "\\x5b", "\\133", "\\u005b"),
    *("[value name]", "<img src=x>", "exec", "a", "é", "\0", "\u202e", "\ud800"),
]
#: All words that may stand on a tile below the node's name.
WORDS = {
    *k.TILES, "submitting", "starting a server on this machine", "sending", "fetching", "queued", "waiting",
    "resuming", "asking the server", "server does not answer; retrying", "stopping", "see status",
}  # fmt: skip


def hostile(rng):
    return "".join(rng.choice(_PIECES) for _ in range(rng.randint(1, 16)))


@pytest.fixture
def node(plugin, sample):
    return void_remove(read_node(sample / "plate"), read_node(sample / "roto"))


def job(state_, folder="/out/v001", **changes):
    plain = Job("0123456789ab", state_, Shot("/p.%04d.exr", "/r.%04d.exr"), folder, 1.0, 1.0)
    return dataclasses.replace(plain, **changes)


def update(node, out="/out", **news):
    ticket = Ticket("0123456789ab", "tcp://127.0.0.1:9", "", out, False)
    return Update(VoidNode(node).id, "", ticket, **news)


def bring(node, text):
    """Everything that a server may say in words of its own reaches the node; gives what the artist then sees."""
    session._latest.clear()
    session._bring(update(node, job=job(JobState.RUNNING, progress=Progress(text, 1001, 0.5, 10.0, text))))
    seen = [node["status"].value(), node._tile()]
    session._bring(update(node, job=job(JobState.FAILED, error=JobFailed(text, text))))
    return [*seen, node["status"].value(), node._tile(), *nuke.standin.messages, *nuke.standin.errors]


def test_the_node_says_what_goes_to_a_service(node):
    session._latest.clear()
    progress = Progress("Finding what is affected", None, 0.25, None, "frames 1001 (90 kB), to qwen at gpu01:8000")
    session._bring(update(node, job=job(JobState.RUNNING, progress=progress)))
    assert node["status"].value() == (
        "Finding what is affected, 25 %. Sending frames 1001 (90 kB), to qwen at gpu01:8000."
    )


def check(node, text):
    nuke.standin.commands.clear()
    nuke.standin.messages.clear()
    nuke.standin.errors.clear()
    seen = bring(node, text)
    assert [words for words in nuke.standin.commands if words not in OURS] == [], repr(text)
    for shown in seen:
        assert not re.search(r'[\[\]{}<>$\\"\0\r\t\u202e\ud800]', shown), (text, shown)
    tile = node[k.STATE].getText()
    state_ = VoidNode(node).state
    rest = tile[len(state_) :].strip()
    assert rest in ("", *WORDS) or re.fullmatch(r"([a-z]+ )?\d{1,3} %|v\d{3,} \d+-\d+", rest), tile


@pytest.mark.slow
def test_of_20000_random_statuses_none_runs_a_command(node):
    rng = random.Random(20_000)
    for _ in range(20_000):
        check(node, hostile(rng))


def test_no_status_that_hypothesis_finds_runs_a_command(node):
    hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed in this Python")
    texts = hypothesis.strategies.text() | hypothesis.strategies.lists(hypothesis.strategies.sampled_from(_PIECES)).map(
        "".join
    )
    settings = hypothesis.settings(max_examples=500, deadline=None, derandomize=True)
    settings(hypothesis.given(texts)(lambda text: check(node, text)))()


@pytest.mark.parametrize("name", ["status", k.STATE, "label"])
def test_the_stand_in_runs_what_nuke_would_run(plugin, name):
    # else the tests above could not fail
    node = nuke.nodes.Group()
    for added in ("status", k.STATE):
        node.addKnob(nuke.String_Knob(added))
    for text, command in [
        ("[exec calc]", ["exec", "calc"]),
        ("\\\\[exec calc]", ["exec", "calc"]),
        ("a [set x [exec calc]] b", ["exec", "calc"]),
        ("[exec calc; unclosed", ["exec", "calc"]),
        ('[exec "ca${}lc"', None),
    ]:
        nuke.standin.commands.clear()
        node[name].setValue(text)
        with pytest.raises(nuke.TclError):
            node[name].value()
        assert (command in nuke.standin.commands) == (command is not None), text
    # the tile is evaluated twice: what is escaped once runs there
    nuke.standin.commands.clear()
    node["label"].setValue("\\[exec calc\\]")
    node._tile()
    assert nuke.standin.commands == [["exec", "calc"]]


def version(folder, frames=(1001, 1002), **changes):
    """A version folder as a finished job leaves it, but for its pictures."""
    folder.mkdir(parents=True)
    described = {"frames": list(frames), "shot": {"settings": {"until": "plate"}}, **changes}
    (folder / "job.json").write_text(json.dumps(described))
    return folder


def reads(node):
    return [node.node(name)["file"].getText() for name in (k.RESULT_PLATE, k.RESULT_MATTES)]


def test_a_result_is_read_from_the_folder_that_was_asked_for_whatever_the_server_says(node, tmp_path):
    out = tmp_path / "out"
    version(out / "v001")
    for elsewhere in (tmp_path / "elsewhere" / "v001", out / ".." / "elsewhere" / "v002", tmp_path / "secret"):
        if not elsewhere.exists():
            version(elsewhere)
        monitor = Monitor(Line("tcp://127.0.0.1:9"), lambda: None, lambda: False)
        said = job(JobState.DONE, elsewhere.as_posix())
        monitor._tell((VoidNode(node).id, ""), update(node, out.as_posix()).ticket, said)
        monitor.close()
        session._latest.clear()
        session._bring(monitor.take()[0])
        assert all(file == "" or file.startswith(f"{out.as_posix()}/v001/") for file in reads(node)), elsewhere
    # the last two name a version that is not there, and none at all
    assert state(node) == "failed"
    assert "which version" in node["status"].value()


def test_the_tile_says_the_version_in_words_of_ours(node, tmp_path):
    folder = version(tmp_path / "out" / "v012")
    session._latest.clear()
    news = job(JobState.DONE, folder.as_posix(), warnings=("channel [exec calc].R is empty", "<b>$HOME</b>"))
    session._bring(update(node, folder.parent.as_posix(), job=news, folder=str(folder), arrived=True))
    assert node[k.STATE].getText() == "done v012 1001-1002"
    assert node["status"].value().endswith("channel (exec calc).R is empty (b)HOME(/b)")
    assert node[k.RESULT].value() == "v012"


def test_folders_that_are_called_almost_like_versions_are_none(node, tmp_path):
    out = tmp_path / "out"
    for name in ("v001", "v002[python {1}]", "v003 x", "v0x1", "v004\n", "v00\uff15"):
        version(out / name)
    VoidNode(node).offer_versions([found.name for found in versions.results(out)])
    assert node[k.RESULT].values() == [k.NO_RESULT, "v001"]


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": "1001-1002"},
        {"frames": []},
        {"frames": ["1001"]},
        {"frames": [1001.5]},
        {"frames": [2**40]},
        {"frames": {"1001": 1}},
        {"shot": []},
        {"shot": {"settings": None}},
    ],
)
def test_a_manifest_of_other_types_is_no_version(node, tmp_path, changes):
    version(tmp_path / "out" / "v001", **changes)
    VoidNode(node).offer_versions([found.name for found in versions.results(tmp_path / "out")])
    assert node[k.RESULT].values() == [k.NO_RESULT]


def test_a_manifest_that_never_ends_is_no_version(node, tmp_path):
    folder = version(tmp_path / "out" / "v001")
    with open(folder / "job.json", "wb") as file:
        file.truncate(versions._LARGEST + 1)
    deep = version(tmp_path / "out" / "v002")
    (deep / "job.json").write_text(100_000 * "[")
    VoidNode(node).offer_versions([found.name for found in versions.results(tmp_path / "out")])
    assert node[k.RESULT].values() == [k.NO_RESULT]


def test_a_pulldown_offers_only_names_and_not_without_end(node):
    void = VoidNode(node)
    strange = ["[exec calc]", "a\tb", "a/b", "", "x" * 1000, "ünï", *(f"engine{n}" for n in range(1000))]
    void.offer({k.ENGINE: ["cleanplate", *strange]})
    values = node[k.ENGINE].values()
    assert values[:2] == ["cleanplate", "engine0"]
    assert len(values) == 100
    with pytest.raises(SettingError, match="has no method 'cleanplate'"):
        void.offer({k.ENGINE: ["[exec calc]"]})


@pytest.mark.parametrize("character", [*'[]{}<>$\\"`%#', "\n", "\x1b", "\u202e"])
def test_an_output_folder_that_nuke_would_evaluate_is_refused(plugin, character):
    with pytest.raises(SettingError, match="Nuke would evaluate"):
        versions.output_folder("/shots/{script}/{node}", f"/s/a{character}b.nk", "VOID_Remove1")


def test_a_result_in_a_folder_that_nuke_would_evaluate_is_not_read(node, tmp_path):
    # by a script that was made where that was no output folder of ours
    folder = version(tmp_path / "[exec calc]" / "v001")
    session._latest.clear()
    news = update(node, str(folder.parent), job=job(JobState.DONE), folder=str(folder), arrived=True)
    session._bring(news)
    assert state(node) == "failed"
    assert "Nuke would evaluate" in node["status"].value()
    assert reads(node) == ["", ""]


def test_no_knob_of_ours_is_shown_on_the_tile_by_nuke_itself(node):
    node[k.OUTPUT].setValue("/somewhere/else")
    assert node._tile() == node.name()


def test_long_texts_are_cut(node):
    bring(node, 2_000_000 * "x ")
    assert len(node["status"].value()) <= plain.LONGEST + 4
    assert max(map(len, nuke.standin.errors)) <= plain.LONGEST + 4


def test_a_window_shows_lines_but_no_mark_up(plugin):
    messages.say("first\n<img src='file:///x'>\x1b[31m\nC:\\temp")
    assert nuke.standin.messages == ["first\n(img src='file:///x') (31m\nC:/temp"]


def test_a_command_line_is_one_command_in_every_shell():
    words = ["C:\\Program Files\\Nuke\\Nuke.exe", "-t", "--script=a & calc.nk", "--node=VOID_Remove1", "C:\\a b\\"]
    line = '"C:\\Program Files\\Nuke\\Nuke.exe" -t "--script=a & calc.nk" --node=VOID_Remove1 "C:\\a b\\\\"'
    assert shell.command(words, windows=True) == line
    hostile_words = ["a;b", "$(calc)", "`calc`", "it's", "", "*", "~", '"']
    assert shlex.split(shell.command(hostile_words, windows=False)) == hostile_words
    for word, windows in (("a\nb", False), ("\x1b[0m", False), ("100%PATH%", True), ('a"b', True)):
        with pytest.raises(SettingError, match="a shell would not pass on"):
            shell.command([word], windows=windows)


@pytest.mark.parametrize(
    ("folder", "good"),
    [
        ("/jobs/out/v001", True),
        ("\\\\files\\show\\out\\v001", True),
        ("//files/show2/out/v001", False),
        ("//evil.example/share/v001", False),
        ("\\\\evil.example\\share\\v001", False),
        ("/jobs/../etc/v001", False),
        ("jobs/v001", False),
        ("", False),
        ("/etc", False),
    ],
)
def test_which_folders_of_a_server_are_looked_at(folder, good):
    line = Line("tcp://127.0.0.1:9", disks=({here(): "//files/show"},))
    assert (line.folder_here(folder) is not None) == good


def test_what_nobody_foresaw_in_an_answer_ends_the_job_in_the_node_and_not_the_thread(monkeypatch):
    arrived = threading.Event()
    monitor = Monitor(Line("tcp://127.0.0.1:9"), arrived.set, lambda: False)

    def broken(self, job_id):
        raise KeyError("nonsense")

    monkeypatch.setattr("void_server.api.client.Client.status", broken)
    monitor.follow("n", Ticket("0123456789ab", "tcp://127.0.0.1:9", "", "/out", False))
    assert arrived.wait(30)
    (news,) = monitor.take()
    assert "the plugin itself failed" in str(news.error).lower()
    assert "KeyError" in news.error.detail
    assert monitor._thread.is_alive()
    monitor.close()
