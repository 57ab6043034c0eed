"""Quadmasks: their classes and mattes, and the reasoners that find what a removal affects."""

#: The reasoners, which find the affected pixels of a shot, by name.
REASONERS = {
    "image": "finds shadows, reflections and things set in motion from the pixels alone",
    "gemini": "asks Google's Gemini, which is shown the shot",
    "local": "asks a vision-language model of your own",
    "file": "takes an analysis that was made elsewhere",
    "none": "nothing is affected but the object itself",
}
