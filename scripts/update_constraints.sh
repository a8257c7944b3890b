#!/bin/sh
# Writes constraints.txt: one version of each package for Python 3.11 to 3.13 on Linux x86_64, for every extra but gpu.
# Needs uv (pip install uv). The package index is whatever uv is configured with; it is not written to the file.
set -eu
cd "$(dirname "$0")/.."

resolved=$(uv pip compile pyproject.toml --extra cpu --extra buckets --extra aws --extra gcp --extra dev --extra bench --extra tune --extra serve \
    --universal --python-version 3.11 --fork-strategy fewest --upgrade \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet)
# The extra gpu has TensorFlow under its other name, at the same version.
tensorflow=$(echo "$resolved" | sed -n 's/^tensorflow-cpu==\([^ ;]*\).*/tensorflow==\1/p')
{
    echo "# The versions that railcar is tested with: Python 3.11 to 3.13, Linux x86_64."
    echo "# Made by scripts/update_constraints.sh. To use it: pip install -c constraints.txt \"railcar[cpu]\""
    # pip wants no extras in a constraint; a marker that only repeats "Linux, x86_64" says nothing.
    printf '%s\n%s\n' "$resolved" "$tensorflow" | sed 's/\[[^]]*\]//; s/ *;.*//' | LC_ALL=C sort -u
} > constraints.new
mv constraints.new constraints.txt
