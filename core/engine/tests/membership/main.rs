//! The rules of `docs/validation.md` that concern the membership log, one named test each, and its properties.

mod audit;
mod graphs;
mod harness;
mod log;
mod oracle;
mod owners;
mod recovery;
mod rules;
mod scale;
mod stays;
