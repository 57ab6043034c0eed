"""``void bundle``: what is in it, that it installs where there is no network, and what becomes of a damaged one."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from void_server import __version__
from void_server.api.errors import JobFailed, SettingError
from void_server.cli import bundle, install_nuke, main, wheels
from void_server.cli import bundle_installer as installer

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
NUKE = {"3.9": "14", "3.10": "15", "3.11": "16"}.get(HERE, "16")
VOID = [sys.executable, "-c", "from void_server.cli import main; main()"]
# brings up the loopback of a network namespace, sees that there is nothing else, and runs a command there
ALONE = """
import fcntl, socket, struct, subprocess, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))
assert [name for _, name in socket.if_nameindex()] == ["lo"], socket.if_nameindex()
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""


# -- the signature, as the installer checks it

# RFC 8032, 7.1: tests 1 to 3
RFC = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), RFC)
def test_the_installer_verifies_as_the_rfc_says(public: str, message: str, signature: str) -> None:
    key, said, given = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert installer.verifies(key, said, given)
    assert not installer.verifies(key, said + b"!", given)
    # the same signature with the order added to its scalar is another's invention
    scalar = int.from_bytes(given[32:], "little") + installer._ORDER
    assert not installer.verifies(key, said, given[:32] + scalar.to_bytes(32, "little"))


@given(st.binary(max_size=99), st.binary(min_size=32, max_size=32), st.integers(0, 511))
def test_the_installer_agrees_with_a_library(message: bytes, seed: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert installer.verifies(public, message, signature)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert not installer.verifies(public, message, bytes(changed))


@pytest.mark.parametrize("public", [b"", b"\xff" * 32, bytes(31)])
def test_what_is_no_key_verifies_nothing(public: bytes) -> None:
    assert not installer.verifies(public, b"", bytes(64))


# -- what may be asked for


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (bundle.Bundle(["3.9"]), "does not run on Python 3.9; choose from 3.10"),
        (bundle.Bundle([HERE], ["13"]), "no plugin for Nuke 13; choose from 14"),
        (bundle.Bundle([HERE], gpu="cuda"), "no build of torch; give cpu"),
        (bundle.Bundle([HERE], system="amiga"), "choose from linux-x86_64"),
    ],
)
def test_what_cannot_be_bundled_is_said_before_anything_is_fetched(
    wanted: bundle.Bundle, says: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=says):
        bundle.write(wanted, tmp_path / "bundle.tar")
    assert not list(tmp_path.iterdir())


def test_a_build_of_torch_brings_the_engine_in_the_pinned_release() -> None:
    wanted = bundle.Bundle([HERE], gpu="cu128", extras=["web"])
    assert wanted.about()["requirement"] == f"void-nuke[void,web]=={__version__}"
    pins = install_nuke.shared() / "constraints.txt"
    assert bundle._torch(pins, "cu128") in {f"{line}+cu128" for line in pins.read_text().splitlines()}


def test_pythons_of_the_bundle_are_those_that_the_package_is_for() -> None:
    said = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text()
    assert f'requires-python = ">={wheels.PYTHONS[0]}"' in said
    for python in wheels.PYTHONS:
        assert f'"Programming Language :: Python :: {python}"' in said


# -- a real one


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A bundle, and the key that it is signed with."""
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOID_HOME", str(folder / "home"))
        key = bundle.write(bundle.Bundle([HERE], [NUKE]), folder / "bundle.tar")
        yield folder / "bundle.tar", key


@pytest.fixture
def unpacked(made: tuple[Path, str], tmp_path: Path) -> Path:
    with tarfile.open(made[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith("void-nuke-"))
    return folder


def install(folder: Path, *options: str | Path, alone: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    # without what this environment has: only Python itself
    command = [*alone, sys.executable, "-I", str(folder / "install.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_same_packages_and_key_make_the_same_bytes(
    made: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, key = made
    monkeypatch.setenv("VOID_HOME", str(archive.with_name("home")))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert bundle.write(bundle.Bundle([HERE], [NUKE]), tmp_path / "again.tar") == key
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
    with pytest.raises(SettingError, match="is there already"):
        bundle.write(bundle.Bundle([HERE], [NUKE]), tmp_path / "again.tar")


@pytest.mark.slow
def test_a_bundle_says_what_it_is_and_its_sums_are_those_of_the_usual_tool(unpacked: Path) -> None:
    about = json.loads((unpacked / installer.ABOUT).read_text())
    assert (about["version"], about["pythons"], about["nukes"]) == (__version__, [HERE], [NUKE])
    assert (unpacked / "docs" / "td.html").is_file()
    assert list((unpacked / "wheels").glob(f"void_nuke-{__version__}-*.whl"))
    assert {file.name.split("-")[0] for file in (unpacked / "nuke").iterdir()} == {"msgpack", "pyzmq"}
    assert not list((unpacked / "wheels").glob("torch-*"))
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", installer.SUMS], cwd=unpacked, check=True)


@pytest.mark.slow
def test_it_installs_and_removes_where_there_is_no_network(made: tuple[Path, str], unpacked: Path) -> None:
    namespace = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here: installing without network was NOT tested")
    alone, target, nuke = (*namespace, sys.executable, "-c", ALONE), unpacked.parent / "opt", unpacked.parent / "nuke"
    done = install(unpacked, "--key", made[1], "--target", target, "--nuke-home", nuke, alone=alone)
    assert done.returncode == 0, done.stderr
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}

    def void(*words: str | Path) -> str:
        command = [*alone, str(target / "bin" / "void"), *map(str, words)]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=unpacked.parent, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    assert __version__ in void("--version")
    assert json.loads(void("doctor", "--json"))["ready"]
    shot, out = unpacked.parent / "shot", unpacked.parent / "out"
    void("sample", shot, "--size", "96x54", "--frames", "1001-1003")
    void("remove", shot / "plate", shot / "roto", "-o", out, "--no-progress")
    assert len(list((out / "v001" / "plate").glob("*.exr"))) == 3
    void("verify", out / "v001")
    void("install-nuke", "--check", "--nuke-home", nuke, "--python", install_nuke.NUKES[NUKE])


@pytest.mark.slow
def test_a_damaged_file_is_named_and_nothing_installed(made: tuple[Path, str], unpacked: Path) -> None:
    wheel = next((unpacked / "wheels").glob("numpy-*"))
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    done = install(unpacked, "--key", made[1], "--target", unpacked.parent / "opt")
    assert done.returncode == 2
    assert f"{wheel.name} is damaged" in done.stderr
    assert not (unpacked.parent / "opt").exists()


@pytest.mark.slow
def test_missing_and_added_files_are_named(made: tuple[Path, str], unpacked: Path) -> None:
    (unpacked / "wheels" / "evil-1-py3-none-any.whl").touch()
    assert "evil-1-py3-none-any.whl is not of this bundle" in install(unpacked, "--any-key").stderr
    (unpacked / "wheels" / "evil-1-py3-none-any.whl").unlink()
    (unpacked / "docs" / "td.md").unlink()
    assert "td.md is missing" in install(unpacked, "--key", made[1]).stderr


@pytest.mark.slow
def test_sums_that_were_changed_and_other_keys_are_refused(made: tuple[Path, str], unpacked: Path) -> None:
    sums = (unpacked / installer.SUMS).read_bytes()
    other = Ed25519PrivateKey.generate()
    public = base64.b64encode(other.public_key().public_bytes_raw()).decode()
    assert install(unpacked, "--key", made[1]).returncode == 0
    done = install(unpacked, "--key", public)
    assert done.returncode == 2
    assert f"signed with the key {made[1]}, not with {public}" in done.stderr
    (unpacked / installer.SUMS).write_bytes(sums.replace(b"install.py", b"inst4ll.py", 1))
    assert "is not what was signed" in install(unpacked, "--key", made[1]).stderr
    # signed by another, all of it: only whoever asks for no key takes it
    signature = base64.b64encode(other.sign(installer.signed(sums))).decode()
    (unpacked / installer.SUMS).write_bytes(sums)
    (unpacked / installer.SIGNATURE).write_text(json.dumps({"key": public, "signature": signature}))
    assert install(unpacked, "--key", made[1]).returncode == 2
    assert install(unpacked, "--any-key").returncode == 0


@pytest.mark.slow
def test_another_python_and_a_folder_that_is_there_are_refused(unpacked: Path, tmp_path: Path) -> None:
    with pytest.raises(installer.Refused, match="is there already"):
        installer.install(unpacked, tmp_path, None)
    about = json.loads((unpacked / installer.ABOUT).read_text())
    (unpacked / installer.ABOUT).write_text(json.dumps({**about, "pythons": ["3.99"]}))
    with pytest.raises(installer.Refused, match=r"the bundle is for 3\.99"):
        installer.install(unpacked, tmp_path / "new", None)


def bare(folder: Path) -> Path:
    """What the installer reads before the wheels, and no wheels: pip cannot install from it."""
    folder.mkdir()
    (folder / "wheels").mkdir()
    (folder / installer.CONSTRAINTS).touch()
    said = {"pythons": [HERE], "requirement": "void-nuke==0", "nuke_pythons": []}
    (folder / installer.ABOUT).write_text(json.dumps(said))
    return folder


@pytest.mark.slow
def test_an_installation_that_fails_leaves_nothing_in_the_way_of_the_next(tmp_path: Path) -> None:
    with pytest.raises(installer.Refused, match="The wheels cannot be installed"):
        installer.install(bare(tmp_path / "bundle"), tmp_path / "opt", None)
    assert not (tmp_path / "opt").exists()


def test_the_home_of_the_user_is_understood_in_both_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def install(*folders: object) -> Path:
        asked.extend(folders)
        return Path("void")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(installer, "check", lambda *_: "key")
    monkeypatch.setattr(installer, "install", install)
    monkeypatch.setattr("sys.argv", ["install.py", "--any-key", "--target", "~/opt", "--nuke-home", "~/.nuke"])
    assert installer.main() == 0
    assert asked[1:] == [tmp_path / "opt", tmp_path / ".nuke"]


def test_an_older_python_gets_a_sentence_and_reads_nothing_that_it_lacks_before() -> None:
    run = "import runpy, sys; sys.version_info = (3, 6, 8); runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", run, str(installer.__file__)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "This is Python 3.6, and VOID needs 3.10 or newer; run it as: python3.11 -I install.py\n"
    read = ast.parse(Path(installer.__file__).read_text(), feature_version=(3, 6))
    description, first, check = read.body[:3]
    assert isinstance(description, ast.Expr)
    assert ast.unparse(first) == "import sys"
    assert isinstance(check, ast.If)
    # it would have to come first, and Python 3.6 has none for annotations
    assert "__future__" not in ast.unparse(read)


def test_the_sum_of_the_installer_is_printed_to_be_compared_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle, "write", lambda *_: "KEY")
    monkeypatch.setattr(sys, "argv", ["void", "bundle", "-o", str(tmp_path / "bundle.tar")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    said = capsys.readouterr().out
    assert f"python{HERE} -I install.py --key KEY" in said
    assert f"{hashlib.sha256(Path(installer.__file__).read_bytes()).hexdigest()}  install.py\n" in said


@pytest.mark.slow
def test_a_package_without_a_wheel_there_is_named() -> None:
    with pytest.raises(JobFailed, match=r"antlr4-python3-runtime.* cannot be had|cannot be had as wheels.*antlr4"):
        wheels.resolve(["antlr4-python3-runtime"], install_nuke.shared() / "constraints.txt", HERE, "linux-x86_64")


@pytest.mark.slow
def test_a_torch_that_no_index_has_says_which_index_is_lacking(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"torch==.*\+cu999.* The index of PyTorch with cu999 must be in \$UV_INDEX"):
        bundle.write(bundle.Bundle([HERE], gpu="cu999"), tmp_path / "bundle.tar")
    assert not list(tmp_path.iterdir())
