//! What every store promises, shown for each backend.

#![allow(clippy::unwrap_used)] // The lint knows test functions, not the functions that they share.

mod conformance;
mod directory;
mod fixture;
#[cfg(unix)]
mod full;
mod kill;
mod packs;
mod sealed;
mod workload;
mod writer;
