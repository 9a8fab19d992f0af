"""The schema of a tenant's tables, which says whose it is."""

from typing import Self


class Schema(str):
    """The name of a tenant's schema, and the tenant's id.

    Tables that all tenants share lie in none of these schemas: of them each statement holds the tenant's id
    (`stowage.postgres.tables.relations.mine`).
    """

    tenant: str

    def __new__(cls, name: str, tenant: str) -> Self:
        """The schema of that name, of the tenant with that id."""
        made = super().__new__(cls, name)
        made.tenant = tenant
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        """What makes it again where it is copied or sent to another process."""
        return str(self), self.tenant
