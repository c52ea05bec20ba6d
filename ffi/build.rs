//! Notes the commit that the library is built from.

use std::process::Command;

fn main() {
    let described =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]).output();
    let hash = described.ok().filter(|output| output.status.success());
    let hash = hash.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let hash = if hash.trim().is_empty() { "unknown" } else { hash.trim() };
    println!("cargo::rustc-env=CLAVE_GIT_HASH={hash}");
    println!("cargo::rerun-if-changed=src");
    for path in ["HEAD", "index"] {
        let path = Command::new("git").args(["rev-parse", "--git-path", path]).output();
        if let Some(path) = path.ok().and_then(|output| String::from_utf8(output.stdout).ok()) {
            println!("cargo::rerun-if-changed={}", path.trim());
        }
    }
}
