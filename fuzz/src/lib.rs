//! Hostile input for whatever Clave reads from a peer, a link, a file or its disk.
//!
//! A target is a function over bytes that must come back: it may refuse them, but not panic, hang, or accept what
//! nobody made. [`TARGETS`] lists them. The same functions are run in two ways: by [`smoke`] on the stable toolchain,
//! over each target's own seeds, its corpus and seeded mutations of both, which is what CI does; and by libFuzzer,
//! guided by coverage, through the wrappers in `fuzz_targets/`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod mutate;
mod smoke;
pub mod targets;

pub use mutate::Mutator;
pub use smoke::{Finding, INPUT_TIME_MAX, Report, smoke};

/// One thing that reads bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: that of its module, its corpus and its libFuzzer binary.
    pub name: &'static str,
    /// Reads the bytes; panics if they are handled wrongly.
    pub run: fn(&[u8]),
    /// Sound inputs, made by the code under test itself, so that they follow its formats.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        &[$(Target { name: stringify!($name), run: targets::$name::run, seeds: targets::$name::seeds }),*]
    };
}

/// Every target. One that is added here wants a wrapper in `fuzz_targets/` and a `[[bin]]` in `Cargo.toml`.
pub const TARGETS: &[Target] = targets![
    document_change,
    document_snapshot,
    engine_frames,
    entry,
    ics,
    link,
    mailbox_frames,
    mailbox_session,
    markdown,
    noise,
    operation,
    sealed,
    transport_frames,
    vault_record,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_target_has_its_wrapper_and_its_binary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let wrappers: BTreeSet<_> = std::fs::read_dir(root.join("fuzz_targets"))
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        assert_eq!(wrappers, names);
        for name in names {
            let wrapper = std::fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(wrapper.contains(&format!("targets::{name}::run(")), "{name}'s wrapper runs another target");
            assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
        }
    }

    #[test]
    fn every_target_takes_its_own_seeds() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            seeds.iter().for_each(|seed| (target.run)(seed));
            assert_eq!(seeds, (target.seeds)(), "{}'s seeds differ from run to run", target.name);
        }
    }
}
