#!/bin/sh
# What the tests need besides Python: a JDK and Maven (the Handle.Net client), a C compiler (the server we are measured
# against), User-Mode Linux and ext4 tools (the power-cut test), a browser (the page for people). Present things are
# skipped. As root, or under CI=true, missing packages are installed; otherwise the one line to run is printed and the
# script fails.
set -eu

missing=
need() { # need COMMAND PACKAGE...
    command=$1; shift
    # Administrators' commands (mkfs.ext4) are not on everybody's path.
    PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null 2>&1 || missing="$missing $*"
}

need javac default-jdk-headless
need mvn maven
need cc gcc libc6-dev
need linux.uml user-mode-linux
need mkfs.ext4 e2fsprogs
need chromium chromium
# A compiler without the C library's headers cannot build the server either.
if command -v cc >/dev/null 2>&1 && ! echo '#include <sys/socket.h>' | cc -E -x c - >/dev/null 2>&1; then
    missing="$missing libc6-dev"
fi
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
fi
line="apt-get update && apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "make test also needs (by their Debian names):$missing" >&2
    exit 1
fi
if [ -n "$as_root" ] && { [ "${CI:-}" != true ] || ! command -v sudo >/dev/null 2>&1; }; then
    echo "make test also needs$missing. Run: sudo sh -c '$line'" >&2
    exit 1
fi
echo "== installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! $as_root sh -c "export DEBIAN_FRONTEND=noninteractive; $line" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "Installing failed. Run it yourself: $line" >&2
    exit 1
fi
