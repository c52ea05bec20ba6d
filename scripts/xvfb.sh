#!/usr/bin/env bash
# Runs a command on a screen that nobody looks at: scripts/xvfb.sh COMMAND…
# Xvfb and a Chinese font come from Debian, if they are not there yet and apt-get may install them.
set -euo pipefail
font=/usr/share/fonts/truetype/wqy/wqy-microhei.ttc
if ! command -v Xvfb > /dev/null || [ ! -f "$font" ]; then
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || { echo "xvfb: install xvfb and fonts-wqy-microhei" >&2; exit 1; }
    {
        echo "xvfb: installing xvfb and fonts-wqy-microhei with apt-get"
        export DEBIAN_FRONTEND=noninteractive
        install=(apt-get -qq install --yes --no-install-recommends xvfb fonts-wqy-microhei)
        "${install[@]}" || { apt-get -qq update && "${install[@]}"; }
    } >&2
fi
# It takes a free number itself, and says which once it can be used.
coproc SCREEN { exec Xvfb -displayfd 1 -screen 0 1600x1000x24 -nolisten tcp 2> /dev/null; }
screen=$SCREEN_PID
trap 'kill "$screen" 2> /dev/null || true' EXIT
read -r number <&"${SCREEN[0]}" || { echo "xvfb: it did not start" >&2; exit 1; }
DISPLAY=":$number" "$@"
