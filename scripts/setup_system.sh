#!/bin/sh
# Finds what the machine lacks for `build`, `check`, `test`, `bench` or `fuzz`; as root installs it, else names the packages.
#
# It prints the Python interpreter that .venv is to be made with.
set -eu
cd "$(dirname "$0")/.."
purpose=${1:-build}
missing=""

need() { case " $missing " in *" $1 "*) ;; *) missing="$missing $1" ;; esac; }

# A Debian interpreter first: a daemon that drops root cannot read one below /root.
choose_python() {
    python=""
    first_lack=""
    for candidate in ${PYTHON:-/usr/bin/python3.11 python3.11 python3}; do
        path=$(command -v "$candidate") || continue
        lack=$("$path" - <<'PROBE' || echo unfit
import os, sys, sysconfig
if sys.version_info < (3, 11):
    sys.exit(1)
name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
try:
    import ensurepip, venv
except ImportError:
    print(f"{name}-venv")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print(f"{name}-dev")
PROBE
        )
        [ "$lack" = unfit ] && continue
        if [ -z "$lack" ]; then
            python=$path
            return
        fi
        [ -n "$python" ] || { python=$path; first_lack=$lack; }
    done
    for package in ${first_lack:-}; do need "$package"; done
    [ -n "$python" ] || { need python3; need python3-venv; need python3-dev; }
}

# Its name has clang's version in it, which is not known before clang is there.
need_clang_runtime() {
    command -v clang >/dev/null && need "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
    return 0
}

has_header() { printf '#include <%s>\n' "$1" | gcc -E -x c - >/dev/null 2>&1; }

look() {
    missing=""
    command -v gcc >/dev/null || { need gcc; need libc6-dev; }
    command -v make >/dev/null || need make
    while read -r header package flags; do
        case $header in '' | '#'*) continue ;; esac
        has_header "$header" || need "$package"
    done <csrc/LIBRARIES
    choose_python
    case $purpose in
    test | bench)
        # With .venv/bin on the path, the one found there is pymc.
        PATH=/usr/bin:/usr/local/bin:$PATH memcached -V 2>/dev/null | grep -qv pymc || need memcached
        command -v memccapable >/dev/null || need libmemcached-tools
        # The client whose view of handshakes tests ask for.
        command -v openssl >/dev/null || need openssl
        # Lets a test move the clock of a memcached, instead of waiting for an expiry.
        ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || need libfaketime
        # memcached-tool loads the one and asks the other for the number of TCP.
        perl -MURI::Escape -e 1 2>/dev/null || need liburi-perl
        [ -e /etc/protocols ] || need netbase
        ;;
    check)
        # Its headers of C come with it; those of libraries are the machine's own.
        command -v aarch64-linux-gnu-gcc >/dev/null || { need gcc-aarch64-linux-gnu; need libc6-dev-arm64-cross; }
        ;;
    fuzz)
        command -v clang >/dev/null || need clang
        printf 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }\n' |
            clang -x c -fsanitize=fuzzer - -o /dev/null 2>/dev/null || need_clang_runtime
        ;;
    esac
}

# shellcheck disable=SC2086
apt_install() { scripts/apt_get.sh build/apt.log install -y -qq --no-install-recommends $missing; }

# Debian starts a daemon as soon as its package is installed; memcached would take port 11211.
install() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    mkdir -p build
    : >build/apt.log
    # The lists may be missing or too old to find the packages; only then is an update worth its time.
    apt_install || {
        { scripts/apt_get.sh build/apt.log update -qq && apt_install; } || { tail -n 20 build/apt.log >&2; exit 1; }
    }
    case $missing in *memcached*) systemctl disable -q memcached 2>/dev/null || true ;; esac
}

look
rounds=2
while [ -n "$missing" ] && [ "$rounds" -gt 0 ]; do
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "These packages are missing; install them and try again:" >&2
        echo "    apt-get install$missing" >&2
        exit 1
    fi
    echo "installing$missing" >&2
    install </dev/null
    look
    rounds=$((rounds - 1))
done
[ -z "$missing" ] || { echo "still missing after the installation:$missing" >&2; exit 1; }
echo "$python"
