#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| clave_fuzz::targets::operation::run(data));
