//! Policies: what a circle has settled about itself, as text in the log and as types here.
//!
//! A policy is a key and a value. Keys that this version knows have a type, a default and one way to be written;
//! whatever else their value is, is not well formed, so that the operation is set aside and the old value stays.
//! Keys that it does not know are kept as they are.

use std::fmt;
use std::str::FromStr;

use super::action::Action;
use super::relay::{RELAYS_MAX, RelayAddress};
use crate::OperationId;

/// The policy that lets members invite: `true`, the default, or `false`.
pub const MEMBERS_MAY_INVITE: &str = "members_may_invite";
/// The policy of what newcomers can read and how long anything can be read: a [`History`], `full` by default.
pub const HISTORY: &str = "history";
/// The policy of a space of the default suite that each device publishes what it takes to be added to a post-quantum
/// circle of that space: `true`, or `false`, the default.
pub const POST_QUANTUM_CIRCLES: &str = "post_quantum_circles";
/// Before the number of a relay, from 1 to [`RELAYS_MAX`], in the policies of a space that name its relays: each a
/// [`RelayAddress`], or nothing.
pub const RELAY: &str = "relay.";
/// The shortest that [`History::Ratcheted`] can state: entries say in which hour they were made, and no more.
pub const RATCHET_SECONDS_MIN: u64 = 60 * 60;
/// The longest that [`History::Ratcheted`] can state: ten years.
pub const RATCHET_SECONDS_MAX: u64 = 10 * 365 * 24 * 60 * 60;

/// What of a circle's past its members can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum History {
    /// All of it, whenever they came. Written `full`.
    #[default]
    Full,
    /// What was written since they came. Written `since_joining`.
    SinceJoining,
    /// What was written since they came and not longer ago than this: keys are erased then. Written `ratcheted:86400`.
    Ratcheted {
        /// How long, from [`RATCHET_SECONDS_MIN`] to [`RATCHET_SECONDS_MAX`].
        seconds: u64,
    },
}

/// A policy of a key that this version knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Of the key [`MEMBERS_MAY_INVITE`].
    MembersMayInvite(bool),
    /// Of the key [`HISTORY`].
    History(History),
    /// Of the key [`POST_QUANTUM_CIRCLES`].
    PostQuantumCircles(bool),
    /// Of a key that begins with [`RELAY`].
    Relay {
        /// Which of them, from 1 to [`RELAYS_MAX`].
        number: u8,
        /// Where it is; none: no more.
        address: Option<RelayAddress>,
    },
}

/// A value that the policy cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPolicy {
    /// Of [`MEMBERS_MAY_INVITE`].
    #[error("{MEMBERS_MAY_INVITE} is either true or false")]
    MembersMayInvite,
    /// Of [`POST_QUANTUM_CIRCLES`].
    #[error("{POST_QUANTUM_CIRCLES} is either true or false")]
    PostQuantumCircles,
    /// Of a key that begins with [`RELAY`].
    #[error(
        "{RELAY}1 to {RELAY}{RELAYS_MAX} are the addresses of relays, each a multiaddr that ends in /p2p/ and the relay's PeerId, \
         as the relay prints it; or empty"
    )]
    Relay,
    /// Of [`HISTORY`].
    #[error(
        "{HISTORY} is full, since_joining, or ratcheted: and how many seconds, like ratcheted:86400 for a day; at least \
         {RATCHET_SECONDS_MIN}, an hour, since entries say only in which hour they were made"
    )]
    History,
}

impl Policy {
    /// Reads a policy; `None` if this version does not know the key.
    ///
    /// # Errors
    /// If the policy cannot have that value.
    pub fn parse(key: &str, value: &str) -> Result<Option<Self>, BadPolicy> {
        Ok(Some(match key {
            MEMBERS_MAY_INVITE => Self::MembersMayInvite(value.parse().map_err(|_| BadPolicy::MembersMayInvite)?),
            HISTORY => Self::History(value.parse()?),
            POST_QUANTUM_CIRCLES => Self::PostQuantumCircles(value.parse().map_err(|_| BadPolicy::PostQuantumCircles)?),
            _ => match key.strip_prefix(RELAY).and_then(relay_number) {
                Some(number) if value.is_empty() => Self::Relay { number, address: None },
                Some(number) => Self::Relay { number, address: Some(value.parse()?) },
                None => return Ok(None),
            },
        }))
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::MembersMayInvite(_) => MEMBERS_MAY_INVITE.to_owned(),
            Self::History(_) => HISTORY.to_owned(),
            Self::PostQuantumCircles(_) => POST_QUANTUM_CIRCLES.to_owned(),
            Self::Relay { number, .. } => format!("{RELAY}{number}"),
        }
    }

    /// Its value, as it is written.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::MembersMayInvite(yes) | Self::PostQuantumCircles(yes) => yes.to_string(),
            Self::History(history) => history.to_string(),
            Self::Relay { address, .. } => address.as_ref().map_or_else(String::new, ToString::to_string),
        }
    }

    /// The action that sets it. `keep_heads` counts if it takes a right away.
    #[must_use]
    pub fn into_action(self, keep_heads: Vec<OperationId>) -> Action {
        Action::SetPolicy { key: self.key(), value: self.value(), keep_heads }
    }
}

fn relay_number(text: &str) -> Option<u8> {
    (1..=RELAYS_MAX).find(|number| number.to_string() == text)
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::SinceJoining => f.write_str("since_joining"),
            Self::Ratcheted { seconds } => write!(f, "ratcheted:{seconds}"),
        }
    }
}

impl FromStr for History {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        let history = match text.split_once(':') {
            None if text == "full" => Self::Full,
            None if text == "since_joining" => Self::SinceJoining,
            Some(("ratcheted", seconds)) => {
                Self::Ratcheted { seconds: seconds.parse().map_err(|_| BadPolicy::History)? }
            }
            _ => return Err(BadPolicy::History),
        };
        let sensible = !matches!(history, Self::Ratcheted { seconds } if !(RATCHET_SECONDS_MIN..=RATCHET_SECONDS_MAX).contains(&seconds));
        // One way to write it: no sign and no leading zeros.
        if sensible && history.to_string() == text { Ok(history) } else { Err(BadPolicy::History) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_policy_has_one_way_to_be_written() {
        for (policy, value) in [
            (Policy::MembersMayInvite(true), "true"),
            (Policy::MembersMayInvite(false), "false"),
            (Policy::PostQuantumCircles(true), "true"),
            (Policy::PostQuantumCircles(false), "false"),
            (Policy::History(History::Full), "full"),
            (Policy::History(History::SinceJoining), "since_joining"),
            (Policy::History(History::Ratcheted { seconds: 86_400 }), "ratcheted:86400"),
            (Policy::History(History::Ratcheted { seconds: RATCHET_SECONDS_MIN }), "ratcheted:3600"),
            (Policy::History(History::Ratcheted { seconds: RATCHET_SECONDS_MAX }), "ratcheted:315360000"),
        ] {
            assert_eq!(policy.value(), value);
            assert_eq!(Policy::parse(&policy.key(), value), Ok(Some(policy)));
        }
        for value in ["", "True", "0", "no", "false "] {
            assert_eq!(Policy::parse(MEMBERS_MAY_INVITE, value), Err(BadPolicy::MembersMayInvite));
            assert_eq!(Policy::parse(POST_QUANTUM_CIRCLES, value), Err(BadPolicy::PostQuantumCircles));
        }
        for value in [
            "",
            "Full",
            "none",
            "full:1",
            "ratcheted",
            "ratcheted:",
            "ratcheted:0",
            "ratcheted:3599",
            "ratcheted:+5000",
            "ratcheted:05000",
            "ratcheted: 5000",
            "ratcheted:315360001",
            "ratcheted:99999999999999999999",
        ] {
            assert_eq!(Policy::parse(HISTORY, value), Err(BadPolicy::History), "{value}");
        }
        assert_eq!(Policy::parse("of a newer version", "anything"), Ok(None));
        let none = |number| Policy::Relay { number, address: None };
        assert_eq!(Policy::parse("relay.4", ""), Ok(Some(none(4))));
        assert_eq!(none(4).key(), "relay.4");
        assert_eq!(Policy::parse("relay.1", "somewhere"), Err(BadPolicy::Relay));
        for key in ["relay.0", "relay.5", "relay.01", "relay."] {
            assert_eq!(Policy::parse(key, "somewhere"), Ok(None), "{key}");
        }
    }
}
