"""Whether the studio's policy allows a job: what its engine and its reasoner say of themselves, held against the file.

Asked wherever a job begins or goes on: at its submission to a server or a farm, by the worker and by each farm task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import plugins
from .api import policy
from .api.shot import PLATE, ROTO, Shot


def check(shot: Shot) -> None:
    """Raise :class:`~void_server.api.errors.NotPermitted` where the studio does not allow this job.

    Raises SettingError where the policy cannot be read, or an engine or a reasoner is not installed.
    """
    settings, found = shot.settings, policy.load()
    if not found.file:
        # nobody else's plug-in is loaded for nothing
        return
    asks = settings.until != ROTO and not shot.quadmask
    found.check(
        settings,
        generative=settings.until == PLATE and plugins.find(plugins.ENGINES, settings.engine).generative,
        cloud=asks and plugins.find(plugins.REASONERS, settings.reasoner).cloud,
    )


def check_weights(shot: Shot, weights: Callable[[], Mapping[str, str]]) -> None:
    """The same for the files that the engine would load, SHA-256 by name; only asked for where it matters."""
    found = policy.load()
    if found.weights is not None and shot.settings.until == PLATE:
        found.check_weights(shot.settings.engine, weights())
