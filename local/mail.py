"""SES version 2: moto checks and takes a mail, and a file in the home's folder `mail` shows it to people and tests."""

import itertools
import json
import os
from email.message import EmailMessage
from pathlib import Path

from local.configuration import ACCOUNT, REGION

SENDER = "stowage@example.com"
"""Where the local stack's mails come from."""


class Mailbox:
    """The folder of sent mails, as files that mail programs open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._is_verified = False

    def verify_sender(self) -> None:
        """Let SES take mails from the stack's sender, as its owner does on AWS. It loads moto's SES."""
        if not self._is_verified:
            from moto.ses.models import ses_backends

            ses_backends[ACCOUNT][REGION].verify_email_identity(SENDER)
            self._is_verified = True

    def keep(self, body: bytes) -> None:
        """Keep a mail that SendEmail has taken."""
        given = json.loads(body)
        simple = given["Content"]["Simple"]
        mail = EmailMessage()
        mail["From"], mail["To"] = given["FromEmailAddress"], ", ".join(given["Destination"]["ToAddresses"])
        mail["Subject"] = simple["Subject"]["Data"]
        mail.set_content(simple["Body"]["Text"]["Data"])
        mail.add_alternative(simple["Body"]["Html"]["Data"], subtype="html")
        self._folder.mkdir(exist_ok=True)
        file = self._folder / f"{os.getpid()}-{next(self._numbers):06}.eml"
        partial = file.with_suffix(".partial")
        partial.write_bytes(bytes(mail))
        partial.replace(file)
