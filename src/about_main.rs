//! The root module of `selfdock-about`, the second program, which has no privilege. All its code is in the library.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod start;

use selfdock::about_panicked as panicked;

fn program(start: &selfdock::Start) -> ! {
    selfdock::about_main(start)
}
