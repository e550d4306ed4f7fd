//! `selfdock-about`, which says what there is to say and holds no privilege: its root. All of
//! it is in the library.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod start;

fn program(start: &selfdock::sys::Start) -> ! {
    selfdock::about_main(start)
}
