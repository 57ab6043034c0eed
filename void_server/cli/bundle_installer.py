"""Check this bundle and install what is in it: ``python3 -I install.py --key KEY --target /opt/void``.

It needs Python and nothing else, and no network. `void bundle` puts it at the top of every bundle, as install.py.
"""

import sys

# an older Python reads so far: no annotation that it lacks, and no import of the future, may come before
if sys.version_info < (3, 10):  # noqa: UP036 - whatever python3 is there runs this
    sys.stderr.write(
        "This is Python {}.{}, and VOID needs 3.10 or newer; run it as: python3.11 -I install.py\n".format(
            *sys.version_info[:2]
        )
    )
    sys.exit(2)

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

#: What a bundle holds: the SHA-256 of each file, who has signed that, what it is for; the wheels, those for Nuke.
SUMS, SIGNATURE, ABOUT, WHEELS, NUKE = "SHA256SUMS", "signature.json", "bundle.json", "wheels", "nuke"
CONSTRAINTS = "constraints.txt"
_DONE, _FAILED, _WRONG = 0, 1, 2


class Refused(Exception):
    """A sentence that says what is wrong with the bundle or with what was asked."""


def signed(sums: bytes) -> bytes:
    """What is signed for a bundle with these sums; nothing else that VOID signs begins so."""
    return b"void-nuke bundle 1\n" + sums


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with open(file, "rb") as opened:
        for piece in iter(lambda: opened.read(1 << 20), b""):
            found.update(piece)
    return found.hexdigest()


def check(bundle: Path, key: str | None) -> str:
    """Check that the bundle is whole and signed, with ``key`` if one is given; returns the key that signed it.

    Raises :class:`Refused`, naming the first file that is changed, missing or added.
    """
    sums, signer = _sums(bundle, key)
    listed = {}
    for line in sums.decode("utf-8").splitlines():
        expected, _, name = line.partition("  ")
        listed[name] = expected
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if not path.is_dir()}
    there -= {SUMS, SIGNATURE}
    for name in sorted({*listed, *there}):
        if name not in there:
            raise Refused(f"{bundle / name} is missing; unpack the bundle again, or fetch it again.")
        if name not in listed or (bundle / name).is_symlink():
            raise Refused(f"{bundle / name} is not of this bundle; unpack it again in an empty folder.")
        if digest(bundle / name) != listed[name]:
            raise Refused(f"{bundle / name} is damaged: its SHA-256 is another; fetch the bundle again.")
    return signer


def _sums(bundle: Path, key: str | None) -> tuple[bytes, str]:
    """The list of sums, and the key that signed it."""
    try:
        sums = (bundle / SUMS).read_bytes()
        said = json.loads((bundle / SIGNATURE).read_text(encoding="utf-8"))
        signer, signature = str(said["key"]), base64.b64decode(said["signature"], validate=True)
        public = base64.b64decode(signer, validate=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{bundle} is no bundle that can be checked ({error}); fetch it again.") from error
    if key is not None and signer != key:
        raise Refused(f"The bundle is signed with the key {signer}, not with {key}; do not install it.")
    if not verifies(public, signed(sums), signature):
        raise Refused(f"{bundle / SUMS} is not what was signed; fetch the bundle again.")
    return sums, signer


# Ed25519 as RFC 8032 writes it down, to verify alone: no secret is in here, so that time may tell what it likes. What
# is installed from the bundle cannot be what checks the bundle, and Python's own library has no signatures.
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the Ed25519 signature of the message by that public key."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, commitment = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or scalar >= _ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _ORDER
    left, right = _times(scalar, _BASE), _sum(commitment, _times(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % _P == 0 and (left[1] * right[2] - right[1] * left[2]) % _P == 0


def _sum(one: _Point, other: _Point) -> _Point:
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % _P, (one[1] + one[0]) * (other[1] + other[0]) % _P
    c, d = 2 * one[3] * other[3] * _D % _P, 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(number: int, point: _Point) -> _Point:
    found = (0, 1, 1, 0)
    while number:
        if number & 1:
            found = _sum(found, point)
        point, number = _sum(point, point), number >> 1
    return found


def _point(encoded: bytes) -> _Point | None:
    """The point on the curve, in extended coordinates; None for none."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    x = x if x & 1 == sign else _P - x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little")) or (0, 1, 1, 0)


def install(bundle: Path, target: Path, nuke_home: Path | None) -> Path:
    """Install into a new virtual environment ``target``; returns the command `void`. Raises :class:`Refused`."""
    about = json.loads((bundle / ABOUT).read_text(encoding="utf-8"))
    here = "{}.{}".format(*sys.version_info[:2])
    if here not in about["pythons"]:
        raise Refused(
            "This is Python {}, and the bundle is for {}; run it as: python{} -I install.py".format(
                here, ", ".join(about["pythons"]), about["pythons"][0]
            )
        )
    if target.exists():
        raise Refused(f"{target} is there already; name a new folder, and change over when it works.")
    try:
        return _installed(bundle, target, nuke_home, about)
    except BaseException:
        # half of it would stand in the way of the next try
        shutil.rmtree(target, ignore_errors=True)
        raise


def _installed(bundle: Path, target: Path, nuke_home: Path | None, about: dict[str, Any]) -> Path:
    scripts = target / ("Scripts" if os.name == "nt" else "bin")
    _run([sys.executable, "-m", "venv", str(target)], f"The virtual environment {target} cannot be made")
    pip = [str(scripts / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    pip += ["--find-links", str(bundle / WHEELS), "--constraint", str(bundle / CONSTRAINTS), about["requirement"]]
    _run(pip, f"The wheels cannot be installed into {target}")
    void = scripts / "void"
    if nuke_home is not None:
        command = [str(void), "install-nuke", "--nuke-home", str(nuke_home), "--wheels", str(bundle / NUKE)]
        command += [word for python in about["nuke_pythons"] for word in ("--python", python)]
        _run(command, f"The plugin cannot be installed into {nuke_home}")
    return void


def _run(command: list[str], failed: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    environment["PIP_CONFIG_FILE"] = os.devnull
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False
    )
    if done.returncode:
        raise Refused(f"{failed}:\n{done.stdout.strip()}")


def main() -> int:
    """Run as a program; returns the exit code."""
    parser = argparse.ArgumentParser(description="Check this bundle of VOID for Nuke and install it, without network.")
    keys = parser.add_mutually_exclusive_group(required=True)
    keys.add_argument("--key", help="the public key that must have signed it, as `void keys signing` prints it there")
    keys.add_argument("--any-key", action="store_true", help="whoever has signed it: that shows damage, no forgery")
    parser.add_argument("--target", type=Path, help="a new folder for it, such as /opt/void; without one, only check")
    parser.add_argument("--nuke-home", type=Path, help="also install the nodes: ~/.nuke, or a folder on NUKE_PATH")
    given = parser.parse_args()
    if given.nuke_home and not given.target:
        parser.error("--nuke-home needs --target")
    bundle = Path(__file__).resolve().parent
    try:
        print(f"whole, and signed with the key {check(bundle, given.key)}")
    except Refused as error:
        print(error, file=sys.stderr)
        return _WRONG
    if not given.target:
        return _DONE
    target, nuke_home = (folder and folder.expanduser().absolute() for folder in (given.target, given.nuke_home))
    try:
        void = install(bundle, target, nuke_home)
    except Refused as error:
        print(error, file=sys.stderr)
        return _FAILED
    print(f"installed: {void} doctor")
    return _DONE


if __name__ == "__main__":
    sys.exit(main())
