//! Every way in which an invitation is refused, and what it says.

use crate::harness::{Device, forge, two};

fn host() -> (Device, crate::harness::Running) {
    let host = Device::new("Zoë", "laptop");
    host.ok(&["space", "new", "Kollektiv"]);
    let running = host.run();
    (host, running)
}

#[track_caller]
fn refused(link: &str, reason: &str, words: &str) {
    let guest = Device::new("Mallory", "phone");
    let _running = guest.run();
    let failed = guest.fails(&["join", link]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, reason), "{}", failed.words);
    assert!(failed.words.contains(words), "{}", failed.words);
    assert!(guest.ok(&["space", "list"]).contains("No spaces yet"), "a refused guest is in no space");
}

#[test]
fn a_link_works_once() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let link = zoe.invite();
    let carol = Device::new("Carol", "tablet");
    let said = carol.ok(&["join", &link]);
    assert!(said.contains("You are in “Café 四月” now (3 people)."), "{said}");
    assert!(said.contains("clave run"), "without a running node it says how to stay online: {said}");
    refused(&link, "used", "was already used by someone else: every invitation works once");
    assert!(zoe.ok(&["invite", "list"]).contains("used by Carol"));
    let failed = bob.fails(&["join", &zoe.invite()]);
    assert_eq!((failed.exit, failed.reason.as_str()), (4, "already_member"));
}

#[test]
fn an_expired_link_is_refused() {
    let (host, _running) = host();
    let link = host.json(&["invite", "--valid", "1ms"])["link"].as_str().unwrap().to_owned();
    refused(&link, "expired", "has expired: ask for a new one");
    assert!(host.ok(&["invite", "list"]).contains("expired"));
}

#[test]
fn a_link_that_expires_at_the_inviter_is_refused_there() {
    let (host, _running) = host();
    let link = host.json(&["invite", "--valid", "1ms"])["link"].as_str().unwrap().to_owned();
    // The guest is told a later year. The expiry is the fifth field, behind one of 16 and three of 32 bytes: a varint of
    // six bytes, the last of which counts years (of 398 days).
    let later = forge(&link, |bytes| {
        assert_eq!(bytes[120], 5 << 3);
        bytes[126] += 1;
    });
    refused(&later, "expired", "has expired: ask for a new one");
}

#[test]
fn a_revoked_link_is_refused() {
    let (host, _running) = host();
    let invitation = host.json(&["invite"]);
    host.ok(&["invite", "revoke", &invitation["id"].as_str().unwrap()[..8]]);
    refused(invitation["link"].as_str().unwrap(), "revoked", "was revoked: ask whoever invited you");
    assert!(host.ok(&["invite", "list"]).contains("revoked"));
    assert_eq!(host.fails(&["invite", "revoke", "zzzz"]).exit, 3);
}

#[test]
fn an_altered_link_is_refused() {
    let (host, _running) = host();
    let link = host.invite();
    refused(&link[..link.len() - 1], "damaged", "is incomplete or was altered on its way");
    refused("https://example.org/join", "not_a_link", "a link begins with clave://join/");
    // The secret is the second field, of 32 bytes, behind the invitation's id of 16.
    let forged = forge(&link, |bytes| bytes[25] ^= 1);
    refused(&forged, "tampered", "was altered: ask for it to be sent again, by another way");
    refused(&forge(&link, |bytes| bytes[5] ^= 1), "unknown", "does not know this invitation");
    let guest = Device::new("Bob", "phone");
    guest.ok(&["join", &link]);
    assert_eq!(host.json(&["members"])["members"].as_array().unwrap().len(), 2, "the right one still works");
}

#[test]
fn nobody_answers() {
    let (host, mut running) = host();
    let link = host.invite();
    running.kill();
    let guest = Device::new("Bob", "phone");
    let failed = guest.fails(&["join", &link, "--timeout", "300ms"]);
    assert_eq!(failed.exit, 5);
    assert!(failed.words.contains("could not be reached: it has to be running"), "{}", failed.words);
}

#[test]
fn the_inviter_hears_who_came() {
    let (host, _running) = host();
    let waiting = std::thread::scope(|scope| {
        use std::io::BufRead as _;
        let mut inviting = host.command(&["--json", "invite", "--wait"]);
        let mut inviting = inviting.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufReader::new(inviting.stdout.take().unwrap()).lines();
        let link: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        scope.spawn(move || Device::new("Bob", "phone").ok(&["join", link["link"].as_str().unwrap()]));
        let joined: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert!(inviting.wait().unwrap().success());
        joined
    });
    assert_eq!((waiting["type"].as_str(), waiting["members"].as_u64()), (Some("joined"), Some(2)));
}

#[test]
fn a_link_can_be_drawn() {
    let (host, _running) = host();
    let said = host.ok(&["invite", "--qr"]);
    assert!(said.contains("clave://join/") && said.contains("Keep this device online until they have joined."));
    let drawn: Vec<_> = said.lines().filter(|line| line.starts_with("█")).collect();
    assert!(drawn.len() > 20, "{said}");
    assert!(drawn.iter().all(|line| line.chars().count() == drawn[0].chars().count()));
}
