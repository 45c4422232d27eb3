#!/bin/sh
# Makes sure that the shared libraries Qt and OpenGL need are there (and Xvfb where there is no screen, or with --xvfb).
# As root on Debian or Ubuntu it installs what is missing; otherwise it prints the exact line to type and fails.
set -eu

libraries="libegl1 libgl1 libgl1-mesa-dri libglib2.0-0 libfontconfig1 libdbus-1-3 libxkbcommon-x11-0 libxcb-cursor0
  libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xkb1 fonts-dejavu-core"
xvfb="xvfb xauth"

[ "$(uname -s)" = Linux ] || exit 0
wanted=$libraries
if [ "${1:-}" = --xvfb ] || [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then wanted="$wanted $xvfb"; fi

if ! command -v dpkg-query >/dev/null 2>&1; then # another distribution: only the tool we call ourselves can be checked
  case $wanted in *xvfb*)
    command -v xvfb-run >/dev/null 2>&1 || { echo "xvfb-run was not found: install your distribution's Xvfb package." >&2; exit 1; } ;;
  esac
  exit 0
fi

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
missing=""
for package in $wanted; do # Ubuntu 24.04 renamed some packages to …t64
  installed "$package" || installed "${package}t64" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  echo "Installing system packages:$missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq </dev/null
  # shellcheck disable=SC2086 # the list is meant to split into words
  apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null
else
  echo "System packages are missing. Please run this line, then try again:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
  exit 1
fi
