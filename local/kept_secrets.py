"""Secrets that the template generates: made once, kept in the home, readable by nobody else."""

import json
import os
import secrets
import string
from pathlib import Path
from typing import Any

from local.homes import read_object
from local.known_properties import Known

type Json = Any

PROPERTIES: dict[str, Known] = {
    "AWS::SecretsManager::Secret": {
        "Description": "for readers",
        "GenerateSecretString": {
            "ExcludeCharacters": ...,
            "ExcludeLowercase": ...,
            "ExcludeNumbers": ...,
            "ExcludePunctuation": ...,
            "ExcludeUppercase": ...,
            "GenerateStringKey": ...,
            "IncludeSpace": ...,
            "PasswordLength": ...,
            "SecretStringTemplate": ...,
        },
        "Name": ...,
        "SecretString": ...,
    }
}
"""What of a secret is used here, and what is not."""

PUNCTUATION = string.punctuation


class KeptSecrets:
    """Values by logical id, the same at every start."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: dict[str, str] = read_object(file)

    def value(self, logical_id: str, properties: Json) -> str:
        """The value of one `AWS::SecretsManager::Secret`."""
        if "SecretString" in properties:
            return str(properties["SecretString"])
        if logical_id not in self._values:
            self._values[logical_id] = generate(properties.get("GenerateSecretString", {}))
            self._save()
        return self._values[logical_id]

    def _save(self) -> None:
        partial = self._file.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(self._values, file, indent=1)
        partial.replace(self._file)


def generate(rule: Json) -> str:
    """A new secret as `GenerateSecretString` describes it; a JSON object where that has a template."""
    alphabet = ""
    for excluded, characters in (
        ("ExcludeLowercase", string.ascii_lowercase),
        ("ExcludeUppercase", string.ascii_uppercase),
        ("ExcludeNumbers", string.digits),
        ("ExcludePunctuation", PUNCTUATION),
    ):
        alphabet += "" if rule.get(excluded) else characters
    alphabet = "".join(character for character in alphabet if character not in rule.get("ExcludeCharacters", ""))
    value = "".join(secrets.choice(alphabet) for _ in range(int(rule.get("PasswordLength", 32))))
    if "SecretStringTemplate" in rule:
        return json.dumps(json.loads(rule["SecretStringTemplate"]) | {rule["GenerateStringKey"]: value})
    return value
