//! What every store promises, shown for each backend.

mod conformance;
mod directory;
mod fixture;
mod kill;
mod sealed;
mod writer;
