//! The program: see the library.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    clave_relay::run()
}
