"""Quadmasks: their classes and mattes, and the reasoners that find what a removal affects."""

#: What can find the affected pixels of a shot, by name.
REASONERS = {
    "image": "finds shadows, reflections and things set in motion from the pixels alone",
    "none": "nothing is affected but the object itself",
}
