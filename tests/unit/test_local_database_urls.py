"""The database's URL for its roles, for the product, and for a command line."""

import pytest

from local.database_urls import as_role, for_product, without_password


@pytest.mark.parametrize(
    ("url", "role", "product", "bare", "password"),
    [
        (
            "postgresql://own:p%40ss@h:1/d",
            "postgresql://app:p%40ss@h:1/d",
            "postgresql://h:1/d?password=p%40ss",
            "postgresql://own@h:1/d",
            "p@ss",
        ),
        ("postgresql://own@h/d", "postgresql://app@h/d", "postgresql://h/d", "postgresql://own@h/d", ""),
        ("postgresql://h/d", "postgresql://app@h/d", "postgresql://h/d", "postgresql://h/d", ""),
        (
            "postgresql://own:x@h/d?sslmode=require",
            "postgresql://app:x@h/d?sslmode=require",
            "postgresql://h/d?sslmode=require&password=x",
            "postgresql://own@h/d?sslmode=require",
            "x",
        ),
        (
            "postgresql://own@h/d?password=a%26b&sslmode=require",
            "postgresql://app@h/d?password=a%26b&sslmode=require",
            "postgresql://h/d?password=a%26b&sslmode=require",
            "postgresql://own@h/d?sslmode=require",
            "a&b",
        ),
        (
            "postgresql://own@h/d?password=x",
            "postgresql://app@h/d?password=x",
            "postgresql://h/d?password=x",
            "postgresql://own@h/d",
            "x",
        ),
    ],
)
def test_a_url_for_everybody(url: str, role: str, product: str, bare: str, password: str) -> None:
    assert as_role(url, "app") == role
    assert for_product(url) == product
    assert without_password(url) == (bare, password)
