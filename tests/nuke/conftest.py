"""The plugin in the stand-in for Nuke, with a real server in a process of its own.

Runs under each of Nuke's Python versions: needs pytest, numpy, OpenImageIO, pyzmq and msgpack here, and the whole of
VOID only in the interpreter that VOID_TEST_PYTHON names (this one where it is not set).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("VOID_TEST_PYTHON") or sys.executable
for path in (ROOT / "tests" / "nuke_standin", ROOT):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))

import nuke  # noqa: E402

SERVE = """
import sys
from pathlib import Path
from void_server.service.server import ServerConfig, serve
serve(ServerConfig(address=sys.argv[1], roots=tuple(map(Path, sys.argv[2:]))),
      lambda address: print(address, flush=True))
"""
SAMPLE = """
import sys
from pathlib import Path
from void_server.sample import write_sample
write_sample(Path(sys.argv[1]), "walkby", (192, 108), range(int(sys.argv[2]), int(sys.argv[3]) + 1))
"""


def wait_for(condition, seconds=90.0):
    """The condition's first true value, Nuke's events being worked on meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        nuke.standin_process_events()
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"it never happened; messages: {nuke.standin.messages}")


class RunningServer:
    """A server in a process of its own, which can be killed and started again at the same address."""

    def __init__(self, *roots):
        self.roots = [str(root) for root in roots]
        self.address = "tcp://127.0.0.1:*"
        self.process = None

    def start(self):
        command = [PYTHON, "-c", SERVE, self.address, *self.roots]
        # not from the checkout: with another Python, only what is installed there counts
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.address = self.process.stdout.readline().strip()
        assert self.address
        return self

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """No test reads or writes the state of whoever runs it."""
    monkeypatch.setenv("VOID_HOME", str(tmp_path_factory.mktemp("home")))
    for name in ("VOID_SERVER", "VOID_KEY", "VOID_SERVER_KEY", "VOID_NUKE_SETTINGS", "OCIO"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small shot of 12 frames."""
    folder = tmp_path_factory.mktemp("sample") / "walkby"
    subprocess.run([PYTHON, "-c", SAMPLE, str(folder), "1001", "1012"], check=True)
    return folder


@pytest.fixture
def server(tmp_path, own_home):
    """A server that may use the test's folder."""
    running = RunningServer(tmp_path).start()
    yield running
    running.stop()


@pytest.fixture
def plugin(tmp_path):
    """A Nuke that has just started with the plugin, and a saved script."""
    yield from started(tmp_path, gui=True)


@pytest.fixture
def terminal(tmp_path):
    """The same as ``nuke -t``: without a window."""
    yield from started(tmp_path, gui=False)


def started(tmp_path, gui):
    from nuke_plugin import session

    nuke.standin_reset(gui=gui)
    nuke.standin_run(str(ROOT / "init.py"))
    if gui:
        nuke.standin_run(str(ROOT / "menu.py"))
    nuke.scriptSaveAs(str(tmp_path / "shots" / "sh010_comp_v003.nk")) if (tmp_path / "shots").mkdir() is None else None
    nuke.standin.tmp_path = tmp_path
    yield nuke
    session.forget_all()
    session.listeners.clear()


def read_node(folder, frames=(1001, 1012), name=None):
    """A Read of the only sequence in a folder."""
    file = next(Path(folder).glob("*.exr"))
    stem = file.name.rsplit(".", 2)[0]
    node = nuke.nodes.Read()
    node["file"].fromUserText(f"{Path(folder).as_posix()}/{stem}.%04d.exr {frames[0]}-{frames[1]}")
    if name:
        node.setName(name)
    return node


def void_remove(plate, roto, quadmask=None, address=None):
    """A VOID Remove, made by its menu entry and connected."""
    return _connected("VOID Remove", address, plate, roto, quadmask)


def void_quadmask(plate, roto, add=None, protect=None, address=None):
    """A VOID Quadmask, made by its menu entry and connected."""
    return _connected("VOID Quadmask", address, plate, roto, add, protect)


def _connected(entry, address, *inputs):
    from nuke_plugin import startup

    if nuke.GUI:
        nuke.menu("Nodes").findItem("VOID").findItem(entry).invoke()
        node = nuke.selectedNodes()[-1]
    else:
        node = startup.create(entry.replace(" ", "_"))
    for index, one in enumerate(inputs):
        node.setInput(index, one)
    if address:
        node["server"].setValue(address)
    return node


def press(node, button):
    node[button].execute()


def state(node):
    return node["void_state"].value().partition(" ")[0]


def wait_until_done(node):
    """Wait for the end of the node's job, and see that it ended well."""
    wait_for(lambda: state(node) in ("done", "failed", "stopped"))
    assert state(node) == "done", node["status"].value()


def picture(node, frame):
    """What a node shows at a frame."""
    nuke.standin.frame = frame
    return node._image()


def pixels(path, channels=("R", "G", "B")):
    """Channels of a file as (height, width, n)."""
    image = oiio.ImageInput.open(str(path))
    assert image is not None, path
    names = list(image.spec().channelnames)
    data = image.read_image(0, 0, 0, len(names), "float")
    image.close()
    return data[..., [names.index(name) for name in channels]]


def rgb(image):
    """The colours of the stand-in's picture."""
    return np.stack([image.channel(f"rgba.{c}", image.bbox) for c in ("red", "green", "blue")], axis=-1)
