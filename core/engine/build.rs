//! Compiles every schema in `proto/` with `protox`, so that nobody needs `protoc`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut schemas: Vec<PathBuf> = std::fs::read_dir("proto")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .collect();
    schemas.sort();
    let mut config = prost_build::Config::new();
    // As large as nothing else is: it stays where it arrived.
    config.bytes([".clave.frame.v1.Chunk.sealed"]);
    config.compile_fds(protox::compile(&schemas, ["proto"])?)?;
    Ok(())
}
