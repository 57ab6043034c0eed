"""What a scene is without the removed object, in words, from where its things go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .recipe import Body, Recipe, Role

Path = Sequence[Sequence[float]]

# metres, and the share of a turn, from which a movement is one
_MOVES, _FALLS, _TURNS = 0.12, 0.15, 0.25


def prompt(recipe: Recipe, paths: Mapping[str, Path]) -> str:
    """The scene after the removal, as the model is told it: ``paths`` are those of the truth, by name."""
    told: dict[str, list[str]] = {}
    for body in recipe.of_role(Role.THING, Role.MOVER):
        told.setdefault(body.words, []).append(_does(body, paths[body.name]))
    sentences = [f"{_article(words)} {_joined(words, done)}." for words, done in told.items()]
    place = f"The scene is set {recipe.setting}."
    return " ".join([*sentences, place])


def _joined(words: str, done: list[str]) -> str:
    noun = words.removeprefix("the ")
    # of several the liveliest; a figure's parts all walk
    order = ("falls", "tips over", "moves", "")
    verb = min(done, key=order.index)
    many = noun.endswith("s") and not noun.endswith("glass")
    if noun.startswith("figure in"):
        return f"{noun} walks by" if verb else f"{noun} stands still"
    if " that " in noun:
        # a mover is called after what it does
        return noun.replace(" that ", " ")
    plural = {"falls": "fall", "tips over": "tip over", "moves": "move", "": "stand still"}
    return f"{noun} {plural[verb] if many else verb or 'stands still'}"


def _does(body: Body, path: Path) -> str:
    first, last = path[0], path[-1]
    if min(one[2] for one in path) < first[2] - max(_FALLS, 0.1 * body.size[2]):
        return "falls"
    dot = min(1.0, abs(sum(a * b for a, b in zip(first[3:], last[3:], strict=True))))
    if 2 * math.acos(dot) > math.tau * _TURNS / 2 and body.shape != "ball":
        return "tips over"
    reach = max(math.dist(first[:3], one[:3]) for one in path)
    return "moves" if reach > _MOVES else ""


def _article(words: str) -> str:
    noun = words.removeprefix("the ").partition(" that ")[0]
    if noun.endswith("s") and not noun.endswith("glass"):
        return "The"
    return "An" if noun[:1] in "aeiou" else "A"
