#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| selfdock::subjects::status::check(data));
