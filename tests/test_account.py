"""Who runs this, also where the system has no name for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from void_server.api.account import user
from void_server.api.errors import SettingError
from void_server.api.home import home

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("VOID_USER", "LOGNAME", "USER", "LNAME", "USERNAME")


def nameless(program: str, **variables: str) -> str:
    """What the program prints for a user who has no entry in passwd, as in a container."""
    command = ["unshare", "--user", "--map-user=47110"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespace can be made here: a user without a name was NOT tested")
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | variables
    done = subprocess.run([*command, sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_user_without_a_name_is_told_by_number() -> None:
    assert nameless("from void_server.signing import account; print(account())").startswith("47110@")
    program = "from void_nuke.node.versions import output_folder; print(output_folder('/out/{user}', '', 'n'))"
    assert nameless(program) == "/out/47110"


def test_a_variable_names_the_user_of_a_container() -> None:
    assert nameless("from void_server.api.account import user; print(user())", VOID_USER="jo") == "jo"


def test_the_variable_goes_before_the_name_of_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOGNAME", "render")
    assert user() == "render"
    monkeypatch.setenv("VOID_USER", "jo")
    assert user() == "jo"


def test_only_one_place_asks_the_system_for_a_name() -> None:
    files = [*(ROOT / "void_server").rglob("*.py"), *(ROOT / "nuke_plugin").rglob("*.py")]
    assert [file.name for file in files if "getpass" in file.read_text()] == ["account.py"]


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOID_HOME")

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(SettingError, match=r"\$VOID_HOME"):
        home()
