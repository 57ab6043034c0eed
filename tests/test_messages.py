"""What each command says to arguments that are missing, empty, of the wrong kind, or name what is not there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from void_server import cli

pytestmark = pytest.mark.slow

Said = Callable[..., tuple[int, str, str]]

SHOT = ["plate", "roto", "-o", "out"]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs the command, and gives its exit code and what it printed on stdout and on stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["void", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def folder(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a shot, and files that are not what they are taken for."""
    for name in ("plate", "roto"):
        (tmp_path / name).symlink_to(shot / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty.csv").write_text("plate,roto,out\n")
    (tmp_path / "none.json").write_text("[]")
    (tmp_path / "object.json").write_text('{"a": 3}')
    (tmp_path / "export.json").write_text(
        json.dumps([{"shot": {"plate": "p", "roto": "r"}, "out": "o", "fields": {}, "export": {"x": 1}}])
    )
    (tmp_path / "fields.json").write_text(json.dumps([{"shot": {"plate": "p", "roto": "r"}, "out": "o", "fields": 3}]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


#: What was tried, and a part of the answer.
WRONG = [
    # no arguments
    (["remove"], "Missing argument 'plate'. See: void remove --help"),
    (["remove", "plate", "roto"], "Missing option '-o' / '--out'"),
    (["remove", "plate", "-o", "out"], "names no roto"),
    (["quadmask"], "Missing argument 'plate'"),
    (["quadmask", "plate", "-o", "out"], "names no roto"),
    (["segment"], "Missing argument 'plate'"),
    (["segment", "plate", "-o", "out"], "names no"),
    (["edit"], "Missing argument 'quadmask'"),
    (["edit", "roto"], "There is nothing to change"),
    (["sample"], "Missing argument 'out'"),
    (["status"], "Missing argument 'job_id'"),
    (["cancel"], "Missing argument 'job_id'"),
    (["resume"], "Missing argument 'job_id'"),
    (["parity"], "Name the folder of recorded cases, or give --quick"),
    (["keys", "new"], "Missing argument 'name'"),
    (["keys", "allow"], "Missing argument 'file'"),
    (["keys", "revoke"], "Missing argument 'name'"),
    (["farm", "submit"], "Name the plate, the roto and -o"),
    (["farm", "submit", "plate"], "Name the plate, the roto and -o"),
    (["farm", "run"], "Missing option '--job'"),
    (["farm", "session"], "Missing argument 'what'"),
    (["farm", "status"], "Name a job's version folder, or a batch with --batch"),
    (["farm", "cancel"], "Name a job's version folder, or a batch with --batch"),
    (["farm", "again"], "Name a job's version folder, or a batch with --batch"),
    # empty ones
    (["remove", "", "roto", "-o", "out"], "plate: it is empty"),
    (["remove", "plate", "", "-o", "out"], "names no roto"),
    (["remove", "plate", "roto", "-o", ""], "-o / --out: it is empty"),
    (["remove", "plate", "roto", "--out="], "-o / --out: it is empty"),
    (["remove", *SHOT, "--quadmask", ""], "--quadmask: it is empty"),
    (["remove", *SHOT, "--analysis", ""], "--analysis: it is empty"),
    (["remove", *SHOT, "--ocio", ""], "--ocio: it is empty"),
    (["remove", *SHOT, "--weights", ""], "--weights: it is empty"),
    (["remove", *SHOT, "--server", ""], "--server: it is empty"),
    (["remove", *SHOT, "--point", ""], "--point: it is empty"),
    (["remove", *SHOT, "--engine", ""], "--engine: it is empty"),
    (["quadmask", "plate", "roto", "-o", ""], "-o / --out: it is empty"),
    (["segment", "plate", "-o", ""], "-o / --out: it is empty"),
    (["edit", ""], "quadmask: it is empty"),
    (["edit", "roto", "-o", ""], "-o / --out: it is empty"),
    (["edit", "roto", "--add", ""], "--add: it is empty"),
    (["sample", ""], "out: it is empty"),
    (["sample", "s", "--size", ""], "--size: it is empty"),
    (["serve", "--root", ""], "--root: it is empty"),
    (["serve", "--address", ""], "--address: it is empty"),
    (["status", ""], "job_id: it is empty"),
    (["cancel", ""], "job_id: it is empty"),
    (["resume", ""], "job_id: it is empty"),
    (["parity", ""], "folder: it is empty"),
    (["doctor", "--server", ""], "--server: it is empty"),
    (["install-nuke", "--nuke-home", ""], "--nuke-home: it is empty"),
    (["install-nuke", "--wheels", ""], "--wheels: it is empty"),
    (["keys", "new", ""], "name: it is empty"),
    (["keys", "new", "ann", "--folder", ""], "--folder: it is empty"),
    (["keys", "allow", ""], "file: it is empty"),
    (["keys", "revoke", ""], "name: it is empty"),
    (["farm", "submit", "", "roto", "-o", "out"], "plate: it is empty"),
    (["farm", "submit", "plate", "roto", "-o", ""], "-o / --out: it is empty"),
    (["farm", "submit", "--batch", ""], "--batch: it is empty"),
    (["farm", "submit", "--jobs", ""], "--jobs: it is empty"),
    (["farm", "schedulers", "--script", ""], "--script: it is empty"),
    (["farm", "run", "--job", "", "--stage", "finish"], "--job: it is empty"),
    (["farm", "session", "begin", ""], "folder: it is empty"),
    (["farm", "status", ""], "folder: it is empty"),
    (["farm", "cancel", ""], "folder: it is empty"),
    (["farm", "again", ""], "folder: it is empty"),
    # of the wrong kind
    (["remov"], "No such command 'remov'. Did you mean 'remove'?"),
    (["farm", "bogus"], "No such command 'bogus'. See: void farm --help"),
    (["remove", *SHOT, "--bogus"], "No such option: --bogus"),
    (["remove", *SHOT, "--steps", "x"], "Invalid value for '--steps'"),
    (["remove", *SHOT, "--feather", "nan"], "feather is nan"),
    (["remove", *SHOT, "--affected-shape", "hex"], "give auto, tight or grid"),
    (["remove", *SHOT, "--device", "gpu"], "device is 'gpu'; give auto, cpu or cuda"),
    (["remove", *SHOT, "--engine", "void", "--memory", "huge"], "memory is 'huge'; give exact, tiled or low"),
    (["remove", *SHOT, "--point", "5"], "write it like 1001:640,360"),
    (["remove", *SHOT, "--server", "nowhere"], "write it like tcp://127.0.0.1:5690"),
    (["remove", "plate", "roto", "-o", "notes.txt"], "notes.txt is a file; name a folder"),
    (["remove", "plate", "roto", "-o", "notes.txt/x"], "notes.txt is a file; name a folder"),
    (["segment", "plate", "-o", "out", "--box", "1001:1,1"], "give 4"),
    (["edit", "roto", "--grid", "x"], "is not a cell edit"),
    (["edit", "roto", "-o", "notes.txt"], "notes.txt is a file; name a folder"),
    (["sample", "s", "--size", "abc"], "write it like 1280x720"),
    (["sample", "s", "--size", "640"], "write it like 1280x720"),
    (["sample", "s", "--scene", "opera"], "choose from walkby, pan, handheld, knock"),
    (["sample", "notes.txt/x"], "notes.txt is a file; name a folder"),
    (["serve", "--workers", "0"], "Invalid value for '--workers'"),
    (["serve", "--idle-minutes", "x"], "Invalid value for '--idle-minutes'"),
    (["jobs", "x"], "unexpected extra argument"),
    (["jobs", "--server", "nowhere"], "write it like tcp://127.0.0.1:5690"),
    (["jobs", "--watch", "--json"], "leave one out"),
    (["doctor", "x"], "unexpected extra argument"),
    (["install-nuke", "--python", "x"], "write it like 3.11"),
    (["install-nuke", "--system", "x"], "choose from linux-x86_64"),
    (["install-nuke", "--nuke-home", "notes.txt"], "notes.txt is a file; name a folder"),
    (["keys", "new", "a/b"], "is not a valid name for a key"),
    (["keys", "new", "ann", "--folder", "notes.txt"], "notes.txt is a file; name a folder"),
    (["keys", "allow", "notes.txt"], "is not a public key file"),
    (["farm", "submit", *SHOT, "--scheduler", "magic"], "scheduler 'magic' is not installed"),
    (["farm", "submit", *SHOT, "--engine", "magic"], "engine 'magic' is not installed"),
    (["farm", "submit", *SHOT, "--segmenter", "magic"], "Unknown segmenter 'magic'"),
    (["farm", "submit", *SHOT, "--set", "priority=x"], "give a whole number"),
    (["farm", "submit", *SHOT, "--batch", "empty.csv"], "one of them"),
    (["farm", "submit", "--batch", "empty.csv"], "has no shots"),
    (["farm", "submit", "--jobs", "notes.txt"], "cannot be read"),
    (["farm", "submit", "--jobs", "none.json"], "must be a list of jobs"),
    (["farm", "submit", "--jobs", "object.json"], "must be a list of jobs"),
    (["farm", "submit", "--jobs", "fields.json"], "cannot be read"),
    (["farm", "submit", "--jobs", "export.json"], "cannot be read"),
    (["farm", "run", "--job", "object.json", "--stage", "finish"], "it lacks 'stages'"),
    (["farm", "run", "--job", "object.json", "--stage", "finish", "--task", "x"], "Frame range 'x' is not valid"),
    (["farm", "run", "--job", "object.json", "--stage", "finish", "--progress", "x"], "take openjd, deadline, plain"),
    (["farm", "session", "magic", "x"], "'magic' is neither"),
    # what is not there
    (["edit", "nowhere", "--grid", "r0c0=keep"], "does not exist"),
    (["edit", "roto", "--add", "nowhere"], "does not exist"),
    (["status", "nobody"], "no job 'nobody'"),
    (["parity", "nowhere"], "'nowhere' does not exist"),
    (["remove", *SHOT, "--weights", "nowhere"], "folder nowhere does not exist"),
    (["install-nuke", "--wheels", "nowhere"], "'nowhere' does not exist"),
    (["keys", "allow", "nowhere"], "is not a public key file"),
    (["keys", "revoke", "nobody"], "No client named 'nobody' is allowed"),
    (["farm", "submit", "nowhere", "roto", "-o", "out"], "The plate"),
    (["farm", "submit", "plate", "nowhere", "-o", "out"], "The roto"),
    (["farm", "submit", "--batch", "nowhere"], "cannot be read"),
    (["farm", "submit", "--jobs", "nowhere"], "cannot be read"),
    (["farm", "run", "--job", "nowhere", "--stage", "finish"], "name a farm job's version folder"),
    (["farm", "status", "nowhere"], "name a farm job's version folder"),
    (["farm", "cancel", "nowhere"], "name a farm job's version folder"),
    (["farm", "again", "nowhere"], "name a farm job's version folder"),
    # what the engine, or the reasoner, would ignore
    (["remove", *SHOT, "--steps", "30"], "The engine cleanplate would ignore steps, set to 30"),
    (["farm", "submit", *SHOT, "--second-pass"], "The engine cleanplate would ignore second_pass"),
    (["farm", "submit", *SHOT, "--reasoner-model", "gpt"], "The reasoner image would ignore reasoner_model"),
    (["remove", *SHOT, "--engine", "void", "--negative-prompt", "x"], "needs a guidance above 1"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_words_are_answered_with_one_sentence_and_exit_code_2(
    said: Said, folder: Path, words: list[str], message: str
) -> None:
    before = sorted(os.listdir(folder))
    code, _, errors = said(*words)
    assert message in errors
    assert code == 2
    assert errors.startswith("void: ")
    assert len(errors.splitlines()) == 1
    assert sorted(os.listdir(folder)) == before, "nothing was written"


@pytest.mark.parametrize("words", [[], ["keys"], ["farm"]])
def test_a_group_without_a_command_shows_its_help(said: Said, words: list[str]) -> None:
    code, shown, errors = said(*words)
    assert (code, errors) == (2, "")
    assert "Usage: " in shown
