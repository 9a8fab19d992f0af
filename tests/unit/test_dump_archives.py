"""An archive's table of contents tells whose everything in it is, in each version of its format,
whatever the names.
"""

import pytest

from stowage.basics.errors import RunError
from stowage.postgres.dumps.archive import read_contents
from stowage.postgres.dumps.namespaces import ArchiveNamespaces

CUSTOM, TAR, DIRECTORY = 1, 3, 5
VERSIONS = [(1, 14), (1, 15), (1, 16)]
SCHEMA = "tenant_acme"

type Named = tuple[str, str, str]
"""Type, tag, namespace."""


def integer(number: int) -> bytes:
    return bytes([number < 0]) + abs(number).to_bytes(4, "little")


def text(value: str | None) -> bytes:
    return integer(-1) if value is None else integer(len(value.encode())) + value.encode()


def archive(entries: list[Named], version: tuple[int, int] = (1, 16), format: int = CUSTOM) -> bytes:
    """What pg_dump would write at an archive's head (PostgreSQL's source, `WriteHead` and
    `WriteToc`).
    """
    head = b"PGDMP" + bytes([*version, 0, 4, 8, format])
    head += integer(0) if version < (1, 15) else b"\0"
    head += b"".join(integer(number) for number in (0, 30, 6, 28, 10, 126, 0))
    head += text("app") + text("18.4") + text("18.4") + integer(len(entries))
    for number, (kind, tag, namespace) in enumerate(entries, 1):
        head += integer(number) + integer(kind == "TABLE DATA") + text("1259") + text(str(number))
        head += text(tag) + text(kind) + integer(3) + text("CREATE …") + text("DROP …") + text(None)
        head += text(namespace or None) + text("") + text(None)
        head += integer(0) if version >= (1, 16) else b""
        head += text("shop") + text("false") + text("1") + text("2") + text(None)
        head += b"\1" + bytes(8) if format == CUSTOM else text(f"{number}.dat" if kind == "TABLE DATA" else None)
    if format == TAR:
        return b"toc.dat".ljust(100, b"\0").ljust(512, b"0") + head
    return head


OURS: list[Named] = [
    ("ENCODING", "ENCODING", ""), ("STDSTRINGS", "STDSTRINGS", ""), ("SEARCHPATH", "SEARCHPATH", ""),
    ("DATABASE", "app", ""), ("DATABASE PROPERTIES", "app", ""), ("ACL", "DATABASE app", ""),
    ("COMMENT", "DATABASE app", ""), ("SCHEMA", SCHEMA, ""), ("COMMENT", f"SCHEMA {SCHEMA}", ""),
    ("ACL", f'SCHEMA "{SCHEMA}"', ""), ("SECURITY LABEL", f"SCHEMA {SCHEMA}", ""),
    ("TABLE", "posts", SCHEMA), ("TABLE DATA", "posts", SCHEMA),
    ("DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES", SCHEMA),
    ("FUNCTION", "x\n3; 1 2 TABLE tenant_other posts o\n(integer)", SCHEMA),
    ("VIEW", "x; TABLE DATA y; Schema: tenant_other", SCHEMA), ("SEQUENCE SET", "Größe 'n\"", SCHEMA),
]  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("format", [CUSTOM, TAR])
def test_entries_are_read_in_every_version(version: tuple[int, int], format: int) -> None:
    data = archive(OURS, version, format)
    contents = read_contents(data + b"\1data of tables follow")

    assert contents is not None
    assert (contents.version, contents.format) == (version, "custom" if format == CUSTOM else "tar")
    assert [(entry.type, entry.tag, entry.namespace) for entry in contents.entries] == OURS
    assert contents.end == len(data)
    assert [data[entry.start : entry.end] for entry in contents.entries][-1] == data[contents.entries[-1].start :]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("format", [CUSTOM, TAR])
def test_too_few_bytes_are_no_contents_yet(version: tuple[int, int], format: int) -> None:
    data = archive(OURS[:9], version, format)

    assert all(read_contents(data[:length]) is None for length in range(len(data)))


UNKNOWN = {
    "an older version": (archive(OURS, (1, 13)), "1.13"),
    "a newer version": (archive(OURS, (1, 17)), "1.17"),
    "a version to come": (archive(OURS, (2, 0)), "2.0"),
    "another kind": (archive(OURS, format=DIRECTORY), "kind 5"),
    "no archive": (b"--\n-- PostgreSQL database dump\n--\n", "neither"),
    "a tar of something else": (b"hello.txt".ljust(512, b"\0") + b"PGDMP", "neither"),
    "a tar whose contents are none": (b"toc.dat".ljust(512, b"\0") + b"hello, hello", "does not begin"),
    "lengths that cannot be": (archive([])[:-5] + integer(1) + b"\0\xff\xff\xff\x7f" * 9, "cannot be read"),
}


@pytest.mark.parametrize(("data", "told"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_is_not_known_is_refused_in_words(data: bytes, told: str) -> None:
    with pytest.raises(RunError, match=told) as caught:
        read_contents(data)
    assert (caught.value.code, caught.value.retryable) == ("archive_unknown", False)


def looked_at(data: bytes, size: int = 100) -> ArchiveNamespaces:
    namespaces = ArchiveNamespaces(SCHEMA)
    for start in range(0, len(data), size):
        namespaces.feed(data[start : start + size])
    namespaces.finish()
    return namespaces


@pytest.mark.parametrize("format", [CUSTOM, TAR])
@pytest.mark.parametrize("size", [1, 97, 100_000])
def test_what_is_the_schemas_is_taken(format: int, size: int) -> None:
    assert looked_at(archive(OURS, format=format) + b"data" * 500, size).entries == len(OURS)


FOREIGN: list[Named] = [
    ("TABLE", "posts", "tenant_other"),
    ("TABLE", "posts", "tenant_acme2"),
    ("TABLE", "posts", "Tenant_acme"),
    ("FK CONSTRAINT", "posts posts_fkey", "tenant_other"),
    ("SCHEMA", "tenant_other", ""),
    ("COMMENT", "SCHEMA tenant_other", ""),
    ("ACL", "SCHEMA tenant_acme2", ""),
    ("EXTENSION", "hstore", ""),
    ("BLOB METADATA", "16400..16401", ""),
    ("BLOBS", "BLOBS", ""),
    ("CAST", "CAST (a AS b)", ""),
    ("PUBLICATION", "p", ""),
    ("TABLE", "x", ""),
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
@pytest.mark.parametrize("format", [CUSTOM, TAR])
def test_what_is_not_the_schemas_is_refused(foreign: Named, format: int) -> None:
    for entries in ([*OURS, foreign], [foreign, *OURS]):
        with pytest.raises(RunError) as caught:
            looked_at(archive(entries, format=format))
        assert (caught.value.code, caught.value.retryable) == ("foreign_schema", False)


def test_a_head_that_never_ends_proves_nothing() -> None:
    with pytest.raises(RunError) as caught:
        looked_at(archive(OURS)[:-3])
    assert caught.value.code == "foreign_schema"
    with pytest.raises(RunError):
        looked_at(b"")
