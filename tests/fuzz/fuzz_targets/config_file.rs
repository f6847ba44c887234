#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| s3flow::fuzzing::config_file(data));
