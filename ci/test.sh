#!/bin/bash
# Everything that decides whether a change may land. Run ci/setup.sh first.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo xtask check
# The isolation properties. A property without a passing test fails.
cargo xtask install-test --report "${REPORT:-target/properties.json}"
# What many instances leave. The suite has the short forms of the other kinds.
cargo xtask torture load --spawns 3000 --alive 500
# The oldest supported kernel, in a guest without acceleration, which uses one CPU: meanwhile the rest runs on the
# other. `cargo xtask kernels` has the other kernels, and boots each also from its initramfs.
guest=
if grep -q '^ID=debian' /etc/os-release; then
    cargo xtask kernels --kernel 6.1 --root mounted > target/guest.log 2>&1 &
    guest=$!
    trap 'kill "$guest" 2> /dev/null' EXIT
else
    echo "ci/test.sh: other kernels are NOT tried here: they are Debian's, of which apt on this system has no mirror"
fi
# Exact counts of an instance, which do not depend on the load: system calls, mounts and page faults.
cargo xtask bench --gate
# Removes two protections, one at a time, whose loss no test noticed once: one of these tests must fail.
# `cargo xtask mutants` removes all, and runs all tests.
killers='identity::capabilities_are_given_up_step_by_step root_as_caller::root_has_a_copy_to_write_to'
killers="$killers faults::rights_that_root_only_seems_to_lose_are_detected"
cargo xtask mutants --again --by "$killers" --file creds \
    --name 'Privileged::relinquish: without `verify_ids' \
    --name 'Privileged::relinquish: `secure_bits()? != wanted` is `false`'
if [ -n "$guest" ]; then
    trap - EXIT
    passed=0
    wait "$guest" || passed=$?
    cat target/guest.log
    exit "$passed"
fi
