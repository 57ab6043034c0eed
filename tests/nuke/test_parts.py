"""The plugin's parts that know nothing of nodes."""

from __future__ import annotations

import json
import threading
import time

import pytest
from driving import RunningServer
from void_nuke.job import local_server
from void_nuke.job.monitor import Line, Monitor, Order
from void_nuke.node import cells, versions
from void_nuke.node.ticket import Ticket, joined, parse
from void_nuke.node.tile import Step
from void_nuke.studio import hooks, settings
from void_nuke.studio.pathmap import translated

from void_server.api import Client, Shot
from void_server.api import Settings as ShotSettings
from void_server.api.errors import JobCancelled, ServerBusy, ServerUnreachable, SettingError

pytestmark = [pytest.mark.slow, pytest.mark.oldest]

DISKS = [
    {"linux": "/mnt/show", "windows": "S:/", "darwin": "/Volumes/show"},
    {"linux": "/mnt/show/cache", "windows": "T:\\"},
]


@pytest.mark.parametrize(
    ("path", "source", "target", "expected"),
    [
        ("/mnt/show/sh010/p.%04d.exr", "linux", "windows", "S:/sh010/p.%04d.exr"),
        ("s:\\sh010\\p.exr", "windows", "linux", "/mnt/show/sh010/p.exr"),
        ("/mnt/show/cache/p.exr", "linux", "windows", "T:/p.exr"),
        ("/mnt/showreel/p.exr", "linux", "windows", "/mnt/showreel/p.exr"),
        ("/Volumes/show/p.exr", "darwin", "linux", "/mnt/show/p.exr"),
        ("/elsewhere/p.exr", "linux", "linux", "/elsewhere/p.exr"),
    ],
)
def test_paths_between_systems(path, source, target, expected):
    assert translated(path, DISKS, source, target) == expected


def test_tickets_survive_a_knob():
    tickets = [
        Ticket("abc", "tcp://gpu01:5690", "", "/a b/[c]/{d}$", True, "x y"),
        Ticket("def", "tcp://h:1", "right", "", False),
    ]
    text = joined(tickets)
    assert parse(text) == tickets
    assert not set(text) & set('[]{}$"\\')
    assert parse("") == []


# -- where results go


def test_output_folder():
    folder = versions.output_folder(settings.DEFAULT_OUTPUT, "/show/sh010/sh010_comp_v012.nk", "Group1.VOID_Remove1")
    assert folder.as_posix() == "/show/sh010/void/sh010_comp/Group1_VOID_Remove1"
    with pytest.raises(SettingError, match="save it first"):
        versions.output_folder(settings.DEFAULT_OUTPUT, "", "A")
    with pytest.raises(SettingError, match="choose from"):
        versions.output_folder("/a/{shot}", "/a.nk", "A")
    with pytest.raises(SettingError, match="absolute"):
        versions.output_folder("a/b", "/a.nk", "A")


def finished(folder, frames, until="plate"):
    folder.mkdir(parents=True)
    manifest = {"frames": frames, "shot": {"settings": {"until": until}}}
    (folder / "job.json").write_text(json.dumps(manifest))


def test_versions_are_those_that_are_finished(tmp_path):
    finished(tmp_path / "v001", [1001, 1002])
    (tmp_path / "v002").mkdir()
    finished(tmp_path / "v003", [990, 1005], until="quadmask")
    (tmp_path / "v004").mkdir()
    (tmp_path / "v004" / "job.json").write_text("{half")
    finished(tmp_path / "v005" / "left" / "v001", [1, 2])
    finished(tmp_path / "v005" / "right" / "v001", [1, 2])
    finished(tmp_path / "v006" / "left" / "v001", [1, 2])
    (tmp_path / "v006" / "right" / "v001").mkdir(parents=True)
    found = versions.results(tmp_path)
    assert [(r.name, r.views, r.first, r.last, r.has_plate) for r in found] == [
        ("v001", (), 1001, 1002, True),
        ("v003", (), 990, 1005, False),
        ("v005", ("left", "right"), 1, 2, True),
    ]
    assert found[2].plate == f"{tmp_path.as_posix()}/v005/%V/v001/plate/void_plate.%04d.exr"
    assert found[2].patch == f"{tmp_path.as_posix()}/v005/%V/v001/patch/void_patch.%04d.exr"


# -- the grid


def test_grid_lines_that_are_wrong_are_named():
    with pytest.raises(SettingError, match="Line 2 of the cell edits: 'r1c=keep' is not a cell edit"):
        cells.parse("1001-1003:r0c0=affected  # the corner\nr1c=keep")
    assert [str(edit) for edit in cells.parse("1001:r2c3=keep\n\nr0c0=affected")] == [
        "1001-1001:r2c3=keep",
        "r0c0=affected",
    ]


def test_cells_are_counted_from_the_top_left():
    assert cells.cell_at(0, 719, 1280, 720) == (0, 0)
    # 14, not 15, at 16:9
    assert cells.cell_at(1279, 0.5, 1280, 720) == (7, 13)
    with pytest.raises(SettingError, match="outside the frame"):
        cells.cell_at(1280, 0, 1280, 720)


# -- settings and hooks


def test_settings_of_studio_and_user(tmp_path, monkeypatch):
    studio = tmp_path / "studio.json"
    studio.write_text(json.dumps({"server": "tcp://gpu:1", "output": "/renders/{script}", "path_map": DISKS}))
    monkeypatch.setenv("VOID_NUKE_SETTINGS", str(studio))
    settings.save_user({"server": "tcp://mine:2", "transfer": "upload"})
    now = settings.load()
    assert (now.server, now.output, now.transfer) == ("tcp://mine:2", "/renders/{script}", "upload")
    settings.save_user({"server": ""})
    assert settings.load().server == "tcp://gpu:1"
    assert json.loads(settings.user_file().read_text()) == {"transfer": "upload"}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"sever": "x"}', "there is no setting 'sever'"),
        ('{"server": 3}', "server must be a str"),
        ("{", "cannot be read"),
        ("[]", "must hold names"),
    ],
)
def test_settings_that_are_wrong_name_file_and_entry(tmp_path, monkeypatch, text, match):
    file = tmp_path / "studio.json"
    file.write_text(text)
    monkeypatch.setenv("VOID_NUKE_SETTINGS", str(file))
    with pytest.raises(SettingError, match=match) as error:
        settings.load()
    assert str(file) in str(error.value)


def test_a_studio_file_that_is_not_there(monkeypatch):
    monkeypatch.setenv("VOID_NUKE_SETTINGS", "/nowhere/studio.json")
    with pytest.raises(SettingError, match="does not exist"):
        settings.load()


def test_hooks(tmp_path):
    file = tmp_path / "hooks.py"
    file.write_text("def output_folder(context):\n    return '/renders/' + context['node']\nsubmit_to_farm = 3\n")
    assert hooks.call(str(file), hooks.OUTPUT_FOLDER, {"node": "A"}) == "/renders/A"
    assert hooks.call("", hooks.OUTPUT_FOLDER, {}) is None
    with pytest.raises(SettingError, match="not a function"):
        hooks.call(str(file), hooks.SUBMIT_TO_FARM, {})
    with pytest.raises(SettingError, match="failed: KeyError"):
        hooks.call(str(file), hooks.OUTPUT_FOLDER, {})
    file.write_text("1 +")
    with pytest.raises(SettingError, match="cannot be run"):
        hooks.call(str(file), hooks.OUTPUT_FOLDER, {})


def test_a_server_is_started_on_this_machine_only(tmp_path):
    # a disk that is not mounted would keep the server from starting
    known = settings.Settings(void_command=["void"], local_roots=[str(tmp_path), "/not/mounted"])
    assert local_server.can_start(known, "tcp://127.0.0.1:5690")
    assert not local_server.can_start(known, "tcp://gpu01:5690")
    assert not local_server.can_start(settings.Settings(), "tcp://127.0.0.1:5690")
    assert local_server.roots(known, ["/mnt/projects/sh010/void"])[1:] == [str(tmp_path), "/mnt"]


def test_the_settings_options_reach_the_server_and_only_it(tmp_path):
    known = settings.Settings(void_command=["void"], server_options=["--workers", "2"], local_roots=[str(tmp_path)])
    words = local_server.command(known, "tcp://127.0.0.1:5690", [str(tmp_path)])
    assert words[:4] == ["void", "serve", "--address", "tcp://127.0.0.1:5690"]
    assert words[-2:] == ["--workers", "2"]
    assert [words[n + 1] for n, word in enumerate(words) if word == "--root"] == local_server.roots(
        known, [str(tmp_path)]
    )


def test_a_server_without_a_job_of_a_node_gets_no_folder_by_chance():
    # Path("") would be the folder that Nuke was started in
    assert "." not in local_server.roots(settings.Settings(void_command=["void"]), [])


# -- the thread that talks to the server


def order(sample, tmp_path, **changes):
    shot = Shot(
        plate=str(sample / "plate"),
        roto=str(sample / "roto"),
        settings=ShotSettings(reasoner="none", **changes.pop("settings", {})),
    )
    return Order(**{"node": "n", "view": "", "shot": shot, "out": str(tmp_path / "out"), "source": "s", **changes})


class Follower:
    """Takes a monitor's news as they come."""

    def __init__(self, address, start_server=lambda _: False):
        self.woken = threading.Event()
        self.monitor = Monitor(Line(address), self.woken.set, start_server)
        self.seen = []

    def until(self, condition):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            self.woken.wait(1)
            self.woken.clear()
            for update in self.monitor.take():
                self.seen.append(update)
                if condition(update):
                    return update
        raise AssertionError(self.seen)


@pytest.fixture
def linked(own_server, sample, tmp_path):
    import shutil

    shutil.copytree(sample, tmp_path / "sample")
    follower = Follower(own_server.address)
    yield follower
    follower.monitor.close()


def test_monitor_brings_a_job_to_its_end(linked, tmp_path):
    linked.monitor.submit(order(tmp_path / "sample", tmp_path))
    end = linked.until(lambda update: update.arrived)
    assert end.folder == str(tmp_path / "out" / "v001")
    assert linked.seen[0].ticket.job == end.job.id


def test_monitor_fetches_a_result_later_where_its_user_has_to_wait(linked, sample, tmp_path, monkeypatch):
    fetch, tries = Client.download, []

    def busy_at_first(*given):
        tries.append(1)
        if len(tries) == 1:
            raise ServerBusy("Your requests take more than your share of this server's time; wait 3 s.")
        return fetch(*given)

    monkeypatch.setattr(Client, "download", busy_at_first)
    files = {part: [str(file) for file in sorted((sample / part).iterdir())] for part in ("plate", "roto")}
    linked.monitor.submit(order(sample, tmp_path, files=files))
    linked.until(lambda update: update.note and "wait 3 s" in (update.note.said or ""))
    assert linked.until(lambda update: update.arrived).folder == str(tmp_path / "out" / "v001")


def test_monitor_tells_what_the_server_refuses(linked, tmp_path):
    linked.monitor.submit(order(tmp_path / "nothing", tmp_path))
    assert "plate" in str(linked.until(lambda update: update.error).error)


def test_monitor_lists_jobs_only_while_it_is_asked_to(linked, tmp_path):
    linked.monitor.submit(order(tmp_path / "sample", tmp_path))
    linked.until(lambda update: update.arrived)
    assert linked.monitor.jobs() is None
    linked.monitor.list_jobs(True)
    while not linked.monitor.jobs():
        assert linked.woken.wait(20)
        linked.woken.clear()
    assert len(linked.monitor.jobs()) == 1


def test_monitor_starts_a_server_where_it_can(sample, tmp_path):
    import shutil
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    shutil.copytree(sample, tmp_path / "sample")
    running = RunningServer(tmp_path)
    running.address = address

    def start(outs):
        running.start()
        return True

    follower = Follower(address, start)
    try:
        follower.monitor.submit(order(tmp_path / "sample", tmp_path))
        assert follower.until(lambda update: update.arrived or update.error).arrived
        assert any(update.note and update.note.step is Step.STARTING for update in follower.seen)
    finally:
        follower.monitor.close()
        running.stop()


def test_a_server_that_does_not_stay_is_started_once_for_jobs_that_are_followed():
    starts = []

    def start(outs):
        starts.append(outs)
        return True

    follower = Follower("tcp://127.0.0.1:9", start)
    try:
        follower.monitor.follow("n", Ticket("job", follower.monitor.line.address, "", "/out", False))
        follower.until(lambda update: update.note.step is Step.STARTING)
        # from here on it is asked, and nothing else
        follower.until(lambda update: update.note.step is Step.UNREACHABLE)
        follower.monitor.follow("m", Ticket("other", follower.monitor.line.address, "", "/out", False))
        follower.until(lambda update: update.node == "m" and update.note.step is Step.UNREACHABLE)
        assert starts == [["/out"]]
    finally:
        follower.monitor.close()


def test_a_server_that_cannot_be_started_says_why_to_jobs_that_are_followed():
    def start(outs):
        raise ServerUnreachable("The server on this machine cannot be started with void.")

    follower = Follower("tcp://127.0.0.1:9", start)
    try:
        follower.monitor.follow("n", Ticket("job", follower.monitor.line.address, "", "/out", False))
        assert "cannot be started with void" in follower.until(lambda update: update.note).note.said
    finally:
        follower.monitor.close()


def test_a_list_of_jobs_starts_no_server():
    follower = Follower("tcp://127.0.0.1:9", lambda _: follower.woken.set())
    asked = threading.Event()
    look = follower.monitor._look

    def looked(client):
        look(client)
        asked.set()

    follower.monitor._look = looked
    try:
        follower.monitor.list_jobs(True)
        assert asked.wait(60)
        assert not follower.woken.is_set()
    finally:
        follower.monitor.close()


def test_monitor_stops_a_job_whose_frames_are_still_on_their_way(linked, sample, tmp_path):
    linked.monitor.cancel("n", "")
    files = {part: [str(file) for file in sorted((sample / part).glob("*.exr"))] for part in ("plate", "roto")}
    one = order(sample, tmp_path, files=files)
    linked.monitor.submit(one)
    linked.monitor.cancel("n", "")
    end = linked.until(lambda update: update.error or (update.job and update.job.state.ended))
    assert end.error or end.job.state.value == "cancelled"


def test_monitor_survives_an_address_that_none_can_use(sample, tmp_path):
    follower = Follower("nowhere at all")
    try:
        follower.monitor.list_jobs(True)
        follower.monitor.follow("n", Ticket("job", follower.monitor.line.address, "", "", False))
        assert "nowhere at all" in follower.until(lambda update: update.note).note.said
        follower.monitor.submit(order(sample, tmp_path))
        assert "nowhere at all" in str(follower.until(lambda update: update.error).error)
    finally:
        follower.monitor.close()


def test_a_stop_while_the_result_is_fetched_ends_the_job_here(linked, sample, tmp_path):
    def stop_once_fetching():
        # in the monitor's own thread, so the stop is there before the next piece of the result
        if any(update.note and update.note.step is Step.FETCHING for update in linked.monitor._news.values()):
            linked.monitor.cancel("n", "")
        linked.woken.set()

    linked.monitor._changed = stop_once_fetching
    files = {part: [str(file) for file in sorted((sample / part).glob("*.exr"))] for part in ("plate", "roto")}
    linked.monitor.submit(order(sample, tmp_path, files=files))
    assert isinstance(linked.until(lambda update: update.error or update.arrived).error, JobCancelled)


def test_monitor_says_that_a_job_is_unknown(linked):
    linked.monitor.follow("n", Ticket("nosuchjob", linked.monitor.line.address, "", "", False))
    assert "nosuchjob" in str(linked.until(lambda update: update.error).error)
