#!/bin/bash
# All that decides whether a change may land. Run ci/setup.sh before.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo xtask check
# The isolation properties: one without a passing test fails.
cargo xtask install-test --report "${REPORT:-target/properties.json}"
# System calls, mounts and page faults of an instance: counts, which do not depend on the machine's mood.
cargo xtask bench --gate
# The oldest kernel that is promised, and the first that keeps signals inside; the rest of the list is for people.
if grep -q '^ID=debian' /etc/os-release; then
    cargo xtask kernels --kernel 6.1 --kernel 6.12
else
    echo "ci/test.sh: other kernels are NOT tried here: they are Debian's, of which apt on this system has no mirror"
fi
# Four protections whose loss nothing noticed once, taken away one at a time; all are taken away on demand.
cargo xtask mutants --file creds --file mount --limit 4 \
    --name 'Privileged::relinquish: without `verify' \
    --name 'without `CapabilitiesSecureBits::NO_ROOT_LOCKED' \
    --name 'secure_bits()? != wanted` is `false`' \
    --name 'INERT: '
