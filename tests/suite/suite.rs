//! The test suite, which runs against the installed program: one module for each property. `cargo xtask install-test`
//! prepares and runs it.
//!
//! `properties.rs`, which xtask also reads, has the promise of each property. `P1` and the like in the comment of a
//! test name the entry of docs/mistakes.md that the test answers.
#![forbid(unsafe_code)]

mod support;

mod any_image;
mod build;
mod contained;
mod devices;
mod each;
mod entering;
mod environment;
mod errors;
mod exit_status;
mod explaining;
mod failing_calls;
mod fake_root;
mod faults;
mod first_process;
mod handing_over;
mod help;
mod hidden_files;
mod host_image;
mod identity;
mod inherited_state;
mod ipc;
mod layers;
mod limits;
mod listing;
mod model;
mod mount_points;
mod nesting_is_monotone;
mod network;
mod nothing_left;
mod one_life;
mod overlays;
mod processes;
mod profiles;
mod proxy;
mod races;
mod read_only_root;
mod real_programs;
mod recipes;
mod restricted_callers;
mod root_as_caller;
mod set_uid_inert;
mod short_forms;
mod spawn_rate;
mod terminal;
mod unprivileged_mode;
mod user_network;
mod volumes;
mod whole_instance;
