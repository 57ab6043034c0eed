"""The way from a press to the picture, inside Nuke itself: ``nuke -t run.py --plugin=... --sample=... --server=... --out=...``.

Writes ``report.json`` into ``--out``: a list of checks with name, ok and detail. What it renders there, the test that
started it compares with the files of the result.
"""

import argparse
import json
import os
import sys
import traceback

import nuke


def read(folder, stem):
    node = nuke.nodes.Read()
    node["file"].fromUserText("%s/%s.%%04d.exr 1001-1012" % (folder.replace(os.sep, "/"), stem))
    return node


class Report:
    def __init__(self, path):
        self.path, self.checks = path, []

    def check(self, name, ok, detail=""):
        self.checks.append({"name": name, "ok": bool(ok), "detail": str(detail)})
        with open(self.path, "w") as file:
            json.dump({"nuke": nuke.NUKE_VERSION_STRING, "checks": self.checks}, file, indent=2)


def render(node, path, channels):
    """Write what a node shows at frame 1006."""
    write = nuke.nodes.Write()
    write.setInput(0, node)
    write["file_type"].setValue("exr")
    write["file"].setValue(path.replace(os.sep, "/"))
    write["channels"].setValue(channels)
    write["raw"].setValue(True)
    write["datatype"].setValue("32 bit float")
    nuke.execute(write, 1006, 1006)
    nuke.delete(write)


def run(options, report):
    nuke.pluginAddPath(options.plugin)
    report.check("the plugin is found", any("gizmos" in path for path in nuke.pluginPath()), nuke.pluginPath())
    nuke.scriptSaveAs(os.path.join(options.out, "real_comp_v001.nk").replace(os.sep, "/"), 1)
    plate, roto = (
        read(os.path.join(options.sample, "plate"), "plate"),
        read(os.path.join(options.sample, "roto"), "roto"),
    )
    node = nuke.createNode("VOID_Remove", inpanel=False)
    report.check("the node is a Group", node.Class() == "Group", node.Class())
    report.check("it has an id", node["void_id"].value(), node["void_id"].value())
    wanted = ("generate_quadmask", "remove", "stop", "status", "view", "prompt", "patch_feather", "void_state")
    report.check("multi-line and other knobs were made", all(node.knob(n) for n in wanted), wanted)
    node.setInput(0, plate)
    node.setInput(1, roto)
    node["server"].setValue(options.server)
    choices = node.node("ResultPlate")["on_error"].values()
    report.check("the fourth choice of on_error holds the nearest frame", choices[3] == "nearest frame", choices)
    for name in ("colorManagement", "OCIO_config", "customOCIOConfigPath", "OCIOConfigPath", "workingSpaceLUT"):
        knob = nuke.root().knob(name)
        report.check("the root has the knob %s" % name, knob is not None, knob and repr(knob.value()))
    report.check("a knob can be left out of undo", hasattr(nuke, "NO_UNDO"))
    nuke.frame(1006)
    render(node, os.path.join(options.out, "before.exr"), "rgb")
    report.check("the plate passes before the first result", not node.hasError())
    node["remove"].execute()
    report.check("the press comes back with the result", node["result"].value() == "v001", node["status"].value())
    report.check("the Read has its range", node.node("ResultPlate")["first"].value() == 1001)
    for name in ("result", "quadmask", "difference", "wipe", "affected", "patch"):
        node["view"].setValue(name)
        render(node, os.path.join(options.out, "view_%s.exr" % name), "rgb")
    render(node, os.path.join(options.out, "after.exr"), "all")
    report.check("nothing is wrong with the node", not node.hasError())
    for name, knob, changed, default in (("feather", "patch_feather", 8, 0), ("mix", "patch_mix", 0.5, 1)):
        node[knob].setValue(changed)
        report.check("the patch is laid over live: %s" % name, not node.hasError())
        render(node, os.path.join(options.out, "live_%s.exr" % name), "rgb")
        node[knob].setValue(default)
    file = node.node("ResultPatch")["file"].value()
    patch = read(os.path.dirname(file), "void_patch")
    over = nuke.nodes.Merge2(operation="over")
    over.setInput(0, plate)
    over.setInput(1, patch)
    report.check("the patch has the plate's format", patch.width() == plate.width(), patch.width())
    render(over, os.path.join(options.out, "merged.exr"), "rgb")
    for frame, expected in ((1006, 1), (1012, 1), (1013, 0)):
        nuke.frame(frame)
        report.check("the version has frame %d: %d" % (frame, expected), node["void_has_frame"].value() == expected)
    node["outside"].setValue("error")
    report.check("a frame beyond the version can be an error", node.hasError())
    node["outside"].setValue("plate")
    report.check("or the plate", not node.hasError())
    nuke.frame(1006)
    nuke.scriptSave()
    nuke.scriptOpen(nuke.root().name())
    again = nuke.allNodes("Group")[0]
    report.check("the result survives saving", again["result"].value() == "v001", again["result"].value())
    quadmask = nuke.nodePaste(os.path.join(options.plugin, "gizmos", "VOID_Quadmask.gizmo").replace(os.sep, "/"))
    quadmask.setInput(0, nuke.toNode("Read1"))
    quadmask.setInput(1, nuke.toNode("Read2"))
    quadmask["cell_edits"].setValue("1001-1012:r1c1=affected")
    render(quadmask, os.path.join(options.out, "grid.exr"), "all")
    report.check("grid edits evaluate", not quadmask.hasError())


def main():
    parser = argparse.ArgumentParser()
    for name in ("plugin", "sample", "server", "out"):
        parser.add_argument("--" + name, required=True)
    options, _ = parser.parse_known_args()
    report = Report(os.path.join(options.out, "report.json"))
    try:
        run(options, report)
    except Exception:
        report.check("no exception", False, traceback.format_exc())
    from void_nuke.job import session

    session.forget_all()
    return 0 if all(check["ok"] for check in report.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
