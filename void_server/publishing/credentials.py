"""C2PA credentials of pictures and movies that leave the studio: how they were made, and who says so.

The extra ``c2pa`` does it. The certificate is the studio's, or one that vouches for nobody beyond the signing key: what
shows the credentials then says that the signature is good, and its signer unknown.
"""

from __future__ import annotations

import io
import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .. import __version__
from ..api.errors import SettingError
from ..api.files import write_atomically
from ..plugins import installed
from ..signing import SigningKey

#: The studio's certificates, its own first, and the Ed25519 key of that: both PEM.
CERTIFICATE, KEY = "VOID_C2PA_CERTIFICATE", "VOID_C2PA_KEY"
#: Of the IPTC's vocabulary of digital source types, by which C2PA says how pictures came about.
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_FORMATS = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4", ".mov": "video/quicktime"}
_YEAR = timedelta(days=365)


def available() -> bool:
    """Whether credentials can be made here."""
    return installed("c2pa")


def add(file: Path, source_type: str, who: str, key: SigningKey) -> None:
    """Write credentials into a picture or a movie: ``source_type`` is the IPTC's name of how it came about.

    Raises :class:`SettingError` where the studio's certificate cannot be used.
    """
    import c2pa

    manifest = {
        "claim_generator_info": [{"name": "void-nuke", "version": __version__}],
        "title": file.name,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [_action(source_type)]}}],
    }
    certificates, own = _identity(who, key)
    made = io.BytesIO()
    try:
        with (
            c2pa.Signer.from_callback(own.sign, c2pa.C2paSigningAlg.ED25519, certificates) as signer,
            c2pa.Builder(json.dumps(manifest)) as builder,
            open(file, "rb") as source,
        ):
            builder.sign(signer, _FORMATS[file.suffix], source, made)
    except c2pa.C2paError as error:
        raise SettingError(f"{file} gets no C2PA credentials ({error}); look at ${CERTIFICATE} and ${KEY}.") from error
    write_atomically(file, made.getvalue())


def _action(source_type: str) -> dict[str, Any]:
    return {
        "action": "c2pa.created",
        "digitalSourceType": VOCABULARY + source_type,
        "softwareAgent": {"name": "void-nuke", "version": __version__},
    }


def _identity(who: str, key: SigningKey) -> tuple[str, Ed25519PrivateKey]:
    """The chain of certificates as PEM, and the key of the first."""
    named = os.environ.get(CERTIFICATE), os.environ.get(KEY)
    if not any(named):
        return _own_chain(who, key.private), key.private
    if not all(named):
        raise SettingError(f"Name the studio's certificate and its key: ${CERTIFICATE} and ${KEY}, or neither.")
    try:
        chain, secret = (Path(name or "").read_bytes() for name in named)
        private = serialization.load_pem_private_key(secret, None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingError(f"The studio's certificate for C2PA cannot be read: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingError(f"The key in ${KEY} is no Ed25519 key; C2PA knows others, which are not supported here.")
    return chain.decode(), private


def _own_chain(who: str, key: Ed25519PrivateKey) -> str:
    """A certificate of the key, by an authority that exists for it alone: C2PA takes none that is signed by itself."""
    authority = Ed25519PrivateKey.generate()
    name = f"Authority of {who}"
    first = _certificate(who, name, key.public_key(), authority, is_authority=False)
    return first + _certificate(name, name, authority.public_key(), authority, is_authority=True)


def _certificate(
    subject: str, issuer: str, public: Ed25519PublicKey, signer: Ed25519PrivateKey, *, is_authority: bool
) -> str:
    """A certificate as the C2PA specification wants it, 14.5.1; PEM."""
    now = datetime.now(timezone.utc)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _YEAR)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(usage, critical=True)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(signer, None).public_bytes(serialization.Encoding.PEM).decode()


def _name(common: str) -> x509.Name:
    # no name in a certificate is longer
    common = common[:64]
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "VOID for Nuke"),
        ]
    )
