#!/bin/sh
# Fills two small file systems (a tmpfs, and an ext4 in a loop device) under a whole device, with each backend, again and
# again: nothing acknowledged is lost, the error says what to do, and with room it goes on. Needs root.
set -eu
cd "$(dirname "$0")/.."
cargo test -p clave --test full_disk --no-run
scratch=$(mktemp -d)
end() {
    umount "$scratch/disk" 2> /dev/null || true
    rm -rf "$scratch"
}
trap end EXIT
mkdir "$scratch/disk"
truncate -s 48M "$scratch/image"
for kind in tmpfs ext4; do
    case $kind in
        tmpfs) mount -t tmpfs -o size=48m none "$scratch/disk" ;;
        ext4) mkfs.ext4 -q -F -m 0 "$scratch/image" && mount -o loop "$scratch/image" "$scratch/disk" ;;
    esac || { echo "SKIPPED: disk-full: $kind, because it cannot be mounted here (root and loop devices)"; continue; }
    echo "$kind:"
    CLAVE_TEST_FULL_DISK="$scratch/disk" cargo test -q -p clave --test full_disk -- --test-threads=1
    umount "$scratch/disk"
done
