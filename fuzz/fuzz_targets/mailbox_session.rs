#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| clave_fuzz::targets::mailbox_session::run(data));
