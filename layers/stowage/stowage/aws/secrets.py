"""Secrets, read by name where they are needed."""

from stowage.aws.clients import secretsmanager


def read_secret(name: str) -> str:
    """The text of a secret."""
    return str(secretsmanager().get_secret_value(SecretId=name)["SecretString"])
