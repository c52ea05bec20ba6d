//! The rules of `docs/validation.md` that concern the membership log, one named test each, and its properties.

mod audit;
mod graphs;
mod harness;
mod log;
#[path = "../../../sim/src/oracle.rs"]
mod oracle;
mod owners;
mod recovery;
mod rules;
mod scale;
mod stays;
