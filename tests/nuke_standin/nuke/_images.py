"""Pictures: what the graph computes, with real EXR files at both ends."""

import os
from dataclasses import dataclass, replace

import numpy as np
import OpenImageIO as oiio

from . import _expressions
from ._nodes import Group, split_mask
from ._session import session

_SHORT = {"R": "red", "G": "green", "B": "blue", "A": "alpha"}
_LONG = {"rgba.red": "R", "rgba.green": "G", "rgba.blue": "B", "rgba.alpha": "A"}


class Format:
    def __init__(self, width, height, aspect=1.0):
        self._size = width, height, aspect

    def width(self):
        return self._size[0]

    def height(self):
        return self._size[1]

    def pixelAspect(self):
        return self._size[2]


@dataclass(frozen=True)
class Box:
    """A bounding box in Nuke's pixels: y goes up."""

    left: int
    bottom: int
    right: int
    top: int

    def x(self):
        return self.left

    def y(self):
        return self.bottom

    def w(self):
        return self.right - self.left

    def h(self):
        return self.top - self.bottom


@dataclass(frozen=True)
class Image:
    """Channels over a bounding box; their first row is the topmost."""

    format: Format
    bbox: Box
    channels: dict

    def channel(self, name, box):
        """A channel in a box; black where the picture has none."""
        result = np.zeros((box.h(), box.w()), np.float32)
        if name in self.channels:
            left, right = max(box.left, self.bbox.left), min(box.right, self.bbox.right)
            bottom, top = max(box.bottom, self.bbox.bottom), min(box.top, self.bbox.top)
            if left < right and bottom < top:
                rows = slice(box.top - top, box.top - bottom)
                source = slice(self.bbox.top - top, self.bbox.top - bottom)
                result[rows, left - box.left : right - box.left] = self.channels[name][
                    source, left - self.bbox.left : right - self.bbox.left
                ]
        return result


def _empty():
    return Image(Format(64, 36), Box(0, 0, 64, 36), {})


def _union(a, b):
    return Box(min(a.left, b.left), min(a.bottom, b.bottom), max(a.right, b.right), max(a.top, b.top))


def evaluate(node, frame, view, memo=None):
    """What a node shows at a frame in a view. Raises RuntimeError naming the node where Nuke would show an error."""
    memo = {} if memo is None else memo
    if node is None:
        return _empty()
    if id(node) not in memo:
        memo[id(node)] = _computed(node, frame, view, memo)
    return memo[id(node)]


def _computed(node, frame, view, memo):
    def source(index):
        return evaluate(node.input(index), frame, view, memo)

    kind = node._class
    disabled = "disable" in node._knobs and node["disable"]._number(frame)
    if kind == "Input":
        return evaluate(node._parent.input(node["number"].value()), frame, view, memo)
    if isinstance(node, Group):
        return source(0) if disabled else evaluate(node.output(), frame, view, memo)
    if kind == "Read":
        return _empty() if disabled else _read(node, frame, view)
    if disabled or kind in ("Dot", "NoOp", "Output", "Write", "Viewer"):
        return source(0)
    if kind == "Switch":
        index = int(node["which"]._number(frame))
        return source(max(0, min(index, node.inputs() - 1)))
    if kind not in _OPERATIONS:
        raise NotImplementedError(f"the stand-in cannot render {kind}")
    return _OPERATIONS[kind](node, source, frame)


def _copy(node, source, frame):
    b, a = source(0), source(1)
    bbox = {"union": _union(a.bbox, b.bbox), "A": a.bbox, "B": b.bbox}[node["bbox"].value()]
    channels = {name: b.channel(name, bbox) for name in b.channels}
    for index in range(4):
        one, other = node[f"from{index}"].value(), node[f"to{index}"].value()
        if "none" not in (one, other):
            split_mask(one), split_mask(other)
            channels[other] = a.channel(one, bbox)
    return replace(b, bbox=bbox, channels=channels)


def _expression(node, source, frame):
    image = source(0)
    box = image.bbox
    short = {c: f"rgba.{_SHORT[c.upper()]}" for c in "rgba"}
    temporaries = {}

    def lookup(name):
        if name in temporaries:
            return temporaries[name]
        if name in short:
            return image.channel(short[name], box)
        layer, _, channel = name.partition(".")
        if layer == "rgba" or channel in session.layers.get(layer, ()):
            return image.channel(name, box)
        if name == "x":
            return np.arange(box.left, box.right, dtype=np.float32)[None, :]
        if name == "y":
            return np.arange(box.top - 1, box.bottom - 1, -1, dtype=np.float32)[:, None]
        if name in ("width", "height"):
            return float(getattr(image.format, name)())
        return node["disable"]._lookup(name, frame)

    for index in range(4):
        variable = node[f"temp_name{index}"].value()
        if variable:
            temporaries[variable] = _expressions.evaluate(node[f"temp_expr{index}"].value(), lookup, None)
    channels = dict(image.channels)
    for index in range(4):
        for channel in split_mask(node[f"channel{index}"].value()):
            value = _expressions.evaluate(node[f"expr{index}"].value(), lookup, None)
            channels[channel] = np.broadcast_to(np.asarray(value, np.float32), (box.h(), box.w())).copy()
    return replace(image, channels=channels)


def _merge(node, source, frame):
    b, a = source(0), source(1)
    box = _union(a.bbox, b.bbox)
    channels = {name: b.channel(name, box) for name in b.channels}
    for name in split_mask(node["output"].value()):
        one, other = a.channel(name, box), b.channel(name, box)
        if node["operation"].value() == "difference":
            channels[name] = np.abs(one - other)
        else:
            channels[name] = one + other * (1 - a.channel("rgba.alpha", box))
    return replace(b, bbox=box, channels=channels)


def _crop(node, source, frame):
    image = source(0)
    left, bottom, right, top = (int(v) for v in node["box"].value())
    if node["reformat"].value():
        raise NotImplementedError("Crop with reformat")
    box = Box(left, bottom, right, top)
    if node["intersect"].value():
        box = Box(max(left, image.bbox.left), max(bottom, image.bbox.bottom), min(right, image.bbox.right),
                  min(top, image.bbox.top))  # fmt: skip
    return replace(image, bbox=box, channels={name: image.channel(name, box) for name in image.channels})


def _remove(node, source, frame):
    image = source(0)
    listed = split_mask(node["channels"].value())
    removing = node["operation"].value() == "remove"
    return replace(image, channels={n: c for n, c in image.channels.items() if (n in listed) != removing})


def _reformat(node, source, frame):
    """To a box, distorted; each pixel is the nearest one, as with the filter impulse."""
    image = source(0)
    if (node["type"].value(), node["resize"].value(), node["box_fixed"].value()) != ("to box", "distort", True):
        raise NotImplementedError("Reformat to anything but a box")
    width, height = (int(node[f"box_{side}"]._number(frame)) for side in ("width", "height"))
    old, box = image.format, Box(0, 0, width, height)
    columns = ((np.arange(width) + 0.5) * old.width() / width).astype(int)
    rows = ((np.arange(height) + 0.5) * old.height() / height).astype(int)
    whole = Box(0, 0, old.width(), old.height())
    channels = {name: image.channel(name, whole)[rows[:, None], columns] for name in image.channels}
    return Image(Format(width, height, node["box_pixel_aspect"]._number(frame)), box, channels)


def _filtered(node, image, reach, combine):
    """The channels of a filter combined with what is up to ``reach`` away; the box grows, and edges go on beyond it."""
    box = image.bbox
    grown = Box(box.left - reach, box.bottom - reach, box.right + reach, box.top + reach)
    filtered, channels = split_mask(node["channels"].value()), {}
    for name, pixels in image.channels.items():
        channels[name] = np.pad(pixels, reach, mode="edge")
        if name in filtered:
            wide = np.pad(channels[name], reach, mode="edge")
            for axis in (0, 1):
                wide = combine(np.lib.stride_tricks.sliding_window_view(wide, 2 * reach + 1, axis))
            channels[name] = wide
    return replace(image, bbox=grown, channels=channels)


def _dilate(node, source, frame):
    image, size = source(0), node["size"]._number(frame)
    if size != int(size) or size < 0:
        raise NotImplementedError("Dilate by parts of pixels, or by less than none, which may shrink the box")
    return _filtered(node, image, int(size), lambda near: near.max(-1))


def _blur(node, source, frame):
    # Nuke's size is about two sigma of a Gaussian that goes on for as much again
    image, size = source(0), node["size"]._number(frame)
    reach = int(np.ceil(2 * size))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(size / 2, 1e-6)) ** 2).astype(np.float32)
    return _filtered(node, image, reach, lambda near: near @ (weights / weights.sum()))


_OPERATIONS = {
    "Reformat": _reformat,
    "Dilate": _dilate,
    "Blur": _blur,
    "Copy": _copy,
    "Expression": _expression,
    "Merge2": _merge,
    "Crop": _crop,
    "Remove": _remove,
}


def _frame_in_file(node, frame):
    first, last = node["first"].value(), node["last"].value()
    if frame < first:
        return None if node["before"].value() == "black" else first
    if frame > last:
        return None if node["after"].value() == "black" else last
    return frame


def _nuke_channel(name):
    layer, _, channel = name.rpartition(".")
    channel = _SHORT.get(channel.upper(), channel) if len(channel) == 1 else channel
    return f"{layer or 'rgba'}.{channel}"


def _read(node, frame, view):
    number = _frame_in_file(node, frame)
    if number is None:
        return _empty()
    path = node["file"]._at(number, view)
    if node["on_error"].value() == "nearest frame":
        near = sorted(range(node["first"].value(), node["last"].value() + 1), key=lambda other: abs(other - number))
        path = next((p for p in (node["file"]._at(other, view) for other in near) if os.path.isfile(p)), path)
    image = oiio.ImageInput.open(path) if os.path.isfile(path) else None
    if image is None:
        oiio.geterror()
        if node["on_error"].value() == "black":
            return _empty()
        raise RuntimeError(f"{node.fullName()}: Read error: {path or 'no file'}: No such file or directory")
    channels = {}
    part = 0
    while image.seek_subimage(part, 0):
        spec = image.spec()
        if part == 0:
            height = spec.full_height
            # files may begin anywhere; Nuke's picture begins at the lower left of the display window
            left, top = spec.x - spec.full_x, height - (spec.y - spec.full_y)
            box = Box(left, top - spec.height, left + spec.width, top)
            fmt = Format(spec.full_width, height, float(spec.getattribute("PixelAspectRatio") or 1.0))
        pixels = image.read_image(part, 0, 0, spec.nchannels, "float")
        for index, name in enumerate(spec.channelnames):
            if name == "Y":
                for colour in ("red", "green", "blue"):
                    channels[f"rgba.{colour}"] = pixels[..., index]
                continue
            channel = _nuke_channel(name)
            layer, _, short = channel.partition(".")
            if layer != "rgba" and short not in session.layers.setdefault(layer, []):
                session.layers[layer].append(short)
            channels[channel] = pixels[..., index]
        part += 1
    image.close()
    return Image(fmt, box, channels)


def metadata(node, frame, view):
    """What a node's picture says of itself: that of the Read which feeds its first input."""
    while node is not None and node._class != "Read":
        if isinstance(node, Group):
            node = node.input(0)
        elif node._class == "Input":
            node = node._parent.input(node["number"].value())
        else:
            node = node.input(0)
    if node is None:
        return {}
    path = node["file"]._at(_frame_in_file(node, frame), view)
    image = oiio.ImageInput.open(path)
    if image is None:
        oiio.geterror()
        return {}
    depth = {"half": "16-bit half float", "float": "32-bit float"}[str(image.spec().format)]
    image.close()
    return {"input/filename": path, "input/bitsperchannel": depth, "input/frame": frame}


def write(node, frame, view):
    """Render a frame of a Write into its file, unless it is to read that file, or is limited to others."""
    if node["reading"].value():
        return
    if node["use_limit"].value() and not node["first"].value() <= frame <= node["last"].value():
        return
    image = evaluate(node.input(0), frame, view)
    path = node["file"]._at(frame, view)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        if not node["create_directories"].value():
            raise RuntimeError(f"{node.fullName()}: {folder}: No such file or directory")
        os.makedirs(folder)
    wanted = node["channels"].value()
    names = sorted(image.channels) if wanted == "all" else split_mask(wanted)
    if not any(name in image.channels for name in names):
        raise RuntimeError(f"{node.fullName()}: the input has none of the channels {wanted}")
    box, fmt = image.bbox, image.format
    if session.root["proxy"].value():
        # a render in proxy mode comes out at the proxy's size
        box, fmt, image = _proxy(image)
    spec = oiio.ImageSpec(box.w(), box.h(), len(names), "half" if "half" in node["datatype"].value() else "float")
    spec.x, spec.y = box.left, fmt.height() - box.top
    spec.full_width, spec.full_height = fmt.width(), fmt.height()
    spec.channelnames = [_LONG.get(name, name) for name in names]
    spec.attribute("PixelAspectRatio", fmt.pixelAspect())
    spec.attribute("compression", {"Z": "zips", "P": "piz", "n": "none"}[node["compression"].value()[0]])
    output = oiio.ImageOutput.create(path)
    pixels = np.stack([image.channel(name, box) for name in names], axis=-1)
    done = output is not None and output.open(path, spec) and output.write_image(pixels) and output.close()
    if not done:
        raise RuntimeError(f"{node.fullName()}: {path} cannot be written: {oiio.geterror()}")


def _proxy(image):
    scale = session.root["proxy_scale"].value()
    step = round(1 / scale)
    fmt = Format(image.format.width() // step, image.format.height() // step, image.format.pixelAspect())
    b = image.bbox
    box = Box(b.left // step, b.bottom // step, b.left // step + b.w() // step, b.bottom // step + b.h() // step)
    channels = {n: c[::step, ::step][: box.h(), : box.w()] for n, c in image.channels.items()}
    return box, fmt, Image(fmt, box, channels)
