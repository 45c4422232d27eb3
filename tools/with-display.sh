#!/bin/sh
# Runs a command on the screen there is, or on a virtual one; with --virtual as the first word, always on a virtual one.
set -eu
virtual=no
if [ "$1" = --virtual ]; then virtual=yes; shift; fi
[ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || virtual=yes
if [ "$virtual" = no ] || [ "$(uname -s)" != Linux ]; then exec "$@"; fi
unset WAYLAND_DISPLAY
export QT_QPA_PLATFORM=xcb LIBGL_ALWAYS_SOFTWARE=1
exec xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" "$@"
