//! Being woken, and tokens of relays, as far as no relay has to be there. With one: `relay/node/tests/devices`.

use serde_json::json;

use crate::harness::Device;

const RELAY: &str = "/ip4/192.0.2.1/tcp/4400/p2p/12D3KooWGkFT638RnC3TFPfq2ojmtnigcVQCqUjAHLj68trsXWsB";

#[test]
fn where_to_push_and_what_is_muted_is_kept() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "四月"]);
    zoe.ok(&["relay", "add", RELAY]);
    zoe.ok(&["circle", "create", "预算"]);
    assert!(zoe.ok(&["push", "status"]).starts_with("Nobody wakes this device: `clave push set` says where to.\n"));
    let said = zoe.ok(&["push", "set", "https://push.example.org/UP?token=1"]);
    assert!(said.starts_with("Relays wake this device when it is away; no push has arrived so far.\n"), "{said}");
    assert!(said.contains("was not asked yet"), "{said}");
    zoe.ok(&["mute", "预算"]);
    zoe.ok(&["mute"]);
    let status = zoe.json(&["push", "status"]);
    assert_eq!(status["has_endpoint"], true);
    assert_eq!(status["muted"], json!([{ "space": "四月" }, { "space": "四月", "circle": "预算" }]));
    assert_eq!(status["relays"], json!([{ "address": RELAY, "registered": false, "mailboxes": 0 }]));
    assert!(!status.to_string().contains("token=1"), "an endpoint is a secret");
    zoe.ok(&["unmute"]);
    assert!(zoe.ok(&["push", "status"]).contains("Muted: 预算 of “四月”"));
    zoe.ok(&["push", "clear"]);
    assert_eq!(zoe.json(&["push", "status"])["has_endpoint"], false);

    for wrong in [
        &["http://push.example.org/"][..],
        &["https://"],
        &["https://push.example.org/", "--p256dh", "AAAA", "--auth", "AAAA"],
    ] {
        let failed = zoe.fails(&[&["push", "set"], wrong].concat());
        assert_eq!((failed.exit, failed.words.contains("https URL")), (2, true), "{}", failed.words);
    }
    assert_eq!(zoe.fails(&["mute", "没有"]).exit, 3);
}

#[test]
fn a_token_is_given_to_a_device_and_shown_nowhere() {
    let zoe = Device::new("Zoë", "laptop");
    // Before there is any space: somebody may be about to join through the relay.
    zoe.ok(&["relay", "token", RELAY, "canary-one"]);
    zoe.ok(&["space", "new", "四月"]);
    zoe.ok(&["relay", "add", RELAY, "--token", "canary-two"]);
    zoe.ok(&["relay", "token", "1", "canary-three"]);
    for args in [&["relay", "list"][..], &["policy"], &["status"], &["audit"]] {
        assert!(!zoe.ok(args).contains("canary"), "{args:?}");
    }
    zoe.ok(&["relay", "token", "1", "--remove"]);
    let failed = zoe.fails(&["relay", "token", "2", "canary"]);
    assert_eq!((failed.exit, failed.words.as_str()), (3, "there is no relay 2"));
    let failed = zoe.fails(&["relay", "token", "1", " "]);
    assert_eq!((failed.exit, failed.words.contains("copy it once more")), (2, true), "{}", failed.words);
}
