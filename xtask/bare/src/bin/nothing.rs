//! The smallest program: its cost is the cost of starting a program.
#![no_std]
#![no_main]

bare::start!(main);

fn main(_: &bare::Start) -> ! {
    bare::exit(0)
}
