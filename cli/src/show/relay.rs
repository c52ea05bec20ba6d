//! Relays, in words.

use super::*;

pub(super) fn relays(relays: &reply::Relays) -> Vec<String> {
    let space = line(&relays.space);
    if relays.relays.is_empty() {
        return vec![format!(
            "No relay keeps what is written in “{space}” for who is not online: `clave relay add` names one."
        )];
    }
    let mut words = vec![format!("Relays of “{space}”:")];
    for relay in &relays.relays {
        let state = if relay.connected { "connected" } else { "not connected" };
        let waiting = match relay.waiting {
            0 => "nothing waits to be stored there".to_owned(),
            1 => "1 thing waits to be stored there".to_owned(),
            count => format!("{count} things wait to be stored there"),
        };
        words.push(format!("  {}  {}  {state}, {waiting}", relay.number, line(&relay.address)));
        words.extend(relay.error.iter().map(|error| format!("     {error}")));
        if relay.needs_token {
            words.push(format!("     A token is given to this device by: clave relay token {} TOKEN", relay.number));
        }
    }
    words
}
