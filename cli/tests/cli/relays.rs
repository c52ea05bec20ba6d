//! Relays of a space: named, listed, taken away. What goes through one is shown by `core/tests/relay.rs` and
//! `scripts/never-together.sh`.

use crate::harness::{Device, two};

const RELAY: &str = "/ip4/192.0.2.1/tcp/4400/p2p/12D3KooWGkFT638RnC3TFPfq2ojmtnigcVQCqUjAHLj68trsXWsB";
const OTHER: &str = "/dns4/relay.example.org/tcp/4400/p2p/12D3KooWFUxUJgzkkk5veY63MApwsZ7CLNQADjPMDJ3mEMaNrQTo";

#[test]
fn relays_are_added_listed_and_removed() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "四月"]);
    assert!(zoe.ok(&["relay", "list"]).starts_with("No relay keeps what is written in “四月”"));
    let said = zoe.ok(&["relay", "add", RELAY]);
    assert!(said.starts_with(&format!("Relays of “四月”:\n  1  {RELAY}  not connected, ")), "{said}");
    zoe.ok(&["relay", "add", OTHER]);
    zoe.ok(&["chat", "send", "你好"]);
    let listed = zoe.json(&["relay", "list"]);
    assert_eq!((&listed["relays"][0]["address"], &listed["relays"][1]["address"]), (&RELAY.into(), &OTHER.into()));
    assert_eq!(listed["relays"][0]["connected"], false);
    assert!(listed["relays"][0]["waiting"].as_u64() > Some(0), "{listed}");
    assert!(zoe.ok(&["status"]).contains("wait to be stored there"));
    assert!(zoe.ok(&["policy"]).contains(&format!("relay.1               {RELAY}")));
    assert!(zoe.ok(&["chat", "history"]).trim_end().ends_with("你好  …"), "nobody else has it");
    assert_eq!(zoe.json(&["chat", "history"])["messages"][0]["state"]["is"], "queued");
    zoe.ok(&["relay", "remove", "1"]);
    let listed = zoe.json(&["relay", "list"]);
    assert_eq!((&listed["relays"][0]["address"], listed["relays"].as_array().map(Vec::len)), (&OTHER.into(), Some(1)));
    zoe.ok(&["relay", "remove", OTHER]);
    assert!(zoe.ok(&["relay", "list"]).starts_with("No relay"));
}

#[test]
fn what_is_no_relay_is_refused_with_a_reason() {
    let (_zoe, _zoe_runs, bob, _bob_runs) = two();
    for wrong in ["relay.example.org", "/ip4/192.0.2.1/tcp/4400", "/ip4/192.0.2.1/tcp/4400/p2p/Qm"] {
        let failed = bob.fails(&["relay", "add", wrong]);
        assert_eq!(failed.exit, 2, "{wrong}");
        assert!(failed.words.contains("a multiaddr that ends in /p2p/"), "{}", failed.words);
    }
    assert_eq!(bob.fails(&["relay", "remove", "1"]).words, "there is no relay 1");
    let failed = bob.fails(&["relay", "add", RELAY]);
    assert_eq!((failed.exit, failed.words.contains("your role may not set policies")), (4, true), "{}", failed.words);
}
