#!/bin/bash
# All that decides whether a change may land. Run ci/setup.sh before.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo xtask check
# The isolation properties: one without a passing test fails.
cargo xtask install-test --report "${REPORT:-target/properties.json}"
# System calls, mounts and page faults of an instance: counts, which do not depend on the machine's mood.
cargo xtask bench --gate
