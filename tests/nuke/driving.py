"""Driving Nuke as an artist does, and the server as a wrangler does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nuke
import numpy as np
import OpenImageIO as oiio  # noqa: N813
from void_nuke.node import knobs as k
from void_nuke.node.node import VoidNode
from void_nuke.node.versions import result_in

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("VOID_TEST_PYTHON") or sys.executable
SERVE = """
import sys
from pathlib import Path
from void_server.service.server import ServerConfig, serve
serve(ServerConfig(address=sys.argv[1], roots=tuple(map(Path, sys.argv[2:]))),
      lambda address: print(address, flush=True))
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
    if nuke.GUI:
        nuke.menu("Nodes").findItem("VOID").findItem(entry).invoke()
        node = nuke.selectedNodes()[-1]
    else:
        node = nuke.createNode(entry.replace(" ", "_"))
    for index, one in enumerate(inputs):
        node.setInput(index, one)
    if address:
        node["server"].setValue(address)
    return node


def finished_version(folder, sample, frames=range(1001, 1013), **described):
    """A version as a job leaves it, made by nobody: the sample's plate in half its brightness, wherever x is even."""
    for frame in frames:
        plate = pixels(sample / "plate" / f"plate.{frame}.exr")
        blend = np.zeros(plate.shape[:2], np.float32)
        blend[:, ::2] = 1
        new = np.where(blend[..., None] > 0, plate / 2, plate)
        zero, mattes = np.zeros_like(blend), (*(f"quadmask.{name}" for name in k.CLASSES), "void_blend.A")
        write_exr(folder / "plate" / f"void_plate.{frame:04d}.exr", new, ("R", "G", "B"))
        patch = np.dstack([new * blend[..., None], blend])
        write_exr(folder / "patch" / f"void_patch.{frame:04d}.exr", patch, ("R", "G", "B", "A"))
        planes = np.stack([blend, zero, zero, 1 - blend, blend], axis=-1)
        write_exr(folder / "mattes" / f"void_mattes.{frame:04d}.exr", planes, mattes)
    manifest = {"frames": list(frames), "shot": {"settings": {"until": "plate"}}, **described}
    (folder / "job.json").write_text(json.dumps(manifest))
    return folder


def write_exr(path, data, channels, kind="half"):
    path.parent.mkdir(parents=True, exist_ok=True)
    spec = oiio.ImageSpec(data.shape[1], data.shape[0], data.shape[2], kind)
    spec.channelnames = channels
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec)
    assert output.write_image(np.ascontiguousarray(data, np.float32))
    assert output.close()


def show_version(node, folder):
    """Let a node show a version, as when its job is done."""
    VoidNode(node).show_result(result_in(Path(folder)))


def rendered(node, path, frames=(1006,)):
    """Render what lies below a node with a Write of the artist's, and read it again."""
    write = nuke.nodes.Write()
    write.setInput(0, node)
    write["file_type"].setValue("exr")
    write["file"].setValue(Path(path).as_posix())
    write["datatype"].setValue("32 bit float")
    write["create_directories"].setValue(True)
    nuke.execute(write, nuke.FrameRanges([" ".join(map(str, frames))]))
    return pixels(path % frames[0] if "%" in str(path) else path)


def press(node, button):
    node[button].execute()


def state(node):
    return VoidNode(node).state


def wait_until_submitted(node):
    """Wait until the node knows its job, or has its result already."""
    wait_for(lambda: node["void_jobs"].value() or state(node) == "done")


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
