"""People hear of jobs and batches that end: by the studio's hook, by mail, on the page."""

from __future__ import annotations

import json
import os
import shutil
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from void_server.api import notices as journal
from void_server.api.errors import JobFailed, SettingError
from void_server.farm import batches, notices
from void_server.farm.job import FarmJob
from void_server.farm.mail import Mail
from void_server.farm.plan import plan
from void_server.farm.site import load
from void_server.farm.tasks import run

from .jobs import Make, do, results_of
from .slurm_cluster import free_port

pytestmark = pytest.mark.slow

HOOK = """
import json, pathlib

def on_farm(notice):
    with open({heard!r}, "a") as file:
        file.write(json.dumps(notice) + "\\n")
"""


class Heard:
    """What the studio's hook has heard."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "heard.jsonl"
        self.hooks = folder / "hooks.py"
        self.hooks.write_text(HOOK.format(heard=str(self._file)))

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.is_file() else []

    @property
    def events(self) -> list[str]:
        return [one["event"] for one in self.all]


def settings(folder: Path, monkeypatch: pytest.MonkeyPatch, **said: Any) -> None:
    (folder / "site.json").write_text(json.dumps(said))
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(folder / "site.json"))


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Heard:
    made = Heard(tmp_path)
    settings(tmp_path, monkeypatch, hooks=str(made.hooks))
    return made


def begun(wanted: Make, out: Path, batch: str = "", **fields: Any) -> FarmJob:
    one = wanted(**{"user": "ann", "shot": "sh010", "frames_per_task": 12, **fields})
    return plan(one.shot, one.fields).begin(out, batch)


def finish(job: FarmJob) -> None:
    for stage in ("check", "quadmask", "finish", "report"):
        do(job, stage)


def test_a_failure_is_told_once_and_again_after_the_next_hand_over(wanted: Make, heard: Heard, tmp_path: Path) -> None:
    job = begun(wanted, tmp_path / "out")
    for _ in range(2):
        with pytest.raises(JobFailed):
            do(job, "finish")
    (told,) = heard.all
    assert (told["event"], told["user"], told["shot"]) == ("job_failed", "ann", "sh010")
    assert f"failed in finish on {told['host']}: The quadmask of" in told["text"]
    assert [one["text"] for one in journal.latest(9)] == [told["text"]]
    notices.forget(job)
    with pytest.raises(JobFailed):
        do(job, "finish")
    assert heard.events == ["job_failed", "job_failed"]


def test_the_end_of_a_batch_is_told_once_with_how_many_failed(wanted: Make, heard: Heard, tmp_path: Path) -> None:
    batch = batches.begin("night", load())
    jobs = [begun(wanted, tmp_path / name, str(batch.file), shot=name) for name in ("sh010", "sh020")]
    batch.holding(tuple(job.folder for job in jobs))
    finish(jobs[0])
    assert heard.events == ["job_done"]
    with pytest.raises(JobFailed):
        do(jobs[1], "finish")
    assert heard.events == ["job_done", "job_failed", "batch_failed"]
    assert heard.all[-1]["text"] == (
        "Batch night: 1 of 2 shots failed; look at them with: void farm status --batch night"
    )
    # done already: nothing more is told
    do(jobs[0], "report")
    notices.forget(jobs[1])
    finish(jobs[1])
    assert heard.events[3:] == ["job_done", "batch_done"]
    assert heard.all[-1]["text"] == "Batch night: 2 of 2 shots are done"


def test_a_batch_of_which_a_version_was_deleted_ends_all_the_same(wanted: Make, heard: Heard, tmp_path: Path) -> None:
    batch = batches.begin("night", load())
    jobs = [begun(wanted, tmp_path / name, str(batch.file), shot=name) for name in ("sh010", "sh020")]
    batch.holding(tuple(job.folder for job in jobs))
    shutil.rmtree(jobs[1].folder)
    finish(jobs[0])
    assert heard.events == ["job_done", "batch_done"]
    assert heard.all[-1]["text"] == f"Batch night: 1 of 2 shots are done; missing: {jobs[1].folder}"


def test_a_batch_waits_for_a_version_whose_disk_is_not_there(wanted: Make, heard: Heard, tmp_path: Path) -> None:
    batch = batches.begin("night", load())
    jobs = [begun(wanted, tmp_path / name, str(batch.file), shot=name) for name in ("sh010", "sh020")]
    batch.holding(tuple(job.folder for job in jobs))
    (tmp_path / "sh020").rename(tmp_path / "elsewhere")
    finish(jobs[0])
    assert heard.events == ["job_done"]
    (tmp_path / "elsewhere").rename(tmp_path / "sh020")
    finish(jobs[1])
    assert heard.events == ["job_done", "job_done", "batch_done"]


def test_a_batch_is_found_on_a_machine_with_other_names_for_its_disks(
    wanted: Make, heard: Heard, tmp_path: Path
) -> None:
    there = "/mnt/elsewhere"
    job = begun(wanted, tmp_path / "out", f"{there}/night.json")
    folder = str(job.folder).replace(str(tmp_path), there)
    (tmp_path / "night.json").write_text(json.dumps({"created": 1.0, "folders": [folder]}))
    with pytest.raises(JobFailed):
        run.run_tasks(job, "finish", (0,), lambda path: path.replace(there, str(tmp_path)), lambda _: None)
    assert heard.events == ["job_failed", "batch_failed"]


def test_what_goes_wrong_with_telling_spoils_no_task(
    wanted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hooks.py").write_text("def on_farm(notice):\n    raise RuntimeError('the chat is down')\n")
    # nothing listens there
    mail = {"server": "127.0.0.1", "port": 1, "sender": "void@studio.lan", "to": ["{user}@studio.lan"]}
    settings(tmp_path, monkeypatch, hooks=str(tmp_path / "hooks.py"), mail=mail)
    job = begun(wanted, tmp_path / "out")
    finish(job)
    assert results_of(job).manifest.is_file()
    said = capsys.readouterr().out
    assert "on_farm in the hooks file" in said
    assert "the chat is down" in said
    assert "The mail server 127.0.0.1 did not take the mail" in said
    assert [one["event"] for one in journal.latest(9)] == ["job_done"]


@pytest.fixture
def mail_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Mail, list[Any]]]:
    """A real SMTP server on this machine that takes mail over TLS from those who log in, and what it took."""
    controller = pytest.importorskip("aiosmtpd.controller", reason="aiosmtpd is not installed: mail was not tested")
    from aiosmtpd.smtp import AuthResult, LoginPassword

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    taken: list[Any] = []

    class Taking:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802, ARG002
            taken.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
            return "250 taken"

    def known(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:  # noqa: ARG001
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"void", b"hush")
        return AuthResult(success=good)

    serving = controller.Controller(
        Taking(),
        "127.0.0.1",
        port := free_port(),
        tls_context=context,
        require_starttls=True,
        authenticator=known,
        auth_required=True,
        ready_timeout=60,
    )
    serving.start()
    (tmp_path / "password").write_text("hush\n")
    (tmp_path / "password").chmod(0o600)
    try:
        yield (
            Mail(
                server="localhost",
                port=port,
                sender="void@studio.lan",
                to=["{user}@studio.lan", "wranglers@studio.lan"],
                user="void",
                password_file=str(tmp_path / "password"),
            ),
            taken,
        )
    finally:
        serving.stop()


def test_mail_goes_over_tls_to_whoever_submitted(
    wanted: Make, tmp_path: Path, mail_server: tuple[Mail, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mail, taken = mail_server
    settings(tmp_path, monkeypatch, mail=mail.model_dump())
    job = begun(wanted, tmp_path / "out", name="clean-up\r\nBcc: spy@elsewhere", comment="tonight")
    with pytest.raises(JobFailed):
        do(job, "finish")
    ((to, message),) = taken
    assert to == ["ann@studio.lan", "wranglers@studio.lan"]
    assert message["subject"].startswith("clean-up Bcc")
    assert message["bcc"] is None
    assert "The quadmask of" in message.get_content()
    assert f"folder: {job.folder}" in message.get_content()


def test_the_password_of_mail_is_nobody_elses_to_read(
    tmp_path: Path, mail_server: tuple[Mail, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mail, taken = mail_server
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(SettingError, match=r"Others can read the password in .*; run: chmod 600"):
        mail.send("x", "x", {"user": "ann"})
    elsewhere = mail.model_copy(update={"password_file": ""})
    with pytest.raises(SettingError, match=r"neither mail.password_file nor \$VOID_SMTP_PASSWORD is set"):
        elsewhere.send("x", "x", {"user": "ann"})
    monkeypatch.setenv("VOID_SMTP_PASSWORD", "wrong")
    with pytest.raises(JobFailed, match="did not take the mail"):
        elsewhere.send("x", "x", {"user": "ann"})
    assert not taken
    monkeypatch.setenv("VOID_SMTP_PASSWORD", "hush")
    elsewhere.send("x", "x", {"user": "ann"})
    assert len(taken) == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"server": "x", "sender": "y", "to": []}, "mail.to: "),
        ({"server": "x", "sender": "y", "to": ["z"], "password": "hush"}, "no setting mail.password"),
        ({"server": "x", "sender": "y", "to": ["z"], "security": "maybe"}, "mail.security: "),
    ],
)
def test_a_mistake_in_what_is_said_of_mail_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], sentence: str
) -> None:
    settings(tmp_path, monkeypatch, mail=wrong)
    with pytest.raises(SettingError, match=sentence):
        load()


def test_a_damaged_line_of_the_journal_hides_no_other() -> None:
    for text in ("one", "two"):
        journal.add({"text": text})
    with open(journal.journal(), "ab") as file:
        file.write(b"{broken\n")
    journal.add({"text": "three"})
    assert [one["text"] for one in journal.latest(2)] == ["three", "two"]


def raising(error: BaseException) -> Any:
    def here(_: str) -> str:
        raise error

    return here


@pytest.mark.parametrize("mail_to", ["{user}@studio.lan", "{user}@studio.lan\nBcc: spy@elsewhere", "{user.x}"])
@pytest.mark.parametrize("ends", ["sys.exit(3)", "'\\udce4'.encode()"])
def test_whatever_telling_raises_spoils_no_task(
    wanted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mail_to: str, ends: str
) -> None:
    (tmp_path / "hooks.py").write_text(f"import sys\ndef on_farm(notice):\n    {ends}\n")
    # a name that no resolver takes
    mail = {"server": "a..b", "port": 1, "sender": "void@studio.lan\n", "to": [mail_to]}
    settings(tmp_path, monkeypatch, hooks=str(tmp_path / "hooks.py"), mail=mail)
    job = begun(wanted, tmp_path / "out", str(tmp_path / "night.json"))
    with open(tmp_path / "log", "w", encoding="ascii") as log:
        monkeypatch.setattr("sys.stdout", log)
        notices.failed(job, "finish", JobFailed("the disk \udce4 is gone"), raising(ValueError("embedded null byte")))
        notices.done(job, raising(OSError(36, "File name too long \udce4")))
    said = (tmp_path / "log").read_text(encoding="ascii")
    assert "embedded null byte" in said
    assert "File name too long \\udce4" in said
    assert [one["event"] for one in journal.latest(9)] == ["job_done", "job_failed"]


@pytest.mark.parametrize("wrong", [{"sender": "void@studio.lan\nBcc: spy@elsewhere"}, {"server": "a..b"}])
def test_what_no_mail_can_say_is_a_sentence(wrong: dict[str, str]) -> None:
    mail = Mail(**{"server": "127.0.0.1", "sender": "void@studio.lan", "to": ["ann@studio.lan"], "port": 1, **wrong})
    with pytest.raises(JobFailed, match=r"The mail cannot be written: .*; look at mail in the farm settings"):
        mail.send("x", "x", {"user": "ann"})


def test_a_mark_that_cannot_be_written_keeps_no_failure_from_being_told(
    wanted: Make, heard: Heard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = begun(wanted, tmp_path / "out")
    intermediate = results_of(job).intermediate
    shutil.rmtree(intermediate, ignore_errors=True)
    # on it nothing can be made, whoever runs this
    intermediate.symlink_to("/proc/self/fdinfo")
    notices.failed(job, "finish", JobFailed("the disk is full"), str)
    assert heard.events == ["job_failed"]
    assert "may be told more than once" in capsys.readouterr().out


def test_the_subject_of_a_mail_has_the_whole_name_of_the_job(
    wanted: Make, tmp_path: Path, mail_server: tuple[Mail, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mail, taken = mail_server
    settings(tmp_path, monkeypatch, mail=mail.model_dump())
    job = begun(wanted, tmp_path / "out", name="comp: sh010")
    notices.done(job, str)
    ((_, message),) = taken
    assert message["subject"] == "comp: sh010 is done"


def test_a_journal_that_was_named_is_for_all_whom_the_umask_lets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o002)
    try:
        journal.add({"text": "own"})
        assert journal.journal().stat().st_mode & 0o777 == 0o600
        monkeypatch.setenv(journal.ENVIRONMENT, str(tmp_path / "shared" / "notices.jsonl"))
        journal.add({"text": "everybody's"})
        assert journal.journal().stat().st_mode & 0o777 == 0o664
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ('{"mail": {"password": "hunter2"}}', "mail.server: Field required."),
        ('{"mail": [{"password": "hunter2"}]}', "mail: "),
        ('{"mail": {"password": "hunter2",}}', "the file: "),
        (
            '{"mail": {"server": "x", "sender": "y", "to": ["z"], "password": "hunter2"}}',
            "there is no setting mail.password; known are server, sender, to, port, security, user, password_file.",
        ),
        ('{"mail": "smtp://void:hunter2@smtp.studio.lan"}', "mail: "),
        ('{"mail": {"server": "smtp://void:hunter2@x", "sender": "y", "to": ["z"]}}', "mail.server: give the host's"),
        ('{"mail": {"server": "x", "sender": "y", "to": "void:hunter2@x"}}', "mail.to: "),
        ('{"options": {"slurm": {"options": "--token=hunter2"}}}', "options.slurm.options: "),
    ],
)
def test_no_password_gets_from_the_settings_into_a_log(
    said: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site.json").write_text(said)
    monkeypatch.setenv("VOID_FARM_SETTINGS", str(tmp_path / "site.json"))
    with pytest.raises(SettingError) as raised:
        load()
    assert sentence in str(raised.value)
    assert "hunter2" not in str(raised.value)
