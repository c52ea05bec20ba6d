#!/usr/bin/env bash
# Runs a command with Swift 6: with the one that is installed, or else with Debian's, which is fetched the first time
# (0.6 GB, 2.6 GB unpacked, in the cache, outside the repository):
#
#     scripts/swift-toolchain.sh swift build
#
# Debian 13 has Swift, and a libc that is newer than that of many machines. So its packages are unpacked into a folder, and
# the command runs in there (unshare, chroot): with this repository, the target directory and /tmp where they are outside.
# Where user namespaces are forbidden this needs root.
set -euo pipefail

say() { echo "swift-toolchain: $*" >&2; }

if command -v swift > /dev/null && swift --version 2> /dev/null | grep -q 'Swift version [6-9]'; then
    exec "$@"
fi
repository=$(realpath "$(dirname "$0")/..")
target=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")
home="${XDG_CACHE_HOME:-$HOME/.cache}/clave/swift-trixie"
root="$home/root"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fetch() {
    command -v apt-get > /dev/null && [ -f "$keyring" ] || { say "no Swift, and no apt to fetch it: install Swift 6"; exit 1; }
    local apt part
    apt=$(mktemp -d) part="$root.part"
    mkdir -p "$apt"/{state,lists/partial,archives/partial,etc}
    touch "$apt/state/status"
    echo "deb [signed-by=$keyring] http://deb.debian.org/debian trixie main" > "$apt/etc/sources.list"
    cat > "$apt/apt.conf" <<CONFIG
Dir::State "$apt/state";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/state/status";
Dir::Cache::archives "$apt/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "$apt/etc/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Sandbox::User "$(id -un)";
CONFIG
    say "fetching Swift from Debian 13 with apt-get (0.6 GB)"
    (
        export APT_CONFIG="$apt/apt.conf"
        apt-get -qq update
        apt-get -qq install --yes --download-only --no-install-recommends \
            swiftlang libc6-dev libstdc++-14-dev bash coreutils git tzdata
    ) >&2
    rm -rf "$part"
    mkdir -p "$part"/{usr/bin,usr/sbin,usr/lib,usr/lib64,dev,proc,tmp,root}
    for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$part/$folder"; done
    for package in "$apt"/archives/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C "$part" --no-same-owner --keep-directory-symlink; done
    mv "$part" "$root"
    rm -rf "$apt"
}

[ -d "$root" ] || fetch

export REPOSITORY=$repository TARGET=$target
mkdir -p "$target"
unshare=(unshare --mount --propagation private)
[ "$(id -u)" = 0 ] || unshare+=(--user --map-root-user)
# shellcheck disable=SC2016 # for the shell inside
exec "${unshare[@]}" bash -euo pipefail -c '
    root=$1 here=$2
    shift 2
    for path in /dev /proc /tmp "$REPOSITORY" "$TARGET"; do
        mkdir -p "$root$path"
        mount --rbind "$path" "$root$path"
    done
    exec chroot "$root" /usr/bin/env -C "$here" PATH=/usr/libexec/swift/bin:/usr/bin:/usr/sbin HOME=/root "$@"
' swift-toolchain "$root" "$PWD" "$@"
