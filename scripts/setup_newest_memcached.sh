#!/bin/sh
# Puts Debian 13's memcached (1.6.38) with its own libc under .peers/ and prints the path of a script that starts it.
#
# It is the newest memcached that Debian ships: the oracle of the tests and the peer of the benchmarks. Nothing is
# installed and nothing is built; apt checks Debian's signatures as for any package. Root is not needed.
set -eu
cd "$(dirname "$0")/.."
peer=$PWD/.peers/memcached-debian13
start=$peer/memcached
[ -x "$start" ] && { echo "$start"; exit 0; }
command -v apt-get >/dev/null || { echo "no apt-get here: no newest memcached" >&2; exit 1; }
mkdir -p "$peer"
exec 9>"$peer/lock"
flock 9
[ -x "$start" ] && { echo "$start"; exit 0; }

mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { print $3; exit }')
[ -n "$mirror" ] || { echo "apt knows no Debian mirror here: no newest memcached" >&2; exit 1; }
apt=$peer/apt
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/debs"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/sources.list"

quiet_apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt" -o Debug::NoLocking=true \
        -o APT::Sandbox::User="$(id -un)" "$@" >&2 </dev/null
}
quiet_apt update
(cd "$apt/debs" && quiet_apt download memcached/trixie libc6/trixie libevent-2.1-7t64/trixie libsasl2-2/trixie \
    libssl3t64/trixie libdb5.3t64/trixie zlib1g/trixie libzstd1/trixie)
for package in "$apt"/debs/*.deb; do dpkg-deb -x "$package" "$peer/root"; done
rm -rf "$apt"

libraries=$(dirname "$(find "$peer/root/usr/lib" -name libc.so.6 | head -n 1)")
loader=$(find "$libraries" -name 'ld-linux*.so.*' | head -n 1)
cat >"$start.new" <<START
#!/bin/sh
# Starts Debian 13's memcached with the libraries it was built with.
exec '$loader' --library-path '$libraries' '$peer/root/usr/bin/memcached' "\$@"
START
chmod +x "$start.new"
"$start.new" -V >&2
mv "$start.new" "$start"
echo "$start"
