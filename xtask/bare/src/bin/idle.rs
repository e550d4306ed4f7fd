//! Writes one byte to its output when it runs, and waits for its end.
#![no_std]
#![no_main]

use bare::{Text, pause};

bare::start!(main);

fn main(_: &bare::Start) -> ! {
    Text::new().string(b".").write(1);
    pause()
}
