//! Runs the fuzz targets on the stable toolchain. See `USAGE`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clave_fuzz::{Finding, TARGETS, Target, smoke};

const USAGE: &str = "\
Usage: smoke [--seconds S] [--seed N] [--file FILE]... [--write-seeds] [TARGET]...

Gives each target (default: all) its seeds, the files in corpus/TARGET, and S seconds (default 5) of seeded mutations.
An input that is handled wrongly is kept in artifacts/TARGET; exit code 1. A fixed one belongs into corpus/TARGET and
into a named test beside the code that it broke.

  --file FILE     give the targets this input only
  --write-seeds   write the seeds to corpus/TARGET for libFuzzer to start from, and stop";

struct Options {
    seconds: u64,
    seed: u64,
    files: Vec<PathBuf>,
    write_seeds: bool,
    targets: Vec<&'static Target>,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { seconds: 5, seed: 1, files: Vec::new(), write_seeds: false, targets: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match argument.as_str() {
            "--seconds" => options.seconds = number(value()?)?,
            "--seed" => options.seed = number(value()?)?,
            "--file" => options.files.push(value()?.into()),
            "--write-seeds" => options.write_seeds = true,
            name => options
                .targets
                .push(TARGETS.iter().find(|target| target.name == name).ok_or(format!("there is no target {name}"))?),
        }
    }
    if options.targets.is_empty() {
        options.targets = TARGETS.iter().collect();
    }
    Ok(options)
}

fn read(paths: impl IntoIterator<Item = PathBuf>) -> std::io::Result<Vec<Vec<u8>>> {
    paths.into_iter().map(std::fs::read).collect()
}

fn corpus(target: &Target) -> std::io::Result<Vec<Vec<u8>>> {
    let folder = home().join("corpus").join(target.name);
    let mut paths = match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?,
        Err(_) => Vec::new(),
    };
    paths.sort();
    let mut inputs = (target.seeds)();
    inputs.extend(read(paths)?);
    Ok(inputs)
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn keep(folder: &str, target: &Target, name: &str, input: &[u8]) -> std::io::Result<PathBuf> {
    let folder = home().join(folder).join(target.name);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    std::fs::write(&path, input)?;
    Ok(path)
}

fn run(options: &Options) -> std::io::Result<bool> {
    let mut failed = 0;
    for target in &options.targets {
        if options.write_seeds {
            for (index, seed) in (target.seeds)().iter().enumerate() {
                println!("{}", keep("corpus", target, &format!("seed-{index}"), seed)?.display());
            }
            continue;
        }
        let (inputs, budget) = match options.files.as_slice() {
            [] => (corpus(target)?, Duration::from_secs(options.seconds)),
            files => (read(files.to_vec())?, Duration::ZERO),
        };
        match smoke(target, &inputs, options.seed, budget) {
            Ok(report) => {
                println!("ok      {:20} {:>8} inputs, slowest {:.1?}", target.name, report.inputs, report.slowest)
            }
            Err(Finding { input, reason }) => {
                failed += 1;
                let path = keep("artifacts", target, &format!("{:016x}", fingerprint(&input)), &input)?;
                println!("FAILED  {:20} {reason}", target.name);
                println!("        again: cd fuzz && cargo run -- --file {} {}", path.display(), target.name);
            }
        }
    }
    if !options.write_seeds {
        println!("{} passed, {failed} failed", options.targets.len() - failed);
    }
    Ok(failed == 0)
}

/// FNV-1a, to name a file.
fn fingerprint(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        Err(complaint) => {
            eprintln!("{complaint}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Ok(options) => {
            // One line a panic: where it was. The finding says what.
            std::panic::set_hook(Box::new(|panic| {
                eprintln!("        panic at {}", panic.location().map_or("?".to_owned(), ToString::to_string));
            }));
            outcome(run(&options))
        }
    }
}

fn outcome(clean: std::io::Result<bool>) -> ExitCode {
    match clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
