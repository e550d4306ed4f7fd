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
    echo "ci/test.sh: no other kernels here: they are Debian's, and come from the mirror that apt is set up with"
fi
# A few of the protections that the last commit is about, taken away one at a time; all are taken away on demand.
if git rev-parse --quiet --verify HEAD~1 > /dev/null; then
    cargo xtask mutants --changed-since HEAD~1 --limit 4
else
    cargo xtask mutants --limit 4
fi
