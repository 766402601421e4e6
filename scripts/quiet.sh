#!/bin/sh
# usage: command 2>&1 | quiet.sh SUCCESS
# Stays silent when the output holds the line SUCCESS; otherwise shows all of it and fails.
set -eu
output=$(cat)
case $output in
    *"$1"*) ;;
    *) printf '%s\n' "$output" >&2; exit 1 ;;
esac
