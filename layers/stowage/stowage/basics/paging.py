"""Pages of lists, as answers tell of them (docs/api.md)."""

from pydantic import BaseModel


class Pagination(BaseModel):
    """Which page of how many."""

    page: int
    limit: int
    total: int
    total_pages: int


def paginate(page: int, limit: int, total: int) -> Pagination:
    """The pagination of a page, counted from 1."""
    return Pagination(page=page, limit=limit, total=total, total_pages=-(-total // limit))
