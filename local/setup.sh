#!/bin/sh
# Make .venv with everything that a checkout needs: Python 3.13, and the packages of requirements-dev.lock.
# `local/setup.sh sam` makes .tools/sam instead, with AWS's SAM CLI, whose own dependencies would not fit beside ours.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE PYTHONPATH VIRTUAL_ENV
# Trust what the system trusts, as pip does: a company's proxy may have a certificate of its own. The older name first.
export UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}" UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"

say() { printf '%s\n' "$*" >&2; }

# The first of the given commands that is a Python of at least version $1 and below version $2.
python_between() {
    least=$1 below=$2
    shift 2
    for candidate in "$@"; do
        if "$candidate" -c "import sys; sys.exit(not ($least) <= sys.version_info < ($below))" 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

pyenv_root=${PYENV_ROOT:-$HOME/.pyenv}

find_uv() {
    if [ -x .tools/uv/bin/uv ]; then
        echo .tools/uv/bin/uv
    elif command -v uv >/dev/null 2>&1; then
        command -v uv
    else
        any=$(python_between "3, 9" "4, 0" python3.13 python3.14 python3.12 python3.11 python3 \
            "$pyenv_root"/versions/3.1[1-9]*/bin/python3) || {
            say "No python3 was found. Install Python 3.13 (or uv), then try again."
            exit 1
        }
        say "Installing uv into .tools/uv"
        if ! "$any" -m venv .tools/uv >/dev/null 2>&1; then
            rm -rf .tools/uv
            say "$any cannot make virtual environments. Install its venv package (python3-venv), or uv, then try again."
            exit 1
        fi
        .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv >&2
        echo .tools/uv/bin/uv
    fi
}

find_python() {
    python_between "3, 13" "3, 14" python3.13 python3 "$pyenv_root"/versions/3.13*/bin/python3.13 || {
        say "Installing Python 3.13 into .tools/python"
        UV_PYTHON_INSTALL_DIR=.tools/python "$uv" python install 3.13 >&2 &&
            UV_PYTHON_INSTALL_DIR=.tools/python "$uv" python find --managed-python 3.13 || {
            say "Python 3.13 could not be fetched. Install it (any python3.13 in PATH will do), then try again."
            exit 1
        }
    }
}

# make_environment FOLDER LOCK
make_environment() {
    if ! "$1/bin/python" -c "import sys; sys.exit(sys.version_info[:2] != (3, 13))" 2>/dev/null; then
        python=$(find_python)
        say "Making $1 with $("$python" --version)"
        "$uv" venv --quiet --clear --python "$python" "$1"
    fi
    say "Installing the packages of $2 into $1"
    "$uv" pip sync --quiet --require-hashes --compile-bytecode --python "$1/bin/python" "$2"
}

uv=$(find_uv)
if [ "${1:-}" = sam ]; then
    make_environment .tools/sam requirements-sam.lock
    touch .tools/sam/.ready
else
    make_environment .venv requirements-dev.lock
    .venv/bin/python -m compileall -q layers/stowage layers/entities functions worker local clients
    # Commands such as `python -m stowage.postgres` find the package where it is.
    printf '%s\n' "$PWD/layers/stowage" "$PWD/layers/entities" "$PWD/clients/python" >.venv/lib/python3.13/site-packages/stowage.pth
    touch .venv/.ready
    say "Ready."
fi
