"""The plugin in the stand-in for Nuke, with a real server in a process of its own.

Runs under each of Nuke's Python versions: needs pytest, numpy, OpenImageIO, pyzmq and msgpack here, and the whole of
VOID only in the interpreter that VOID_TEST_PYTHON names (this one where it is not set).
"""

from __future__ import annotations

import subprocess

import nuke
import pytest
from driving import PYTHON, ROOT, RunningServer, read_node

SAMPLE = """
import sys
from pathlib import Path
from void_server.sample import write_sample
write_sample(Path(sys.argv[1]), "walkby", (192, 108), range(int(sys.argv[2]), int(sys.argv[3]) + 1))
"""


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """No test reads or writes the state of whoever runs it."""
    monkeypatch.setenv("VOID_HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("VOID_SERVER", "VOID_KEY", "VOID_SERVER_KEY", "VOID_NUKE_SETTINGS", "VOID_POLICY", "OCIO"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small shot of 12 frames."""
    folder = tmp_path_factory.mktemp("sample") / "walkby"
    subprocess.run([PYTHON, "-c", SAMPLE, str(folder), "1001", "1012"], check=True)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server that all tests share; it may use the folders of all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOID_HOME", str(tmp_path_factory.mktemp("server_home")))
        running = RunningServer(tmp_path_factory.getbasetemp()).start()
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path, own_home):
    """A server for one test alone: to be killed, or with no jobs but the test's."""
    running = RunningServer(tmp_path).start()
    yield running
    running.stop()


@pytest.fixture
def plugin(tmp_path):
    """A Nuke that has just started with the plugin, and a saved script."""
    yield from started(tmp_path, gui=True)


@pytest.fixture
def shot(plugin, sample):
    """Reads of plate and roto in a fresh script."""
    return read_node(sample / "plate"), read_node(sample / "roto")


@pytest.fixture
def no_key_held(plugin, monkeypatch):
    """Nothing held on the keyboard, also where there is no Qt to ask."""
    from void_nuke.ui import keyboard

    monkeypatch.setattr(keyboard, "alt_is_held", lambda: False)


@pytest.fixture
def terminal(tmp_path):
    """The same as ``nuke -t``: without a window."""
    yield from started(tmp_path, gui=False)


def started(tmp_path, gui):
    from void_nuke.job import session

    nuke.standin_reset(gui=gui)
    nuke.standin_run(str(ROOT / "init.py"))
    if gui:
        nuke.standin_run(str(ROOT / "menu.py"))
    (tmp_path / "shots").mkdir()
    nuke.scriptSaveAs(str(tmp_path / "shots" / "sh010_comp_v003.nk"))
    nuke.standin.tmp_path = tmp_path
    yield nuke
    session.forget_all()
    session.listeners.clear()
