//! The smallest program there is: whatever it costs to start it is the cost of starting.
#![no_std]
#![no_main]

bare::start!(main);

fn main(_: &bare::Start) -> ! {
    bare::exit(0)
}
