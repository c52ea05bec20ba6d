//! Being woken, and how far messages come, in words.

use super::*;
use crate::reply::State;

pub(super) fn push(push: &reply::Push) -> Vec<String> {
    let mut words = vec![match (push.has_endpoint, push.woken_ms) {
        (false, _) => "Nobody wakes this device: `clave push set` says where to.".to_owned(),
        (true, None) => "Relays wake this device when it is away; no push has arrived so far.".to_owned(),
        (true, Some(at)) => format!("Relays wake this device when it is away; the last push arrived {}.", moment(at)),
    }];
    for relay in &push.relays {
        words.push(format!("  {}", line(&relay.address)));
        words.push(match (relay.registered, relay.mailboxes) {
            (false, _) => "     was not asked yet, or does not wake this device".to_owned(),
            (true, 0) => "     wakes this device".to_owned(),
            (true, 1) => "     wakes this device for 1 mailbox".to_owned(),
            (true, count) => format!("     wakes this device for {count} mailboxes"),
        });
        words.extend(relay.accepted_ms.map(|at| format!("     the push server last took a push {}", moment(at))));
        words.extend(relay.refused_ms.map(|at| {
            let why = relay.status.map_or("was not reached".to_owned(), |status| format!("said {status}"));
            format!("     the push server last refused one {}: it {why}", moment(at))
        }));
        words.extend(relay.error.iter().map(|error| format!("     {error}")));
        words.extend(relay.server_key.iter().map(|key| format!("     server key {}", line(key))));
    }
    for muted in &push.muted {
        let circle = muted.circle.as_deref().unwrap_or("everybody");
        words.push(format!("Muted: {} of “{}”", line(circle), line(&muted.space)));
    }
    words
}

/// A mark for how far a message has come.
pub(super) fn mark(state: &State) -> String {
    match state {
        State::Queued => "…".to_owned(),
        State::Relayed => "✓".to_owned(),
        State::Delivered { everybody: true, people: 1.., .. } => "✓✓".to_owned(),
        State::Delivered { devices, .. } => format!("✓{devices}"),
        State::Failed { .. } => "!".to_owned(),
    }
}
