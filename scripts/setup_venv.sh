#!/bin/sh
# Makes .venv and installs what pyproject.toml asks for: `runtime`, or `dev` for the tests and checks as well.
set -eu
purpose=${1:-runtime}
cd "$(dirname "$0")/.."
mkdir -p build
# Two makes at once must not fill one .venv.
exec 9>build/setup.lock
flock 9
stamp=.venv/ready-$purpose
[ "$stamp" -nt pyproject.toml ] && exit 0
python=$(scripts/setup_system.sh build)
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    echo "making .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv
fi
what=.
[ "$purpose" = dev ] && what='.[dev]'
echo "installing what pyproject.toml asks for ($purpose) into .venv"
# The core is make's to build, in the variant that is wanted.
PYMC_BUILD=none .venv/bin/python -m pip install -q --disable-pip-version-check --no-input -e "$what" </dev/null
# pip has put a script in the place of the program pymc.
.venv/bin/python csrc/build_launcher.py
touch "$stamp"
[ "$purpose" = dev ] && touch .venv/ready-runtime
exit 0
