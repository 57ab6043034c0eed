"""E-mail to whoever waits for a job or a batch."""

from __future__ import annotations

import os
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..api.errors import JobFailed, SettingError

#: Holds the password of the account that sends, where no file does.
PASSWORD = "VOID_SMTP_PASSWORD"
# Seconds that a mail server may take: a task waits for it.
_PATIENCE = 20


class Mail(BaseModel):
    """What the site's settings say of mail.

    ``to`` are addresses, in which ``{user}`` stands for whoever submitted the job; ``password_file`` is a file that
    only its owner can read. Without a ``user`` nobody logs in.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    server: str
    sender: str
    to: list[str] = Field(min_length=1)
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password_file: str = ""

    @field_validator("server")
    @classmethod
    def _host_alone(cls, server: str) -> str:
        """A URL's account and password would get into every error that names the server."""
        if not server or set(server) & set("/@"):
            raise ValueError("give the host's name alone, such as smtp.studio.lan; user and password_file are settings")
        return server

    def send(self, subject: str, text: str, fields: Mapping[str, str]) -> None:
        """Send a mail. ``fields`` are the names that addresses may hold in braces.

        Raises :class:`SettingError` for what is wrong with the settings, :class:`JobFailed` where it is not taken.
        """
        message = EmailMessage()
        try:
            message["To"] = ", ".join(address.format_map(fields) for address in self.to)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise SettingError(f"An address of mail.to names {error}; it may name {', '.join(fields)}.") from error
        secret = self._password() if self.user else ""
        try:
            message["From"] = self.sender
            # one line: a name with a line break would begin another header
            message["Subject"] = " ".join(subject.split())
            message.set_content(text)
            with self._connected() as connection:
                if self.user:
                    connection.login(self.user, secret)
                connection.send_message(message)
        except (smtplib.SMTPException, OSError) as error:
            raise JobFailed(f"The mail server {self.server} did not take the mail: {error}.") from error
        except ValueError as error:
            # an address with a line break, a server's name or a password that cannot be sent
            raise JobFailed(f"The mail cannot be written: {error}; look at mail in the farm settings.") from error

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.server, self.port, timeout=_PATIENCE, context=context)
        connection = smtplib.SMTP(self.server, self.port, timeout=_PATIENCE)
        if self.security == "starttls":
            try:
                connection.starttls(context=context)
            except BaseException:
                connection.close()
                raise
        return connection

    def _password(self) -> str:
        if not self.password_file:
            if PASSWORD not in os.environ:
                raise SettingError(f"mail.user is {self.user}, but neither mail.password_file nor ${PASSWORD} is set.")
            return os.environ[PASSWORD]
        file = Path(self.password_file)
        try:
            if os.name != "nt" and file.stat().st_mode & 0o077:
                raise SettingError(f"Others can read the password in {file}; run: chmod 600 {file}")
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"The password of mail.user cannot be read: {error}") from error
