"""What a deployment decides, read from the environment at first use. Secrets are named here, never held."""

import os
from functools import cache
from typing import Literal

from pydantic import BaseModel, Field, Json

TRIALS = "-trials"
"""The server for trial restores, where the deployment has one: a name that no tenant's database has."""


class Settings(BaseModel):
    """One deployment's settings; each is the environment variable `STOWAGE_` + its name in capitals.

    The template sets them from its parameters of the same names, which say what each means.
    """

    table: str = ""
    exports_bucket: str = ""
    backups_bucket: str = ""
    uploads_bucket: str = ""
    uploads_origins: str = ""
    """Where browsers send files, for the console's Content-Security-Policy."""

    database_url: str = ""
    """`postgresql://host:port/name?sslmode=…` of the database called `main`: no user, no password."""
    databases: Json[dict[str, str]] = Field(default_factory=dict)
    """Further servers by name, as `control_plane.projects.database` names them."""
    verify_database_url: str = ""
    """`postgresql://host:port/name` of the server for trial restores; without one they take the tenants' own."""
    database_login: str = "none"
    database_secret: str = ""
    database_connections: int = 4

    state_machine: str = ""
    wake_queue: str = ""
    dead_letter_queue: str = ""
    ended_queue: str = ""

    notify_sender: str = ""
    notify_domains: str = ""
    telegram_token: str = ""
    telegram_api_url: str = "https://api.telegram.org"

    jwt_secret: str = ""
    jwks_url: str = ""
    jwt_algorithms: str = "HS256"
    jwt_issuer: str = ""
    jwt_audience: str = ""
    tenants_claim: str = "tenants"
    role_claim: str = "role"
    role_map: Json[dict[str, str]] = Field(default_factory=dict)
    link_secret: str = ""
    console_origins: str = ""
    public_url: str = ""
    openapi_public: bool = True
    graphql_introspection: bool = False
    backend_api_url: str = ""
    backend_api_key: str = ""

    exports_per_day: int = 10
    gdpr_exports_per_day: int = 3
    backups_per_minute: int = 10
    worker_exports_per_tenant: int = 3
    inline_max_bytes: int = 32 * 1024 * 1024
    image_max_bytes: int = 64 * 1024 * 1024
    worker_cpu: int = 1024
    worker_memory: int = 2048
    max_attempts: int = 3
    retry_seconds: int = 20
    stale_seconds: int = 900
    export_hours: int = 24
    backup_days: int = 30
    backup_schedule: str = "0 2 * * *"
    backup_timezone: str = "UTC"
    backup_window_minutes: int = 240
    backup_grace_minutes: int = 120
    backup_trials: Literal["never", "weekly", "always"] = "weekly"
    run_days: int = 90
    trash_days: int = 30
    audit_days: int = 365
    max_cascade: int = 200_000
    purge_function: str = ""
    keys_function: str = ""
    registry_function: str = ""
    check_function: str = ""

    pg_dump: str = "pg_dump"

    def url_of(self, database: str) -> str:
        """The URL of a database by its registry name; KeyError where the deployment has none of that name."""
        if database == TRIALS and self.verify_database_url:
            return self.verify_database_url
        return self.database_url if database == "main" else self.databases[database]


@cache
def settings() -> Settings:
    """This process's settings."""
    prefix = "STOWAGE_"
    return Settings.model_validate(
        {name.removeprefix(prefix).lower(): value for name, value in os.environ.items() if name.startswith(prefix)}
    )
