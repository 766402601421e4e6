#!/bin/sh
# usage: venv.sh FOLDER [EXTRA]
# Makes the virtual environment FOLDER if it is missing or broken, and installs idnode (with EXTRA) into it, editable.
set -eu
cd "$(dirname "$0")/.."
folder=$1
extra=${2:+[$2]}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" && { echo "$PYTHON"; return; }
        echo "PYTHON=$PYTHON is missing or older than 3.11; name another one or leave PYTHON unset." >&2
        return 1
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if new_enough "$candidate"; then echo "$candidate"; return; fi
    done
    echo "idnode needs Python 3.11 or newer; none was found." >&2
    echo "On Debian or Ubuntu: apt-get install python3 python3-venv" >&2
    return 1
}

if ! "$folder/bin/python" -c '' >/dev/null 2>&1; then
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        name=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        echo "$python has no venv module. On Debian or Ubuntu: apt-get install $name" >&2
        exit 1
    fi
    echo "== virtual environment $folder ($("$python" --version))"
    "$python" -m venv --clear "$folder"
    echo '*' >"$folder/.gitignore" # whatever it is called, it is not ours
fi
echo "== installing idnode$extra"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".$extra"
