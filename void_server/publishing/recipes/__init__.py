"""Recipes: how a publication gets into a studio's production tracking, one module for each system.

Each uses the system's own client, an extra of this package, and is told in that client's own way where the server is.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

from ...api.errors import JobFailed, SettingError
from ...plugins import how_to_install, installed
from ..publication import Publication

#: The modules of the recipes by the names of the systems.
NAMES = ("ayon", "flow", "ftrack", "kitsu", "openassetio")


@dataclass(frozen=True)
class Target:
    """Where in the production a version belongs: names as the system has them; ``sequence`` may be empty."""

    project: str
    shot: str
    task: str
    sequence: str = ""
    #: What the version is called there, such as cleanup.
    product: str = "cleanup"


class Recipe(ABC):
    """Publishes to one system. Constructed without arguments."""

    #: The system as people call it, the client's module, and the extra that installs it.
    title: ClassVar[str]
    module: ClassVar[str]
    extra: ClassVar[str]

    def check(self) -> None:
        """Raise :class:`SettingError` where the client is not installed, or not told of its server."""
        if not installed(self.module):
            raise SettingError(f"{self.title}'s client is not installed: {how_to_install(self.extra)}")

    @abstractmethod
    def publish(self, publication: Publication, target: Target) -> str:
        """Create the version there, with a note, the contact sheet and the movie; says what was made, as a sentence.

        Raises SettingError naming what the system does not know, JobFailed where it cannot be reached or refuses.
        """


def find(name: str) -> Recipe:
    """The recipe of that name. Raises :class:`SettingError` where there is none, or its client is not ready.

    Raises :class:`JobFailed` where the client does not answer.
    """
    if name not in NAMES:
        raise SettingError(f"There is no recipe {name!r}; choose from {', '.join(NAMES)}.")
    recipe: Recipe = import_module(f".{name}", __name__).RECIPE()
    recipe.check()
    return recipe


def unknown(title: str, what: str, name: str, option: str) -> SettingError:
    """That a system does not know a name."""
    return SettingError(f"{title} knows no {what} {name!r}; correct {option}.")


def refused(title: str, server: str, error: BaseException | str) -> JobFailed:
    """That a system did not take a version, without the account and password that a URL in it may hold."""
    why = re.sub(r"(?<=//)[^/\s]*@", "", f"{title} at {server} did not take the version: {error}")
    return JobFailed(f"{why.rstrip('.')}.")


def needed(variables: dict[str, str | None], title: str) -> dict[str, str]:
    """The values of variables of the environment. Raises :class:`SettingError` naming the first that is not set."""
    for name, value in variables.items():
        if not value:
            raise SettingError(f"{title} needs the environment variable {name}, which is not set.")
    return {name: value or "" for name, value in variables.items()}
