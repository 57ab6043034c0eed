"""The approval of a version: the signature of a person whom the studio's policy names."""

from __future__ import annotations

import json

from ..api import policy
from ..api.account import user
from ..api.errors import InputError, NotPermitted
from ..api.files import digest_of, write_atomically
from ..api.home import home
from ..api.version import VersionFolder
from ..signing import APPROVED, Signature, SigningKey
from . import verification


def approve(version: VersionFolder, note: str = "") -> Signature:
    """Sign for a version that is as it was made, with the key of whoever runs this; returns the signature.

    Raises :class:`InputError` where the version is not as it was made, :class:`NotPermitted` where the studio's policy
    names approvers, and this key is none of theirs.
    """
    check_unchanged(version)
    key, approvers = SigningKey(home()), policy.load().approvers
    names = [name for name, public in approvers.items() if public == key.public]
    if approvers and not names:
        raise NotPermitted(
            f"The studio's policy names {', '.join(approvers)} as approvers, and your key {key.public} is none of "
            "theirs; ask one of them."
        )
    signature = key.sign(APPROVED, digest_of(version.manifest), names[0] if names else user(), note)
    # by the key, so that a name is no path
    write_atomically(version.approval(key.fingerprint), json.dumps(signature.to_dict(), indent=2), parents=True)
    return signature


def approvals(version: VersionFolder) -> list[Signature]:
    """The genuine approvals of a version as it is, by those whom the studio's policy names, or by anybody."""
    approvers, manifest = policy.load().approvers, digest_of(version.manifest)
    found = [Signature.read(file) for file in sorted(version.approval("*").parent.glob("[!.]*.json"))]
    return [
        one
        for one in found
        if one.valid
        and one.purpose == APPROVED
        and one.manifest == manifest
        and (not approvers or approvers.get(one.by) == one.key)
    ]


def check_approved(version: VersionFolder) -> list[Signature]:
    """The approvals of a version. Raises :class:`NotPermitted` where it needs one and has none."""
    found, decided = approvals(version), policy.load()
    if decided.approval and not found:
        raise NotPermitted(
            f"The studio's policy has a version published only once {' or '.join(decided.approvers)} approved it, and "
            f"none has approved {version.folder}; have it approved with: void approve {version.folder}"
        )
    return found


def check_unchanged(version: VersionFolder) -> Signature:
    """The signature of a version that is as it was made. Raises :class:`InputError` naming the first difference."""
    signature = verification.signature_of(version)
    for one in verification.differences(version):
        raise InputError(f"{version.folder} is not as it was made. {one}")
    return signature
