//! `selfdock`, the set-uid program: its root. All of it is in the library.
#![no_std]
#![no_main]

mod start;

fn program(start: &selfdock::sys::Start) -> ! {
    selfdock::launch::main(start)
}
