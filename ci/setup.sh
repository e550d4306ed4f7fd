#!/bin/bash
# Installs what the checks and the suite need besides the Rust toolchain, on Debian or a derivative.
set -euo pipefail

packages=(
    btrfs-progs squashfs-tools # disks for root filesystems
    busybox-static # a root filesystem
    g++ gcc libc6-dev # the fuzzer's; static helpers, and a real program to build in an instance
    git less python3 # real programs
    fakechroot fakeroot  # with mmdebstrap, for the root filesystems of docs/recipes.md
    libcap2-bin    # setcap, for files with capabilities
    man-db mandoc  # to check the man page
    mmdebstrap     # a Debian root filesystem
    musl-tools umoci # root filesystems of other kinds
    passt uidmap   # a network, and subordinate ids
    procps util-linux strace
    qemu-system-x86 # other kernels
    zsh fish       # to check that the completions load
    xvfb x11-utils # a display for a recipe
)
# Programs of docs/recipes.md with their packages. They may be installed in another way already.
declare -A programs=(
    [curl]=curl [dbus-send]=dbus [go]=golang-go [make]=make
    [mvn]=maven [npm]=npm [psql]=postgresql [ssh-agent]=openssh-client
)

sudo=()
if [ "$(id -u)" -ne 0 ]; then
    sudo=(sudo)
    if ! sudo -v; then
        echo "$0: root installs packages: run this as root, or as a user who may use sudo" >&2
        exit 1
    fi
fi
export DEBIAN_FRONTEND=noninteractive

try() {
    for pause in 2 5 15; do
        "$@" && return
        sleep "$pause"
    done
    "$@"
}

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
for program in "${!programs[@]}"; do
    PATH=/usr/bin:/bin type "$program" >/dev/null 2>&1 || missing+=("${programs[$program]}")
done
# A mirror that does not answer may be silent for 20 s.
apt=(apt-get -q -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=2)
if [ "${#missing[@]}" -gt 0 ]; then
    try "${sudo[@]}" "${apt[@]}" update
    try "${sudo[@]}" "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
fi
