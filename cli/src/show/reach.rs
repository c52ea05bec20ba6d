//! How this device is reached, and reaches others, in words.

use crate::reply::{Reachability, Reservation, Status, Way};
use crate::text::line;

/// How frames reach a peer.
pub(super) fn way(way: &Way) -> String {
    match way {
        Way::Direct => "directly".to_owned(),
        Way::HolePunched => "directly, through a hole in the NAT".to_owned(),
        Way::Relayed { relay } => format!("by the relay {}", host(relay)),
    }
}

/// Whether others can reach this device, and which relays help with that.
pub(super) fn reachable(status: &Status) -> Vec<String> {
    let mut words = Vec::new();
    match status.reachability {
        Reachability::Unknown => {}
        Reachability::Public => words.push("Others can reach this device from outside its network.".to_owned()),
        Reachability::Private => {
            words.push("From outside its network, others reach this device only with the help of a relay.".to_owned());
        }
    }
    words.extend(status.reservations.iter().map(relay));
    words
}

fn relay(relay: &Reservation) -> String {
    let state = if relay.reserved { "gives this device a place" } else { "gives no place now; it is asked again" };
    let by_person = relay.by_person.then(|| "by you".to_owned());
    let by_spaces = relay.by_spaces.iter().map(|space| format!("by “{}”", line(space)));
    let named: Vec<String> = by_person.into_iter().chain(by_spaces).collect();
    let named = if named.is_empty() { String::new() } else { format!(" (named {})", named.join(", ")) };
    format!("relay {}{named} {state}", host(&relay.address))
}

/// The host and the port of a multiaddr, as people write them.
fn host(address: &str) -> String {
    let mut parts = address.split('/').skip(1);
    let (kind, host, port) = (parts.next(), parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    match kind {
        Some("ip6") => line(&format!("[{host}]:{port}")),
        _ => line(&format!("{host}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_said_as_people_say_them() {
        let relayed = |address: &str| way(&Way::Relayed { relay: address.to_owned() });
        assert_eq!(relayed("/dns/relay.example/tcp/443/wss/p2p/12D3KooW"), "by the relay relay.example:443");
        assert_eq!(relayed("/ip6/2001:db8::1/udp/4001/quic-v1/p2p/12D3KooW"), "by the relay [2001:db8::1]:4001");
        assert_eq!(relayed("nonsense"), "by the relay :");
        assert_eq!(way(&Way::HolePunched), "directly, through a hole in the NAT");
        let mut lost = Reservation {
            address: "/ip4/192.0.2.7/tcp/1/p2p/12D3KooW".to_owned(),
            reserved: false,
            by_person: true,
            by_spaces: vec!["团队".to_owned()],
            mailboxes: true,
        };
        assert_eq!(relay(&lost), "relay 192.0.2.7:1 (named by you, by “团队”) gives no place now; it is asked again");
        (lost.reserved, lost.by_person) = (true, false);
        assert_eq!(relay(&lost), "relay 192.0.2.7:1 (named by “团队”) gives this device a place");
    }
}
