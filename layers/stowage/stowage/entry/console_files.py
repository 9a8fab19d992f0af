"""The console's files as browsers get them: few, since each is a request of its own.

In the checkout every module has a file of its own. Served are the page, one style sheet, the libraries
as they are, one module `app.js` of all that pages share, and one of each folder of `pages/`. A joined
module is its files one after another, what is imported before what imports it: so the names at the top
of the files that are joined differ (tests/functions/test_console.py), and an import renames nothing.
"""

import gzip
import hashlib
import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE, APP, STYLES = "index.html", "app.js", "styles.css"
PLACE = "/console/assets/"
"""Where the page says that its assets stand; they are served under the hash in its place."""
_STYLE = re.compile(rf'<link rel="stylesheet" href="{PLACE}([^"]+)">\n')
_IMPORT = re.compile(r"""^import ([^"]+?) from "(\.[^"]+)";\n""", re.MULTILINE)
_NAME = re.compile(r"\w+")
_LATER = re.compile(r"""\bimport\("(\.[^"]+)"\)""")


@dataclass(frozen=True)
class Asset:
    """What is served at one address, as it is and gzipped."""

    body: bytes
    packed: bytes
    media_type: str
    etag: str


@dataclass(frozen=True)
class Console:
    """All that is served by its path; `version` is the hash of the whole folder."""

    version: str
    assets: dict[str, Asset]


@cache
def read_console() -> Console:
    """Read the folder once for as long as the process lives."""
    folder = _folder()
    files = {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES
    }
    whole = hashlib.sha256()
    for name, text in files.items():
        whole.update(f"{name} {len(text)} {text}".encode())
    version = whole.hexdigest()[:16]
    served = {name: text for name, text in files.items() if not name.endswith((".css", ".js"))}
    served |= _joined_modules({name: text for name, text in files.items() if name.endswith(".js")})
    served[STYLES] = "".join(files[name] for name in _STYLE.findall(files[PAGE]))
    served[PAGE] = _page(files[PAGE], version, [APP, *(name for name in served if name.startswith("vendor/"))])
    return Console(version, {name: _asset(name, text.encode()) for name, text in served.items()})


def _folder() -> Path:
    """The layer's folder beside the packages on AWS, the checkout's own on a laptop."""
    here = Path(__file__).resolve()
    return next(each / "console" for each in here.parents if (each / "console" / PAGE).is_file())


def _page(text: str, version: str, modules: list[str]) -> str:
    links = f'<link rel="stylesheet" href="{PLACE}{STYLES}">\n'
    links += "".join(f'<link rel="modulepreload" href="{PLACE}{name}">\n' for name in modules)
    return _STYLE.sub("", text).replace("</head>", f"{links}</head>").replace(PLACE, f"/console/{version}/")


def _home(name: str) -> str:
    """The module that a file is served in."""
    match name.split("/"):
        case ["vendor", _]:
            return name
        case ["pages", folder, _]:
            return f"pages/{folder}.js"
    return APP


def _joined_modules(files: dict[str, str]) -> dict[str, str]:
    members: dict[str, list[str]] = defaultdict(list)
    for name in _in_order(files):
        members[_home(name)].append(name)
    return {
        home: files[home] if home.startswith("vendor/") else _join(home, names, files)
        for home, names in members.items()
    }


def _in_order(files: dict[str, str]) -> list[str]:
    """All modules, what is imported before what imports it; the one that begins comes last."""
    found: dict[str, None] = {}
    begun = set()

    def visit(name: str) -> None:
        if name not in begun:
            begun.add(name)
            for _, path in _IMPORT.findall(files[name]):
                visit(_target(name, path))
            found[name] = None

    for name in sorted(files, key=lambda each: each == APP):
        visit(name)
    return list(found)


def _target(name: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))


def _join(home: str, names: list[str], files: dict[str, str]) -> str:
    """One module of many: imports of each other fall away, those of other modules stand once at its head."""
    needed: dict[str, set[str]] = defaultdict(set)
    texts = []
    for name in names:
        for what, path in _IMPORT.findall(files[name]):
            if (other := _home(_target(name, path))) != home:
                needed[other].update(_NAME.findall(what))
        text = _LATER.sub(partial(_later, home, name), files[name])
        texts.append(f"// {name}\n{_IMPORT.sub('', text)}")
    return "".join([*(_heading(home, other, wanted) for other, wanted in sorted(needed.items())), *texts])


def _later(home: str, name: str, found: re.Match[str]) -> str:
    return f'import("{_way(home, _home(_target(name, found[1])))}")'


def _heading(home: str, other: str, wanted: set[str]) -> str:
    """The libraries' one default is `htm`; everything else is imported by its name."""
    default = "htm" if other == "vendor/htm.js" else f"{{ {', '.join(sorted(wanted))} }}"
    return f'import {default} from "{_way(home, other)}";\n'


def _way(home: str, other: str) -> str:
    way = posixpath.relpath(other, posixpath.dirname(home) or ".")
    return way if way.startswith(".") else f"./{way}"


def _asset(name: str, body: bytes) -> Asset:
    media_type = TYPES[PurePosixPath(name).suffix]
    return Asset(body, gzip.compress(body, mtime=0), media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
