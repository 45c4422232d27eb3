#!/bin/sh
# Installs the wheel in dist/ into a new environment in the given folder, and uses it there as its users do, from a
# folder without the sources: manifest, command line, and napari with a merge through the widget.
set -eu
[ $# = 1 ] || { echo "Usage: sh tools/try-wheel.sh FOLDER" >&2; exit 2; }
here=$(cd "$(dirname "$0")/.." && pwd)
wheel=$(ls "$here"/dist/*.whl)
mkdir -p "$1"
cd "$1"
rm -rf environment results
python=$(sh "$here/tools/find-python.sh")
"$python" -m venv environment
bin=$PWD/environment/bin
# torch first and by its exact pin: any other request may pull in gigabytes of GPU libraries
"$bin/python" -m pip install -qq --progress-bar off "$(grep -i '^torch==' "$here/constraints.txt")" </dev/null
"$bin/python" -m pip install -qq --progress-bar off -c "$here/constraints.txt" "${wheel}[qt]" </dev/null
"$bin/python" -m pip check
"$bin/npe2" validate napari-afunet
"$bin/afunet" --version
"$bin/afunet" info
QT_API=pyside6 sh "$here/tools/with-display.sh" "$bin/python" "$here/tools/demonstration.py" --headless results
"$bin/afunet" info results/merged.exr
echo "The wheel works where nothing else is installed."
