"""The nodes VOID Remove and VOID Quadmask. ``python -m void_nuke.node.definition`` writes them into gizmos/."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Sequence

from void_server.api.settings import declarations
from void_server.api.shot import Settings, title

from . import cells, declared
from . import knobs as k
from .text import Expression, Group, KnobType, Node, UserKnob, Value

GIZMOS = Path(__file__).resolve().parents[3] / "gizmos"
VIEWS = (
    k.VIEW_RESULT,
    "plate",
    "quadmask",
    "difference",
    k.VIEW_WIPE,
    *k.CLASSES,
    "blend",
    "patch",
    "origin",
    k.PREVIEW_VIEW,
)
QUADMASK_VIEWS = ("plate", "quadmask", *k.CLASSES, k.ROTO_VIEW)

_RGB = ("rgba.red", "rgba.green", "rgba.blue")
_NO_CHANNEL = ("none", "none", "none", "-rgba.alpha")
# The classes in the colours of the contact sheet, scene-linear.
_COLOURS = {"remove": (0.76, 0.05, 0.05), "overlap": (0.58, 0.06, 0.58), "affected": (0.87, 0.40, 0.02)}
_ORIGIN_COLOURS = {"recovered": (0.05, 0.46, 0.14), "filled": (0.87, 0.40, 0.02), "generated": (0.58, 0.06, 0.58)}
_LAYERS = {
    "quadmask": k.CLASSES,
    "void_blend": ("alpha",),
    "void_patch": ("red", "green", "blue", "alpha"),
    "origin": k.ORIGINS,
    "void_scratch": ("red", "green", "blue"),
}

_TAB = ("VOID", "Settings", "Farm", "Info")


def _code(action: str) -> str:
    """A button's code: a missing plugin becomes a sentence."""
    return (
        "try:\n"
        "    from void_nuke import buttons\n"
        "except ImportError as error:\n"
        '    nuke.message("VOID for Nuke is incomplete here: %s. Run: void install-nuke --check" % error)\n'
        "else:\n"
        f'    buttons.press("{action}")'
    )


def _button(name: str, label: str, tooltip: str, *flags: str) -> UserKnob:
    return UserKnob(KnobType.PYTHON_BUTTON, name, label, tooltip, text=_code(name), flags=flags)


def _line(name: str, words: str = "") -> UserKnob:
    """A dividing line, with bold words on it where there are any."""
    return UserKnob(KnobType.TEXT, name, f"<b>{words}</b>" if words else "", text=" " if words else "")


def _choice(name: str, label: str, items: Sequence[str], tooltip: str, *flags: str) -> UserKnob:
    return UserKnob(KnobType.ENUMERATION, name, label, tooltip, value=items[0], items=items, flags=flags)


def _text(name: str, label: str, tooltip: str, *flags: str) -> UserKnob:
    return UserKnob(KnobType.STRING, name, label, tooltip, flags=flags)


def _check(name: str, label: str, value: bool, tooltip: str, *flags: str) -> UserKnob:
    return UserKnob(KnobType.BOOLEAN, name, label, tooltip, value=value, flags=flags)


def _common(name: str, items: Sequence[str] = ()) -> UserKnob:
    """The knob of a common setting; ``items`` are what its pulldown offers until a server says more."""
    return declared.user_knob(next(one for one in declarations(Settings) if one.name == name), items)


def _slider(name: str, label: str, value: float, most: float, tooltip: str) -> UserKnob:
    return UserKnob(KnobType.DOUBLE, name, label, tooltip, value=value, range=(0, most))


def _titled(name: str, items: Sequence[str]) -> list[UserKnob]:
    """The pulldown of engines or reasoners, and beside it what artists call the chosen one."""
    return [
        _common(name, items),
        UserKnob(KnobType.TEXT, k.TITLE_OF[name], text=title(items[0]), flags=("-STARTLINE",)),
    ]


def _tab(name: str) -> UserKnob:
    return UserKnob(KnobType.TAB, f"tab_{name.lower()}", name)


_GENERATE = _button(
    k.GENERATE,
    "Generate quadmask",
    "Find what the removal affects: shadows, reflections, whatever the object moves. "
    "Check it with view quadmask; Remove then uses it. The plate stays untouched for now.",
    "+STARTLINE",
)
_PREVIEWS = [
    _button(
        k.PREVIEW_FRAME,
        "Preview frame",
        "Remove the object in the current frame, at a reduced size, to see it soon. It shows in the view preview.",
        "+STARTLINE",
    ),
    _button(k.PREVIEW_RANGE, "Preview every 10th", "The same for every tenth frame of the frame range.", "-STARTLINE"),
]
_STOP = _button(k.STOP, "Stop", "Stop the job. Finished frames are kept; Resume continues from there.", "-STARTLINE")
_RESUME = _button(k.RESUME, "Resume", "Continue a stopped or failed job; finished frames are not redone.", "-STARTLINE")
_STATUS = _text(k.STATUS, "status", "Progress of this node's job, or what went wrong and how to fix it.", "+DISABLED")


def _frame_knobs() -> list[UserKnob]:
    return [
        _choice(
            k.FRAMES,
            "frame range",
            (k.FROM_INPUT, k.FROM_SCRIPT, k.CUSTOM),
            "input: all frames of the plate. global: the range in the project settings. custom: the range beside it.",
            "+STARTLINE",
        ),
        _text(k.CUSTOM_RANGE, "", "The custom frame range, such as 1001-1040.", "-STARTLINE"),
    ]


def _shared_choices() -> list[UserKnob]:
    return [
        *_titled(k.REASONER, ("image", "none")),
        _choice(
            k.RESULT,
            "result",
            (k.NO_RESULT,),
            "The version this node shows. Every job creates a new version; earlier ones are kept.",
            "+STARTLINE",
        ),
        _button(
            k.ABOUT,
            "What made it",
            "Say what made this version, and in what the node is set otherwise now.",
            "-STARTLINE",
        ),
        _button(k.RESTORE, "Restore settings", "Set this node to what made this version.", "-STARTLINE"),
        _button(
            k.CREATE_READS,
            "Create Reads",
            "Make plain Reads of this version, in its colour space, for any script.",
            "-STARTLINE",
        ),
        _button(k.COPY_PATH, "Copy path", "Copy the path of this version's folder.", "-STARTLINE"),
        _button(k.REVEAL, "Reveal folder", "Open this version's folder in the system's file browser.", "-STARTLINE"),
    ]


def _settings() -> list[UserKnob]:
    return [
        _tab("Settings"),
        _text(
            k.SERVER,
            "server",
            "The server's address, such as tcp://gpu01:5690. Empty: the server in the VOID settings, "
            "or one on this machine, started on demand.",
        ),
        _choice(
            k.TRANSFER,
            "transfer",
            (k.AUTOMATIC, k.BY_PATH, k.BY_UPLOAD),
            "path: the server reads and writes the same disks. upload: frames are sent over the network. "
            "automatic: follow the VOID settings.",
        ),
        UserKnob(
            KnobType.FILE,
            k.OUTPUT,
            "output folder",
            "Folder for the versions. {script_dir}, {script}, {node} and {user} are expanded. "
            "Empty: use the template in the VOID settings.",
        ),
        _text(
            k.COLORSPACE,
            "colour space",
            "OCIO name of the colour space of the plate as it enters this node. Empty: the script's working space.",
        ),
        _choice(
            k.DATATYPE,
            "export as",
            (k.AUTOMATIC, k.HALF, k.FLOAT),
            "Bit depth of the exported plate. automatic: half if the source is half, otherwise float.",
        ),
        _common("affected_shape"),
        *_model(),
        UserKnob(
            KnobType.FILE, k.ANALYSIS, "analysis file", "An analysis made elsewhere, for the choice file of analysis."
        ),
        _check(
            k.REUSE,
            "reuse exported frames",
            True,
            "Skip frames whose source has not changed. "
            "Turn this off if something changed that Nuke cannot see, such as a file read by an expression.",
            "+STARTLINE",
        ),
        _check(
            k.USE_ROI,
            "region of interest",
            False,
            "Work only inside the box: faster, but the job sees less of the scene. The result keeps the plate's size.",
            "+STARTLINE",
        ),
        UserKnob(
            KnobType.BBOX,
            k.ROI,
            "",
            "The region of interest in pixels: left, bottom, right, top.",
            flags=("-STARTLINE",),
        ),
    ]


def _diffusion() -> list[UserKnob]:
    """The settings of the engine void."""
    return [_line("line_void", title("void")), *map(declared.user_knob, _ours().engines["void"])]


def _model() -> list[UserKnob]:
    """The settings of reasoners that ask a language model."""
    return [declared.user_knob(one) for one in _ours().reasoners["gemini"]]


def _ours() -> declared.Declarations:
    """The settings of the engines and reasoners that come with VOID."""
    # Only here: files are written where all of VOID is installed, nodes are used where only its API is.
    from void_server import plugins

    engines, reasoners = plugins.declared(plugins.ENGINES), plugins.declared(plugins.REASONERS)
    return declared.Declarations(
        {name: engines[name] for name in ("void",)}, {name: reasoners[name] for name in ("gemini", "local")}
    )


def _info() -> list[UserKnob]:
    return [
        _tab("Farm"),
        _button(
            k.FARM_SUBMIT,
            "Submit to farm",
            "Open the farm dialog for this node. A studio's own submission takes its place, and saves the script.",
            "+STARTLINE",
        ),
        _button(
            k.FARM_COMMAND,
            "Copy command line",
            "Copy a command that runs this node's job without the Nuke window, for a shell or any farm.",
            "-STARTLINE",
        ),
        _tab("Info"),
        UserKnob(
            KnobType.TEXT,
            "about",
            "",
            text="<b>VOID for Nuke</b><br>Removes an object together with everything it did to the scene.",
        ),
        _button(k.JOBS_PANEL, "Jobs", "Open the panel VOID Jobs.", "+STARTLINE"),
        _button(k.DOCUMENTATION, "Documentation", "Open the artist's guide.", "-STARTLINE"),
        _button(k.CHECK, "Check environment", "Check packages, settings, disk and server, and report what is wrong."),
        _button(k.DIAGNOSTICS, "Copy diagnostics", "Copy everything support needs to the clipboard.", "-STARTLINE"),
    ]


def _state(kind: str) -> list[UserKnob]:
    hidden = ("+INVISIBLE",)
    texts = (k.ID, k.JOBS, k.FOLDER, k.SOURCES, k.STATE)
    numbers = (k.HAS_PLATE, k.HAS_MATTES, k.HAS_FRAME, k.HAS_PREVIEW)
    return [
        UserKnob(KnobType.STRING, k.KIND, value=kind, flags=hidden),
        *(UserKnob(KnobType.STRING, name, flags=hidden) for name in texts),
        UserKnob(KnobType.STRING, k.DECLARED, value=declared.written(_ours(), kind == k.REMOVE_NODE), flags=hidden),
        *(UserKnob(KnobType.INT, name, value=0, flags=hidden) for name in numbers),
    ]


def _input(name: str, number: int, x: int) -> Node:
    knobs: dict[str, Value] = {"number": number} if number else {}
    return Node("Input", name, knobs, position=(x, 0))


def _read(name: str, x: int, y: int, *, on_error: Value = "error") -> Node:
    # never reached by a viewer before there is a file, and then a missing frame must be seen
    knobs: dict[str, Value] = {"raw": True, "on_error": on_error, "before": "hold", "after": "hold"}
    return Node("Read", name, {**knobs, "localizationPolicy": "off"}, position=(x, y))


def _copy(name: str, b: str, a: str, channels: Sequence[tuple[str, str]], x: int, y: int) -> Node:
    """A Copy of up to four channels, (from, to) each, out of ``a`` into ``b``."""
    knobs: dict[str, Value] = {}
    for index, (source, target) in enumerate(channels):
        knobs[f"from{index}"], knobs[f"to{index}"] = source, target
    # the picture keeps the plate's bounding box
    knobs["bbox"] = "B"
    return Node("Copy", name, knobs, (b, a), (x, y))


def _mask(layer: Sequence[str], *channels: str) -> tuple[str, ...]:
    """A knob's choice of channels: these of a layer switched on."""
    names = [name if name in channels else f"-{name}" for name in layer]
    return tuple([*names, "none"][:4])


def _expression(
    name: str,
    source: str,
    rows: Sequence[tuple[str, str]],
    layer: Sequence[str],
    position: tuple[int, int],
    temporaries: Sequence[tuple[str, str]] = (),
) -> Node:
    """An Expression that sets the channels of one layer: ``rows`` are (channel, expression)."""
    knobs: dict[str, Value] = {}
    for index, (variable, text) in enumerate(temporaries):
        knobs[f"temp_name{index}"], knobs[f"temp_expr{index}"] = variable, text
    for index in range(4):
        if index < len(rows):
            knobs[f"channel{index}"] = _mask(layer, rows[index][0])
            knobs[f"expr{index}"] = rows[index][1]
        else:
            knobs[f"channel{index}"] = _NO_CHANNEL
    return Node("Expression", name, knobs, (source,), position)


def _overlay(
    source: str,
    x: int,
    y: int,
    name: str = "Overlay",
    layer: str = "quadmask",
    colours: Mapping[str, tuple[float, float, float]] = _COLOURS,
) -> Node:
    """The plate with the channels of a layer in colour."""
    rows = []
    for index, channel in enumerate(_RGB):
        mixed = " + ".join(f"{colour[index]}*{layer}.{one}" for one, colour in colours.items())
        rows.append((channel, f"{'rgb'[index]}*(1 - 0.6*changed) + 0.6*({mixed})"))
    changed = " + ".join(f"{layer}.{one}" for one in colours)
    return _expression(name, source, rows, _RGB, (x, y), [("changed", changed)])


def _shown(name: str, channel: str, source: str, x: int, y: int) -> Node:
    """One matte as a grey picture."""
    return _expression(name, source, [(target, channel) for target in _RGB], _RGB, (x, y))


def _shown_classes(source: str, x: int, y: int) -> list[Node]:
    """The matte of each class as a grey picture, side by side."""
    return [_shown(f"Show_{n}", f"quadmask.{n}", source, x + 110 * i, y) for i, n in enumerate(k.CLASSES)]


def _switch(name: str, which: str, inputs: Sequence[str], x: int, y: int) -> Node:
    return Node("Switch", name, {"which": Expression(which)}, inputs, (x, y))


def _preview(x: int, y: int) -> list[Node]:
    """What reads a preview, as large as the plate."""
    size: dict[str, Value] = {
        "type": "to box",
        "box_width": Expression(f"{k.PLATE_INPUT}.width"),
        "box_height": Expression(f"{k.PLATE_INPUT}.height"),
        "box_fixed": True,
        "box_pixel_aspect": Expression(f"{k.PLATE_INPUT}.pixel_aspect"),
        "resize": "distort",
    }
    # of a preview's few frames, the nearest
    return [
        _read(k.PREVIEW_READ, x, y, on_error="nearest frame"),
        Node("Reformat", "PreviewSize", size, (k.PREVIEW_READ,), (x, y + 60)),
    ]


def _mattes_of(b: str, a: str, x: int, y: int) -> Node:
    return _copy("WithMattes", b, a, [(channel, channel) for channel in k.QUADMASK_LAYER], x, y)


def _live_patch(source: str, x: int, y: int) -> list[Node]:
    """The layer void_patch as it is laid over the plate, with the knobs for its edge and its strength.

    Beside the object the plate is clean, and the job's own feather lies there; under it nothing is: so the edge moves
    inwards over what was affected, and keeps away from the object, which is the roto down to its faintest edge.
    """
    width = f"parent.{k.PATCH_FEATHER}"
    beyond, objects, _ = k.SCRATCH_LAYER
    footprints = [
        (beyond, "void_patch.alpha <= 0"),
        (objects, f"quadmask.remove + quadmask.overlap > 0.5 || {objects} > 0.02"),
    ]
    both = _mask(k.SCRATCH_LAYER, beyond, objects)
    share = [("share", f"max(1 - min({beyond}, 1), min(2*{objects}, 1))")]
    strength = [("strength", f"clamp(parent.{k.PATCH_MIX}, 0, 1)")]

    def scaled(name: str, source: str, by: Sequence[tuple[str, str]], y: int) -> Node:
        rows = [(channel, f"{channel}*{by[0][0]}") for channel in k.PATCH_LAYER]
        return _expression(name, source, rows, k.PATCH_LAYER, (x, y), by)

    return [
        _copy("WithRoto", source, k.ROTO_INPUT, [("rgba.alpha", objects)], x, y),
        _expression("Footprints", "WithRoto", footprints, k.SCRATCH_LAYER, (x, y + 40)),
        Node(
            "Dilate",
            "Grown",
            {"channels": both, "size": Expression(f"ceil({width}/2) + 1")},
            ("Footprints",),
            (x, y + 80),
        ),
        Node("Blur", "Soft", {"channels": both, "size": Expression(f"{width}/2")}, ("Grown",), (x, y + 120)),
        scaled("Feathered", "Soft", share, y + 160),
        # without what the filters added to the bounding box
        _copy("InPlatesBox", source, "Feathered", [(c, c) for c in k.PATCH_LAYER], x, y + 200),
        _switch("Edge", f"{width} > 0", (source, "InPlatesBox"), x, y + 240),
        scaled("LivePatch", "Edge", strength, y + 280),
    ]


def _header(kind: str) -> dict[str, Value]:
    return {"tile_color": k.TILES[k.IDLE], "label": f"[value {k.STATE}]", "help": _HELP[kind]}


_HELP = {
    k.REMOVE_NODE: "VOID Remove: removes the object in the roto from the plate, with its shadow, its reflection and "
    "everything else it did to the scene. Press Remove; the result appears in this node.",
    k.QUADMASK_NODE: "VOID Quadmask: finds what removing the object affects and writes it to the layer quadmask. "
    "Check it, paint on it, then connect it to VOID Remove.",
}
# Whatever the viewer shows, a render gets the result; $gui alone is 1 in one that a session with a window runs.
_LOOKED_AT = f"$gui && [python {{1-nuke.executing()}}] ? parent.{k.VIEW} : 0"
# A preview has a frame around it, so that nobody takes it for the result.
_EDGE = "x < 0.006*width || y < 0.006*width || x >= 0.994*width || y >= height - 0.006*width"
_FRAMED = [(channel, f"{_EDGE} ? {amber} : {channel[5]}") for channel, amber in zip(_RGB, (0.87, 0.40, 0.02))]
# Frames that the version does not have, beyond its range or between those of a stepped one: plate, hold, error.
_HELD = Expression(f"parent.{k.OUTSIDE} == 1 ? 3 : 0")
_RESULT = (
    f"!parent.{k.HAS_MATTES} ? 0 : (parent.{k.HAS_FRAME} || parent.{k.OUTSIDE} == 1 ? 1 + parent.{k.HAS_PLATE} : "
    f"(parent.{k.OUTSIDE} == 2 ? 3 : 0))"
)


def remove() -> Group:
    """The node VOID Remove."""
    user_knobs = [
        _tab("VOID"),
        _GENERATE,
        _button(
            k.REMOVE,
            "Remove",
            "Remove the object. Nuke exports plate and roto, then you can keep working.",
            "-STARTLINE",
        ),
        _STOP,
        _RESUME,
        *_PREVIEWS,
        _STATUS,
        _line("line_look"),
        _choice(k.VIEW, "view", VIEWS, "What this node shows in the viewer. Renders always use the result."),
        _button(
            k.BEFORE_AFTER,
            "Before / after",
            "Show the plate on the left and the result on the right, in the viewer only. Press again for the result.",
            "-STARTLINE",
        ),
        _slider(k.WIPE, "wipe", 0.5, 1, "Where plate and result meet in the view wipe. Renders always use the result."),
        *_frame_knobs(),
        UserKnob(
            KnobType.MULTILINE,
            k.PROMPT,
            "prompt",
            "Describe the scene after the removal, such as: A lime falls on the table. Do not describe the removal. "
            "Used by the VOID model, and by language models that analyse the shot.",
        ),
        *_titled(k.ENGINE, ("cleanplate", "void")),
        *_shared_choices(),
        _choice(
            k.OUTSIDE,
            "other frames",
            k.OUTSIDE_CHOICES,
            "What this node shows in frames that the version does not have, also between those of a range such as "
            "1001-1100x10. plate: the plate. hold: the nearest frame of the version. error: an error, so that no "
            "render goes out without the removal.",
            "+STARTLINE",
        ),
        _line("line_patch", "patch"),
        _slider(
            k.PATCH_FEATHER,
            "feather inwards",
            0.0,
            50,
            "Softens the edge of the new pixels by so many pixels, at once and without a new job. It goes inwards, "
            "over what was affected: beyond the patch nothing changes, and where the object is the patch stays whole, "
            "so nothing of the object shows. The setting feather, for the next job, goes outwards.",
        ),
        _slider(
            k.PATCH_MIX,
            "mix",
            1.0,
            1,
            "How much of the new pixels is laid over the plate, at once and without a new job. 0: the plate.",
        ),
        *_settings(),
        _line("line_finish", "finish"),
        _common("feather"),
        _common("grain"),
        *_diffusion(),
        _common("seed"),
        *_info(),
        *_state(k.REMOVE_NODE),
    ]
    alpha = k.PATCH_LAYER[-1]
    new = [("rgba." + c, "void_scratch." + c) for c in ("red", "green", "blue")]
    lay_over = [(channel, f"{k.BLEND} > 0 ? void_scratch.{channel[5:]} : {channel[5]}") for channel in _RGB]
    over = [
        (f"rgba.{c}", f"{alpha} > 0 ? void_patch.{c} + ({alpha} < 1 ? {c[0]}*(1 - {alpha}) : 0) : {c[0]}")
        for c in ("red", "green", "blue")
    ]
    wiped = [(channel, f"x < parent.{k.WIPE}*width ? void_scratch.{channel[5:]} : {channel[5]}") for channel in _RGB]
    keep = [("quadmask.keep", "1 - quadmask.remove - quadmask.overlap - quadmask.affected")]
    nodes = [
        _input(k.PLATE_INPUT, 0, 0),
        _input(k.ROTO_INPUT, 1, 500),
        _input(k.QUADMASK_INPUT, 2, 660),
        _read(k.RESULT_PLATE, 330, 120, on_error=_HELD),
        _read(k.RESULT_PATCH, 490, 120, on_error=_HELD),
        _read(k.RESULT_MATTES, 170, 120, on_error=_HELD),
        _read(k.STRICT_MATTES, -170, 120),
        _mattes_of(k.PLATE_INPUT, k.RESULT_MATTES, 0, 200),
        _copy("WithBlend", "WithMattes", k.RESULT_MATTES, [(c, c) for c in (k.BLEND, *k.ORIGIN_LAYER)], 0, 240),
        # beyond a region of interest the files say nothing, and everything is kept
        _expression("KeepTheRest", "WithBlend", keep, k.QUADMASK_LAYER, (0, 280)),
        _copy(
            "WithPatch",
            "KeepTheRest",
            k.RESULT_PATCH,
            [(f"rgba.{channel.partition('.')[2]}", channel) for channel in k.PATCH_LAYER],
            330,
            320,
        ),
        *_live_patch("WithPatch", 330, 360),
        # the result as it was delivered, while nothing is changed; exactly the plate wherever the blend is 0
        _copy("WithNewPixels", "LivePatch", k.RESULT_PLATE, new, 170, 680),
        _expression("LayOver", "WithNewPixels", lay_over, _RGB, (170, 720)),
        _expression("LayLiveOver", "LivePatch", over, _RGB, (330, 720)),
        _switch(
            "Laid",
            f"parent.{k.PATCH_FEATHER} > 0 || parent.{k.PATCH_MIX} < 1",
            ("LayOver", "LayLiveOver"),
            170,
            760,
        ),
        Node("Remove", "Tidy", {"channels": "void_scratch"}, ("Laid",), (170, 800)),
        _switch(
            "Result",
            _RESULT,
            (k.PLATE_INPUT, "KeepTheRest", "Tidy", k.STRICT_MATTES),
            0,
            880,
        ),
        _copy("GivenQuadmask", k.PLATE_INPUT, k.QUADMASK_INPUT, [(c, c) for c in k.QUADMASK_LAYER], 660, 880),
        _switch(
            "ShownQuadmask",
            f"!parent.{k.HAS_MATTES} && [exists parent.input2]",
            ("Result", "GivenQuadmask"),
            500,
            940,
        ),
        _overlay("ShownQuadmask", 500, 980),
        Node(
            "Merge2",
            "Difference",
            {"operation": "difference", "Achannels": "rgb", "Bchannels": "rgb", "output": "rgb"},
            (k.PLATE_INPUT, "Result"),
            (-170, 980),
        ),
        _copy("PlateBeside", "Result", k.PLATE_INPUT, new, -340, 980),
        _expression("Wipe", "PlateBeside", wiped, _RGB, (-340, 1020)),
        *_shown_classes("ShownQuadmask", 620, 1020),
        _shown("Show_blend", k.BLEND, "Result", 1060, 1020),
        _expression("Show_patch", "Result", list(zip(_RGB, k.PATCH_LAYER)), _RGB, (1170, 1020)),
        _overlay("Result", 1280, 1020, "Show_origin", "origin", _ORIGIN_COLOURS),
        *_preview(1390, 900),
        _expression("Framed", "PreviewSize", _FRAMED, _RGB, (1390, 1020)),
        _switch("Show_preview", f"parent.{k.HAS_PREVIEW}", (k.PLATE_INPUT, "Framed"), 1390, 1060),
        _switch(
            "View",
            _LOOKED_AT,
            (
                "Result",
                k.PLATE_INPUT,
                "Overlay",
                "Difference",
                "Wipe",
                *(f"Show_{name}" for name in k.CLASSES),
                "Show_blend",
                "Show_patch",
                "Show_origin",
                "Show_preview",
            ),
            0,
            1080,
        ),
        Node("Output", "Output1", {}, ("View",), (0, 1140)),
    ]
    return Group("VOID_Remove1", user_knobs, _LAYERS, nodes, _header(k.REMOVE_NODE))


def quadmask() -> Group:
    """The node VOID Quadmask."""
    user_knobs = [
        _tab("VOID"),
        _GENERATE,
        _STOP,
        _RESUME,
        _STATUS,
        _line("line_look"),
        _choice(
            k.VIEW,
            "view",
            QUADMASK_VIEWS,
            "What this node shows in the viewer. Renders get the plate and the layer quadmask.",
        ),
        *_frame_knobs(),
        UserKnob(
            KnobType.MULTILINE,
            k.PROMPT,
            "prompt",
            "Describe the scene after the removal. Used by language models that analyse the shot.",
        ),
        *_titled(k.ENGINE, ("cleanplate", "void")),
        *_shared_choices(),
        _line("line_clicks", "object"),
        UserKnob(
            KnobType.EYEDROPPER,
            k.PICK_ON,
            "click on it",
            "If you have no roto: switch this eyedropper on and Ctrl-click the object in the viewer (Cmd on macOS). "
            "Each click is a point at once; with Alt held too, one that is not on the object. A few points in one or "
            "two frames are enough; the object is tracked through the shot.",
        ),
        UserKnob(
            KnobType.EYEDROPPER,
            k.PICK_OFF,
            "click beside it",
            "The same for points that are not on the object, where too much was taken for it.",
            flags=("-STARTLINE",),
        ),
        UserKnob(
            KnobType.POSITION,
            k.CLICK,
            "point",
            "Another way: drag this handle on or beside the object and press a button.",
        ),
        _button(k.CLICK_ON, "On the object", "Mark the point as on the object in this frame.", "+STARTLINE"),
        _button(k.CLICK_OFF, "Not on it", "Mark the point as not on the object in this frame.", "-STARTLINE"),
        _button(k.CLICK_CLEAR, "Clear frame", "Delete the points of this frame.", "-STARTLINE"),
        _check(
            k.SHOW_ROTO,
            "show what is taken",
            True,
            "After each click, have this frame's roto made and show it in red, in the view roto.",
            "-STARTLINE",
        ),
        UserKnob(
            KnobType.MULTILINE,
            k.CLICKS,
            "points",
            "One per line: 1001: on 640,360, 1001: off 700,300, or a box as left, bottom, right, top: "
            "1001: box 600,300,700,420. 2@1001: on 90,80 is on a second object, tracked for itself. With SAM 3 "
            "also by name: 1001: named man in red. With these, no roto is needed.",
        ),
        _line("line_grid", "grid"),
        UserKnob(
            KnobType.POSITION,
            k.CELL,
            "cell",
            "Place it on the cell to change. Eight cells lie along the frame's short side.",
        ),
        _button(k.GRID_AFFECTED, "Affected", "Mark the cell as affected over the frame range.", "+STARTLINE"),
        _button(
            k.GRID_KEEP, "Keep", "Keep the cell untouched over the frame range, even where the object is.", "-STARTLINE"
        ),
        _button(k.GRID_CLEAR, "Clear", "Delete the changes to this cell.", "-STARTLINE"),
        _check(k.SHOW_GRID, "show grid", False, "Draw the lines between the cells in the view quadmask.", "-STARTLINE"),
        UserKnob(
            KnobType.MULTILINE,
            k.GRID,
            "cell edits",
            "One change per line, such as 1001-1040:r5c7=affected, r0c0=keep or, for a block, r2c0-r4c3=keep; rows and "
            "columns count from 0 at the top left. Later lines win.",
        ),
        *_settings(),
        _common("segmenter", ("auto", "sam2", "grabcut")),
        *_info(),
        *_state(k.QUADMASK_NODE),
    ]
    edited = [
        ("quadmask.remove", "object * !changed"),
        ("quadmask.overlap", "object * changed"),
        ("quadmask.affected", "!object * changed"),
        ("quadmask.keep", "!object * !changed"),
    ]
    temporaries = [
        ("kept", "void_scratch.green > 0.5 || void_scratch.blue < -0.5"),
        ("object", "(quadmask.remove > 0.5 || quadmask.overlap > 0.5) && !kept"),
        (
            "changed",
            "(quadmask.affected > 0.5 || quadmask.overlap > 0.5 || void_scratch.red > 0.5 || void_scratch.blue > 0.5) "
            "&& !kept",
        ),
    ]
    nodes = [
        _input(k.PLATE_INPUT, 0, 0),
        _input(k.ROTO_INPUT, 1, 330),
        _input(k.ADD_INPUT, 2, 500),
        _input(k.PROTECT_INPUT, 3, 660),
        _read(k.RESULT_MATTES, 170, 120),
        _mattes_of(k.PLATE_INPUT, k.RESULT_MATTES, 170, 200),
        _copy("FromRoto", k.PLATE_INPUT, k.ROTO_INPUT, [("rgba.alpha", "quadmask.remove")], 0, 200),
        _switch("Found", f"parent.{k.HAS_MATTES} && parent.{k.HAS_FRAME}", ("FromRoto", "WithMattes"), 0, 280),
        _copy("WithAdded", "Found", k.ADD_INPUT, [("rgba.alpha", "void_scratch.red")], 0, 320),
        _copy("WithProtected", "WithAdded", k.PROTECT_INPUT, [("rgba.alpha", "void_scratch.green")], 0, 360),
        _expression(k.GRID_NODE, "WithProtected", [("void_scratch.blue", "0")], k.SCRATCH_LAYER, (0, 400)),
        _expression("Edited", k.GRID_NODE, edited, k.QUADMASK_LAYER, (0, 440), temporaries),
        Node("Remove", "Result", {"channels": "void_scratch"}, ("Edited",), (0, 480)),
        _overlay("Result", 170, 540),
        _expression(
            "Grid",
            "Overlay",
            [(channel, f"line ? 0.5 + 0.5*{channel[5]} : {channel[5]}") for channel in _RGB],
            _RGB,
            (170, 580),
            [("line", f"parent.{k.SHOW_GRID} && ({cells.LINES})")],
        ),
        *_shown_classes("Result", 290, 580),
        *_preview(730, 400),
        _copy("WithRoto", k.PLATE_INPUT, "PreviewSize", [("rgba.alpha", "void_scratch.red")], 730, 500),
        _overlay("WithRoto", 730, 540, "RotoOverlay", "void_scratch", {"red": _COLOURS["remove"]}),
        _switch("Show_roto", f"parent.{k.HAS_PREVIEW}", (k.PLATE_INPUT, "RotoOverlay"), 730, 580),
        _switch(
            "View",
            _LOOKED_AT,
            ("Result", "Grid", *(f"Show_{name}" for name in k.CLASSES), "Show_roto"),
            0,
            640,
        ),
        Node("Output", "Output1", {}, ("View",), (0, 700)),
    ]
    return Group("VOID_Quadmask1", user_knobs, _LAYERS, nodes, _header(k.QUADMASK_NODE))


#: The nodes by the names of their files.
ALL = {"VOID_Remove": remove, "VOID_Quadmask": quadmask}


def write(folder: Path = GIZMOS) -> None:
    """Write the file of every node into ``folder``."""
    folder.mkdir(exist_ok=True)
    for name, build in ALL.items():
        (folder / f"{name}.gizmo").write_text(build().text(), encoding="utf-8")


if __name__ == "__main__":
    write()
