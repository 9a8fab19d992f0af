"""The password of an IAM login is the one that AWS's own library makes."""

import boto3
import pytest

from stowage.aws.database_tokens import login_token


def test_the_token_is_the_one_that_boto3_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a/session+token=")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    theirs = boto3.client("rds").generate_db_auth_token
    place = ("acme.abc.eu-central-1.rds.amazonaws.com", 5432, "stowage_app")
    # Both carry the second in which they were signed.
    assert any(login_token(*place) == theirs(*place) for _ in range(5))
