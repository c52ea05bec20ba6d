#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| clave_fuzz::targets::engine_frames::run(data));
