#!/bin/bash
# Compiles ahead what ci/test.sh needs, as cargo xtask does it. What fails here fails there again, and is told there.
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
for manifest in Cargo.toml xtask/Cargo.toml; do
    cargo clippy --quiet --locked --workspace --all-targets --manifest-path "$manifest" -- -D warnings
done
cargo build --release --locked --bins --target-dir target
CARGO_ENCODED_RUSTFLAGS=-Ctarget-feature=+crt-static \
    cargo test --no-run --locked --manifest-path tests/Cargo.toml --target "$host"
