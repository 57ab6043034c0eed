"""What each version says of itself: what was disclosed, where it comes from, who vouches for it, who approved it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio  # noqa: N813
import pytest

from void_server import pipeline
from void_server.api import Client, Settings, Shot
from void_server.api.errors import InputError, NotPermitted
from void_server.api.home import home
from void_server.api.version import VersionFolder
from void_server.engines.cleanplate import CleanPlate
from void_server.imaging import exr
from void_server.imaging.colour import BUILT_IN, opencolorio
from void_server.pipeline import provenance
from void_server.publishing import approval, disclosures, verification
from void_server.signing import APPROVED, MADE, Signature, SigningKey, sign_made

from .test_service import RunningServer, ended, no_server_stays  # noqa: F401 -- a fixture

pytestmark = pytest.mark.slow

VOID = [sys.executable, "-c", "from void_server.cli import main; main()"]


def void(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VOID, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)


def shot_of(folder: Path, **settings: Any) -> Shot:
    return Shot(str(folder / "plate"), str(folder / "roto"), frames="1001-1004", settings=Settings(**settings))


@pytest.fixture(scope="module")
def made(shot: Path, tmp_path_factory: pytest.TempPathFactory) -> VersionFolder:
    """A finished version, unsigned."""
    folder = tmp_path_factory.mktemp("made") / "v001"
    folder.mkdir()
    pipeline.run("0123456789ab", shot_of(shot), folder, lambda _: None)
    return VersionFolder(folder)


@pytest.fixture
def version(made: VersionFolder, tmp_path: Path) -> VersionFolder:
    """A copy of it, signed."""
    copy = VersionFolder(shutil.copytree(made.folder, tmp_path / "v001"))
    sign_made(copy)
    return copy


def policy_of(folder: Path, monkeypatch: pytest.MonkeyPatch, **said: Any) -> None:
    file = folder / "policy.json"
    file.write_text(json.dumps(said))
    monkeypatch.setenv("VOID_POLICY", str(file))


# -- disclosure


def test_the_manifest_records_the_colour_configuration_and_its_library(made: VersionFolder) -> None:
    said = json.loads(made.manifest.read_text())
    assert said["colour"]["config"] == BUILT_IN
    assert said["software"]["OpenColorIO"] == opencolorio()


def test_a_version_discloses_engine_shares_and_machine_of_every_frame(made: VersionFolder) -> None:
    said = json.loads(made.disclosure.read_text())
    assert said["generative"] is False
    assert said["source_type"] == "compositeCapture"
    assert [(tool["part"], tool["name"], tool["generative"]) for tool in said["tools"]] == [
        ("quadmask", "image", False),
        ("plate", "cleanplate", False),
    ]
    assert said["who"]
    assert said["machine"]
    assert list(said["frames"]) == ["1001", "1002", "1003", "1004"]
    for frame, one in said["frames"].items():
        mattes = exr.read_channels(
            made.mattes(int(frame)), [f"origin.{name}" for name in ("recovered", "filled", "generated")],
            exr.read_header(made.plate(int(frame))).data_window,
        )  # fmt: skip
        assert one["engine"] == "cleanplate"
        shares = [one[name] for name in ("recovered", "filled", "generated")]
        assert np.allclose(shares, mattes.mean(axis=(0, 1)), atol=1e-5)
        assert shares[0] > 0


def test_generated_pixels_are_disclosed_by_the_engines_own_word(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CleanPlate, "generative", True)
    monkeypatch.setattr(CleanPlate, "model", "a model", raising=False)
    monkeypatch.setattr(CleanPlate, "provenance", lambda *_: {"device": "x", "w.safetensors": "1" * 64})
    pipeline.run("0123456789ab", shot_of(shot), tmp_path / "v001", lambda _: None)
    version = VersionFolder(tmp_path / "v001")
    said = json.loads(version.disclosure.read_text())
    assert said["generative"] is True
    assert said["source_type"] == "compositeWithTrainedAlgorithmicMedia"
    plate = said["tools"][-1]
    assert (plate["model"], plate["weights"]) == ("a model", {"w.safetensors": "1" * 64})
    page = version.report.read_text()
    assert "<h2>Disclosure</h2>" in page
    assert "in 4 of 4 frames" in page
    assert "w.safetensors 111111111111" in page


def test_a_show_is_disclosed_as_one_table(made: VersionFolder, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(made.folder, tmp_path / "show" / name / "v001")
    told = void("disclose", tmp_path / "show", "-o", tmp_path / "show.csv")
    assert told.returncode == 0, told.stderr
    rows = list(csv.DictReader(io.StringIO((tmp_path / "show.csv").read_text())))
    assert [row["version"] for row in rows] == [str(tmp_path / "show" / name / "v001") for name in ("a", "b")]
    assert {row["generative"] for row in rows} == {"no"}
    assert rows[0]["frames"] == "1001-1004"
    assert rows[0]["recovered"].endswith("%")


def test_a_plates_name_is_no_formula_in_the_table(version: VersionFolder) -> None:
    said = json.loads(version.disclosure.read_text())
    version.disclosure.write_text(json.dumps({**said, "plate": "=HYPERLINK(0)"}))
    assert "'=HYPERLINK(0)" in disclosures.table([version])


def test_a_folder_without_versions_is_told_apart(tmp_path: Path) -> None:
    told = void("disclose", tmp_path)
    assert told.returncode == 2
    assert "There is no finished version in" in told.stderr


# -- provenance


def test_the_provenance_names_every_input_and_output(shot: Path, made: VersionFolder) -> None:
    said = json.loads(made.provenance.read_text())
    plates = [shot / "plate" / f"plate.{frame}.exr" for frame in range(1001, 1005)]
    assert said["inputs"]["plate"] == {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in plates}
    assert len(said["inputs"]["roto"]) == 4
    for name, digest in said["outputs"].items():
        assert hashlib.sha256((made.folder / name).read_bytes()).hexdigest() == digest
    names = {path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*") if path.is_file()}
    assert names - set(said["outputs"]) == {"job.json", "provenance.json"}
    assert json.loads(made.manifest.read_text())["provenance"] == hashlib.sha256(
        made.provenance.read_bytes()
    ).hexdigest()  # fmt: skip


def test_frames_are_hashed_as_they_are_written_and_not_read_again(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end only what has no note is read: pictures, pages, lists."""
    read: list[str] = []
    digest_of, write = provenance.digest_of, provenance.write

    def at_the_end(*given: Any) -> str:
        monkeypatch.setattr(provenance, "digest_of", lambda path: read.append(path.suffix) or digest_of(path))
        return write(*given)

    monkeypatch.setattr(provenance, "write", at_the_end)
    pipeline.run("0123456789ab", shot_of(shot), tmp_path / "v001", lambda _: None)
    assert read
    assert ".exr" not in read


def test_a_frame_that_changed_after_it_was_noted_is_read_again(tmp_path: Path) -> None:
    version = VersionFolder(tmp_path)
    file = tmp_path / "plate" / "void_plate.1001.exr"
    file.parent.mkdir()
    file.write_bytes(b"one")
    digests = provenance.Digests(version)
    digests.note(file)
    file.write_bytes(b"two, painted")
    assert digests.of([file]) == {"plate/void_plate.1001.exr": hashlib.sha256(b"two, painted").hexdigest()}


def test_headers_of_new_frames_name_job_and_request_and_keep_the_plates(shot: Path, made: VersionFolder) -> None:
    manifest = json.loads(made.manifest.read_text())

    def header(path: Path) -> dict[str, Any]:
        image = oiio.ImageInput.open(str(path))
        return {one.name: one.value for one in image.spec().extra_attribs}

    for path in (made.plate(1002), made.patch(1002), made.mattes(1002), made.quadmask(1002)):
        said = header(path)
        assert said["void/job"] == manifest["id"]
        assert said["void/request"] == manifest["request"]
    plate, result = header(shot / "plate" / "plate.1002.exr"), header(made.plate(1002))
    assert {name: value for name, value in result.items() if not name.startswith("void/")} == plate


# -- verification


def test_a_version_as_it_was_made_is_verified(version: VersionFolder) -> None:
    told = void("verify", version.folder, "--inputs")
    assert told.returncode == 0, told.stderr
    assert f"is as it was made, signed by {Signature.read(version.signature).by}" in told.stdout


def _change(version: VersionFolder) -> None:
    for frame in (1004, 1003):
        with open(version.plate(frame), "r+b") as file:
            file.seek(-1, 2)
            last = file.read(1)
            file.seek(-1, 2)
            file.write(bytes([last[0] ^ 1]))


def _take(version: VersionFolder) -> None:
    version.mattes(1002).unlink()


def _add(version: VersionFolder) -> None:
    shutil.copy(version.plate(1001), version.plate(1001).with_name("void_plate.1000.exr"))


@pytest.mark.parametrize(
    ("do", "sentence"),
    [
        (_change, "Frame 1003: plate/void_plate.1003.exr differs from what was written. And 1 more."),
        (_take, "Frame 1002: mattes/void_mattes.1002.exr is missing."),
        (_add, "Frame 1000: plate/void_plate.1000.exr was not written by it."),
    ],
)
def test_verify_names_the_first_frame_that_differs(version: VersionFolder, do: Any, sentence: str) -> None:
    do(version)
    told = void("verify", version.folder)
    assert told.returncode == 1
    assert sentence in told.stderr


def test_verify_finds_an_input_that_was_rendered_again(shot: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(shot, tmp_path / "shot"))
    pipeline.run("0123456789ab", shot_of(own), tmp_path / "v001", lambda _: None)
    version = VersionFolder(tmp_path / "v001")
    sign_made(version)
    (own / "plate" / "plate.1002.exr").write_bytes((own / "plate" / "plate.1003.exr").read_bytes())
    assert not list(verification.differences(version))
    (found,) = verification.differences(version, inputs=True)
    assert (found.frame, found.how) == (1002, "changed")


@pytest.mark.parametrize("name", ["manifest", "provenance"])
def test_no_part_of_the_chain_can_be_rewritten(version: VersionFolder, name: str) -> None:
    file = getattr(version, name)
    file.write_text(file.read_text().replace("1001", "1009"))
    with pytest.raises(InputError, match="differs from what"):
        approval.check_unchanged(version)


@pytest.mark.parametrize("field", ["by", "note", "when", "manifest", "purpose"])
def test_a_signature_holds_for_all_that_it_says(version: VersionFolder, field: str) -> None:
    signature = Signature.read(version.signature)
    assert signature.valid
    changed = 1.5 if field == "when" else APPROVED if field == "purpose" else getattr(signature, field) + "x"
    assert not replace(signature, **{field: changed}).valid
    # where one text ends and the next begins is signed too
    assert not replace(signature, by=f"{signature.by}\n", note="").valid


def test_an_unsigned_version_and_one_signed_by_a_stranger_are_refused(
    made: VersionFolder, version: VersionFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="is not signed"):
        verification.signature_of(made)
    policy_of(tmp_path, monkeypatch, signers={"server": SigningKey(tmp_path / "other").public})
    with pytest.raises(InputError, match="is none of the signers"):
        verification.signature_of(version)
    policy_of(tmp_path, monkeypatch, signers={"me": SigningKey(home()).public})
    assert verification.signature_of(version).purpose == MADE


def test_a_server_signs_what_its_workers_make_with_a_key_that_is_its_own(shot: Path, tmp_path: Path) -> None:
    server = RunningServer(shot, tmp_path)
    with Client(server.address) as client:
        job = ended(client, client.submit(shot_of(shot), str(tmp_path / "out")))
    version = VersionFolder(Path(job.folder))
    assert approval.check_unchanged(version).key == SigningKey(home()).public
    assert (home() / "keys" / "signing.pem").stat().st_mode & 0o077 == 0


def test_a_farms_report_task_signs_and_names_the_artist(shot: Path, tmp_path: Path) -> None:
    from void_server.farm.fields import Fields
    from void_server.farm.site import Site
    from void_server.farm.submit import Wanted, submit
    from void_server.farm.tasks.run import run_tasks

    wanted = Wanted(shot_of(shot), tmp_path / "out", Fields.from_dict({"user": "jo"}))
    ((job, _),) = submit([wanted], Site(), "openjd", dry_run=True)
    for stage in job.stages:
        for task in range(stage.tasks):
            run_tasks(job, stage.name, (task,), lambda path: path, lambda _: None)
    version = VersionFolder(job.folder)
    approval.check_unchanged(version)
    assert json.loads(version.disclosure.read_text())["who"] == "jo"
    version.signature.unlink()
    run_tasks(job, "report", (0,), lambda path: path, lambda _: None)
    approval.check_unchanged(version)


# -- approval


def test_only_a_named_approvers_signature_counts(
    version: VersionFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = SigningKey(home()).public, SigningKey(tmp_path / "other").public
    policy_of(tmp_path, monkeypatch, approval=True, approvers={"jane": other})
    with pytest.raises(NotPermitted, match="only once jane approved it"):
        approval.check_approved(version)
    with pytest.raises(NotPermitted, match="names jane as approvers, and your key"):
        approval.approve(version)
    assert void("approve", version.folder).returncode == 2
    policy_of(tmp_path, monkeypatch, approval=True, approvers={"jane": own})
    told = void("approve", version.folder, "--note", "final")
    assert told.returncode == 0, told.stderr
    ((found),) = approval.check_approved(version)
    assert (found.by, found.note) == ("jane", "final")
    # a signature that the version was made is none that it may be published
    shutil.copy(version.signature, version.approval("x"))
    policy_of(tmp_path, monkeypatch, approval=True, approvers={Signature.read(version.signature).by: own})
    with pytest.raises(NotPermitted):
        approval.check_approved(version)


def test_a_version_that_was_changed_is_not_approved(version: VersionFolder) -> None:
    _change(version)
    with pytest.raises(InputError, match="Frame 1003"):
        approval.approve(version)


def test_an_approval_is_for_one_version_alone(version: VersionFolder) -> None:
    approval.approve(version)
    assert approval.approvals(version)
    # one that is being written beside it is none yet, and no error
    (version.approval("x").parent / ".0123.4567.part.json").write_text("{")
    assert len(approval.approvals(version)) == 1
    manifest = json.loads(version.manifest.read_text())
    version.manifest.write_text(json.dumps({**manifest, "id": "ba9876543210"}))
    assert not approval.approvals(version)
