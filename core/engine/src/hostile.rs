//! What a stranger, a member and a former member can throw at an engine, by hand and by chance.
//!
//! Beside the code and not in `tests/`, because whoever forges an entry needs the keys that sealed it. The rules that
//! these tests hold are numbered in `docs/validation.md`.

mod audits;
mod branches;
mod bundles;
mod chunks;
mod direct;
mod entries;
mod expiry;
mod farewells;
mod frames;
mod history;
mod indexes;
mod joins;
mod keys;
mod letters;
mod linking;
mod links;
mod members;
mod presence;
mod reads;
mod recoveries;
mod relays;
mod retention;
mod rig;
mod suites;
mod waking;
