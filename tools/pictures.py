"""Draws the pictures of the guides into docs/images: ``python tools/pictures.py``, offscreen, in a minute.

The node graphs are drawings. The views and the panel are the real nodes and the real panel, in the tests' stand-in for
Nuke, working on a sample shot.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(ROOT),
    str(ROOT / "nuke_plugin"),
    str(ROOT / "tests" / "nuke_standin"),
    str(ROOT / "tests" / "nuke"),
]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import nuke  # noqa: E402
import numpy as np  # noqa: E402
from driving import RunningServer, picture, press, read_node, rgb, void_remove, wait_until_done  # noqa: E402
from PySide6 import QtCore, QtGui, QtWidgets  # noqa: E402
from void_nuke.studio import settings  # noqa: E402

from void_server.sample import write_sample  # noqa: E402

IMAGES = ROOT / "docs" / "images"
READ, ROTO, VOID, OTHER = "#c9b98a", "#7fae7f", "#3d6b93", "#8a8a8a"
_BOX = QtCore.QSize(150, 40)
_BACKGROUND = "#3a3a3a"

Boxes = dict[str, tuple[int, int, str, str]]


def graph(name: str, boxes: Boxes, wires: list[tuple[str, str, str]]) -> None:
    """Draw nodes, each (x, y, colour, text), and wires, each (from, to, the input's name)."""
    width = max(x for x, *_ in boxes.values()) + _BOX.width() + 40
    height = max(y for _, y, *_ in boxes.values()) + _BOX.height() + 40
    image = QtGui.QImage(2 * width, 2 * height, QtGui.QImage.Format.Format_RGB32)
    image.fill(QtGui.QColor(_BACKGROUND))
    painter = QtGui.QPainter(image)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    painter.scale(2, 2)
    for source, target, label in wires:
        start = _rectangle(boxes[source]).center()
        box = _rectangle(boxes[target])
        end = box.center()
        painter.setPen(QtGui.QPen(QtGui.QColor("#d0d0d0"), 1.6))
        painter.drawLine(start, end)
        middle = (start + end) / 2
        painter.setPen(QtGui.QColor("#f0d080"))
        painter.drawText(QtCore.QPointF(middle.x() + 14, middle.y() - 2), label)
    for box in boxes.values():
        rectangle = _rectangle(box)
        painter.setPen(QtGui.QPen(QtGui.QColor("#202020"), 1))
        painter.setBrush(QtGui.QColor(box[2]))
        painter.drawRoundedRect(rectangle, 5, 5)
        painter.setPen(QtGui.QColor("#ffffff" if box[2] == VOID else "#202020"))
        painter.drawText(rectangle, QtCore.Qt.AlignmentFlag.AlignCenter, box[3])
    painter.end()
    image.save(str(IMAGES / f"{name}.png"))


def _rectangle(box: tuple[int, int, str, str]) -> QtCore.QRectF:
    return QtCore.QRectF(box[0] + 20, box[1] + 20, _BOX.width(), _BOX.height())


def graphs() -> None:
    """The two ways of wiring the nodes, and what follows them."""
    graph(
        "graph_remove",
        {
            "plate": (0, 0, READ, "Read\nplate"),
            "roto": (240, 0, ROTO, "Roto\nwhat to remove"),
            "void": (0, 120, VOID, "VOID_Remove1"),
            "write": (0, 230, OTHER, "your comp"),
        },
        [("plate", "void", "plate"), ("roto", "void", "roto"), ("void", "write", "")],
    )
    graph(
        "graph_quadmask",
        {
            "plate": (0, 0, READ, "Read\nplate"),
            "roto": (240, 0, ROTO, "Roto\nwhat to remove"),
            "quadmask": (240, 110, VOID, "VOID_Quadmask1"),
            "paint": (240, 200, ROTO, "RotoPaint\nlayer quadmask"),
            "void": (0, 290, VOID, "VOID_Remove1"),
        },
        [
            ("plate", "void", "plate"),
            ("plate", "quadmask", "plate"),
            ("roto", "quadmask", "roto"),
            ("quadmask", "paint", ""),
            ("paint", "void", "quadmask"),
        ],
    )
    graph(
        "graph_mattes",
        {
            "void": (120, 0, VOID, "VOID_Remove1"),
            "copy": (240, 100, OTHER, "VOID_affected\nalpha: affected"),
            "grade": (120, 200, OTHER, "Grade\nmask rgba.alpha"),
        },
        [("void", "copy", "A and B"), ("void", "grade", ""), ("copy", "grade", "mask")],
    )
    graph(
        "graph_patch",
        {
            "plate": (0, 0, READ, "Read\nplate"),
            "void": (240, 90, VOID, "VOID_Remove1"),
            "patch": (240, 180, OTHER, "VOID_patch\nthe new pixels"),
            "grade": (0, 270, OTHER, "Grade\nthe plate's"),
            "copy": (240, 270, OTHER, "Grade\na copy of it"),
            "over": (0, 370, OTHER, "VOID_over\nMerge"),
        },
        [
            ("plate", "void", "plate"),
            ("plate", "grade", ""),
            ("void", "patch", "A and B"),
            ("patch", "copy", ""),
            ("grade", "over", "B"),
            ("copy", "over", "A"),
        ],
    )


def views(node: nuke.Node) -> None:
    """What the node's views show at one frame, side by side."""
    names = ("plate", "quadmask", "result", "wipe", "difference", "affected", "blend", "patch", "origin")
    shown = []
    for name in names:
        node["view"].setValue(name)
        linear = np.clip(rgb(picture(node, 1020)), 0, 1)
        shown.append((name, np.round(255 * linear ** (1 / 2.2)).astype(np.uint8)))
    node["view"].setValue("result")
    height, width = shown[0][1].shape[:2]
    rows = len(names) // 3
    image = QtGui.QImage(3 * (width + 10) + 10, rows * (height + 34) + 10, QtGui.QImage.Format.Format_RGB32)
    image.fill(QtGui.QColor("#262626"))
    painter = QtGui.QPainter(image)
    painter.setPen(QtGui.QColor("#e0e0e0"))
    for index, (name, pixels) in enumerate(shown):
        x, y = 10 + index % 3 * (width + 10), 28 + index // 3 * (height + 34)
        data = np.ascontiguousarray(pixels)
        painter.drawImage(x, y, QtGui.QImage(data.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888))
        painter.drawText(x + 2, y - 8, name)
    painter.end()
    image.save(str(IMAGES / "views.png"))


def dark() -> QtGui.QPalette:
    """About the colours of Nuke's own windows."""
    palette = QtGui.QPalette()
    roles = QtGui.QPalette.ColorRole
    for role, colour in (
        (roles.Window, "#323232"),
        (roles.Base, "#282828"),
        (roles.AlternateBase, "#323232"),
        (roles.Button, "#454545"),
        (roles.Text, "#d8d8d8"),
        (roles.WindowText, "#d8d8d8"),
        (roles.ButtonText, "#d8d8d8"),
        (roles.Highlight, "#5a5347"),
        (roles.HighlightedText, "#f0e0c0"),
        (roles.PlaceholderText, "#888888"),
    ):
        palette.setColor(role, QtGui.QColor(colour))
    palette.setColor(QtGui.QPalette.ColorGroup.Disabled, roles.ButtonText, QtGui.QColor("#747474"))
    return palette


def panel(node: nuke.Node) -> None:
    """The panel with a finished and a running job."""
    from void_nuke.ui.jobs_panel import JobsPanel

    second = void_remove(node.input(0), node.input(1))
    press(second, "remove")
    widget = JobsPanel()
    widget.resize(900, 640)
    widget.show()
    for _ in range(600):
        QtWidgets.QApplication.processEvents()
        nuke.standin_process_events()
        running = second["void_state"].value().startswith("running 4")
        if running or second["void_state"].value().startswith("done"):
            break
        QtCore.QThread.msleep(20)
    widget.refresh()
    widget._table.selectRow(1)
    for _ in range(5):
        QtWidgets.QApplication.processEvents()
    widget.grab().save(str(IMAGES / "jobs.png"))
    widget.hide()
    wait_until_done(second)


def main() -> None:
    """Draw all pictures."""
    application = QtWidgets.QApplication([])
    application.setStyle("Fusion")
    application.setPalette(dark())
    graphs()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["VOID_HOME"] = str(home / "home")
        write_sample(home / "shot", "walkby", (426, 240), range(1001, 1041))
        server = RunningServer(home).start()
        try:
            nuke.standin_run(str(ROOT / "init.py"))
            nuke.standin_run(str(ROOT / "menu.py"))
            nuke.scriptSaveAs(str(home / "sh010_comp_v003.nk"))
            settings.save_user({"server": server.address})
            node = void_remove(
                read_node(home / "shot/plate", (1001, 1040)), read_node(home / "shot/roto", (1001, 1040))
            )
            press(node, "remove")
            wait_until_done(node)
            views(node)
            panel(node)
        finally:
            from void_nuke.job import session

            session.forget_all()
            server.stop()


if __name__ == "__main__":
    main()
