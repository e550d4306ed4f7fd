//! The root module of `selfdock`, the set-uid program. All its code is in the library.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod start;

use selfdock::panicked;

fn program(start: &selfdock::Start) -> ! {
    selfdock::launch_main(start)
}
