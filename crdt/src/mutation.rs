//! Rules of documents that can be switched off, to show that something notices: see `clave_engine::mutation`.

/// What somebody in standing builds on is vouched for.
pub(crate) const VOUCHING: &str = "vouching";
/// Of two changes of one author in one place all show the same.
pub(crate) const ONE_HISTORY: &str = "one-history";
/// Nobody writes as an actor a change of which waits.
pub(crate) const SUCCESSOR: &str = "successor";

/// The rules, each with its number in `docs/validation.md` and what it says.
#[cfg(feature = "mutations")]
pub const ALL: [(&str, &str, &str); 3] = [
    (VOUCHING, "D2", "What somebody in standing builds on is vouched for."),
    (ONE_HISTORY, "D5", "Of two changes of one author in one place all show the same, and not what came first."),
    (SUCCESSOR, "D6", "Nobody writes as an actor a change of which waits, but as its successor."),
];

/// Whether a rule is switched off.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub(crate) const fn off(_: &str) -> bool {
    false
}

/// Whether a rule is switched off.
#[cfg(feature = "mutations")]
#[expect(clippy::disallowed_methods, reason = "a build for the simulator alone, one process for each rule")]
pub(crate) fn off(rule: &str) -> bool {
    static OFF: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    OFF.get_or_init(|| std::env::var("CLAVE_MUTATION").unwrap_or_default()) == rule
}

/// Whether there is a rule of that name here.
#[cfg(feature = "mutations")]
#[must_use]
pub fn names(rule: &str) -> bool {
    ALL.iter().any(|(name, ..)| *name == rule)
}
