"""The tables of your tenants, each declared once; these are the sample's. Replace them by your own.

A table is one `Entity` in `DECLARED` (stowage/entities/declaration.py says what each part means).
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel
from pydantic import Field as Constraint

from stowage.entities.declaration import Entity, Reference

# What the tables check too; where a model says it, a person is told which limit it is.
_Filled = Annotated[str, Constraint(min_length=1)]
_Name = Annotated[str, Constraint(min_length=1, max_length=1000)]
_Count = Annotated[int, Constraint(ge=0)]


class Brand(BaseModel):
    """A brand: the top of a tenant's tree."""

    label: _Name


class Group(BaseModel):
    """A group of accounts within a brand."""

    brandId: str
    label: _Name


class Account(BaseModel):
    """An account on a platform, in a group of a brand."""

    username: Annotated[str, Constraint(min_length=1, max_length=500)]
    displayName: str | None = None
    platform: Annotated[str, Constraint(min_length=1, max_length=100)]
    brandId: str
    groupId: str | None = None
    followers: _Count = 0
    status: _Filled = "active"


class Post(BaseModel):
    """A post of an account; its id may be any text, a URL too."""

    accountId: str
    url: Annotated[str, Constraint(min_length=1, max_length=2000)]
    caption: str | None = None
    likes: _Count = 0
    postedAt: datetime | None = None


class Task(BaseModel):
    """Something a user of the tenant has to do."""

    title: _Filled
    description: str | None = None
    status: Literal["todo", "in_progress", "completed"] = "todo"
    priority: Literal["low", "medium", "high", "urgent"] = "medium"
    assignee: str | None = None


class User(BaseModel):
    """A person who works for the tenant."""

    name: _Filled
    email: _Filled


DECLARED: tuple[Entity, ...] = (
    Entity(
        "brands",
        "brand",
        "brands",
        Brand,
        label="label",
        id_prefix="brd_",
        search=("label",),
        unique=(("label",),),
    ),
    Entity(
        "groups",
        "group",
        "groups",
        Group,
        label="label",
        id_prefix="grp_",
        search=("label",),
        unique=(("brandId", "label"),),
        references=(Reference("brandId", "brands", "restrict"),),
    ),
    Entity(
        "accounts",
        "account",
        "accounts",
        Account,
        label="username",
        id_prefix="acc_",
        search=("username", "displayName"),
        unique=(("platform", "username"),),
        references=(Reference("brandId", "brands", "restrict"), Reference("groupId", "groups", "restrict")),
    ),
    Entity(
        "posts",
        "post",
        "posts",
        Post,
        label="url",
        id_prefix="pst_",
        search=("url", "caption"),
        unique=(("url",),),
        references=(Reference("accountId", "accounts", "cascade", filters=("platform", "brandId", "groupId")),),
    ),
    Entity(
        "tasks",
        "task",
        "tasks",
        Task,
        label="title",
        id_prefix="tsk_",
        search=("title", "description"),
        references=(Reference("assignee", "users", "keep"),),
    ),
    Entity("users", "user", "users", User, label="name", id_prefix="usr_", search=("name", "email")),
)
