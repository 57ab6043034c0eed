"""OpenAssetIO: the asset manager that a studio's configuration names gets the plate as a new version of an entity."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from ...api.errors import JobFailed, SettingError
from ..publication import Publication
from . import Recipe, Target, needed

#: Of OpenAssetIO itself: the file that names the manager, and its settings.
CONFIG = "OPENASSETIO_DEFAULT_CONFIG"
#: The entity of a shot, as the manager refers to it, with the names of :class:`Target` in braces.
REFERENCE = "OPENASSETIO_REFERENCE"


class OpenAssetIO(Recipe):
    """Needs OPENASSETIO_DEFAULT_CONFIG, and OPENASSETIO_REFERENCE, such as ``ams://{project}/{shot}/{product}``."""

    title, module, extra = "OpenAssetIO", "openassetio", "openassetio"

    def connect(self) -> Any:
        """The manager of the studio's configuration, ready. Raises :class:`SettingError` where there is none."""
        from openassetio.errors import OpenAssetIOException
        from openassetio.hostApi import HostInterface, ManagerFactory
        from openassetio.log import ConsoleLogger, SeverityFilter
        from openassetio.pluginSystem import PythonPluginSystemManagerImplementationFactory

        class Host(HostInterface):
            def identifier(self) -> str:
                return "void-nuke"

            def displayName(self) -> str:  # noqa: N802 -- OpenAssetIO's name
                return "VOID for Nuke"

        logger = SeverityFilter(ConsoleLogger())
        try:
            factory = PythonPluginSystemManagerImplementationFactory(logger)
            manager = ManagerFactory.defaultManagerForInterface(Host(), factory, logger)
        except OpenAssetIOException as error:
            raise SettingError(f"OpenAssetIO's manager in ${CONFIG} cannot be used: {error}") from error
        if manager is None:
            raise SettingError(f"${CONFIG} names no manager of OpenAssetIO.")
        return manager

    def publish(self, publication: Publication, target: Target) -> str:
        """See :class:`Recipe`."""
        from openassetio.errors import OpenAssetIOException

        said = needed({name: os.environ.get(name) for name in (CONFIG, REFERENCE)}, self.title)
        manager = self.connect()
        reference = _filled(said[REFERENCE], target)
        if not manager.isEntityReferenceString(reference):
            raise SettingError(
                f"{manager.displayName()} knows no reference like {reference}; correct ${REFERENCE}, which is "
                f"{said[REFERENCE]!r}."
            )
        try:
            made = _publish(manager, reference, publication)
        except OpenAssetIOException as error:
            raise JobFailed(f"{manager.displayName()} did not take the version: {error}.") from error
        return f"{manager.displayName()} has {made}."


def _publish(manager: Any, reference: str, publication: Publication) -> str:
    """Register the version; the manager's reference to it."""
    from openassetio.access import PolicyAccess, PublishingAccess

    data, context = _traits(publication), manager.createContext()
    policy = manager.managementPolicy(data.traitSet(), PolicyAccess.kWrite, context)
    if not policy.traitSet():
        raise SettingError(f"{manager.displayName()} does not manage image sequences; take another --to.")
    entity = manager.createEntityReference(reference)
    working = manager.preflight(entity, data, PublishingAccess.kWrite, context)
    return str(manager.register(working, data, PublishingAccess.kWrite, context).toString())


def _traits(publication: Publication) -> Any:
    """What the plate is, in the traits of media creation."""
    from openassetio.utils import FileUrlPathConverter
    from openassetio_mediacreation import traits
    from openassetio_mediacreation.specifications.twoDimensional import BitmapImageResourceSequenceSpecification_v1

    data = BitmapImageResourceSequenceSpecification_v1.create().traitsData()
    first, last = publication.said["range"]
    content = traits.content.LocatableContentTrait_v1(data)
    content.setLocation(FileUrlPathConverter().pathToUrl(publication.plates))
    # a frame's number stands as %04d
    content.setIsTemplated(True)
    content.setMimeType("image/x-exr")
    frames = traits.timeDomain.FrameRangedTrait_v1(data)
    frames.setStartFrame(first)
    frames.setEndFrame(last)
    frames.setFramesPerSecond(float(publication.fps))
    traits.color.OCIOColorManagedTrait_v1(data).setColorspace(publication.said["colorspace"])
    traits.identity.DisplayNameTrait_v1(data).setName(publication.said["name"])
    return data


def _filled(template: str, target: Target) -> str:
    try:
        return template.format_map(asdict(target))
    except (KeyError, ValueError, IndexError) as error:
        raise SettingError(
            f"${REFERENCE} is {template!r}, which cannot be filled in ({error!r}); name {', '.join(asdict(target))} in "
            "braces."
        ) from error


RECIPE = OpenAssetIO
