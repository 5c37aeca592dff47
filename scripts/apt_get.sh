#!/bin/sh
# Runs apt-get, and waits as long as another process holds the package manager: apt_get.sh LOGFILE install -y ...
#
# A machine that has just started is often updating itself. apt can wait for one of its locks (DPkg::Lock::Timeout), not
# for those of lists and archives; so it is asked again. What it says goes to the end of LOGFILE.
set -eu
log=$1
shift
waits_seconds=${APT_WAIT_SECONDS:-900}
pause_seconds=${APT_PAUSE_SECONDS:-2}
# The messages are looked at.
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
mkdir -p "$(dirname "$log")"
waited_seconds=0
has_said_so=""
while :; do
    status=0
    apt-get "$@" >"$log.new" 2>&1 </dev/null || status=$?
    cat "$log.new" >>"$log"
    held=$(grep -E -m 1 'Could not get lock|is another process using it|locked by another process' "$log.new" || true)
    rm -f "$log.new"
    if [ "$status" = 0 ] || [ -z "$held" ]; then
        exit "$status"
    fi
    if [ -z "$has_said_so" ]; then
        echo "waiting for the package manager, up to $waits_seconds s: ${held#E: }" >&2
        has_said_so=yes
    fi
    if [ "$waited_seconds" -ge "$waits_seconds" ]; then
        echo "gave up waiting for the package manager: ${held#E: }" >&2
        exit "$status"
    fi
    sleep "$pause_seconds"
    waited_seconds=$((waited_seconds + pause_seconds))
done
