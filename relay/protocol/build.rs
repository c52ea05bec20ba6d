//! Compiles `proto/mailbox.proto` with `protox`, so that nobody needs `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut config = prost_build::Config::new();
    config.bytes(["."]).compile_fds(protox::compile(["proto/mailbox.proto"], ["proto"])?)?;
    Ok(())
}
