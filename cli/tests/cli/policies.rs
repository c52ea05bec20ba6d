//! Policies: who may invite, what newcomers can read.

use crate::harness::{Device, two};

#[test]
fn policies_are_shown_and_set() {
    let zoe = Device::new("Zoë", "laptop");
    zoe.ok(&["space", "new", "四月"]);
    let said = zoe.ok(&["policy"]);
    let expected = "Policies of “四月”\n\
        history               full   newcomers read everything that was ever written\n\
        members_may_invite    true   members bring people in, as members or guests\n\
        post_quantum_circles  false  no post-quantum circles with others in this space\n";
    assert_eq!(said, expected);
    let said = zoe.ok(&["policy", "set", "history", "ratcheted:1d"]);
    assert!(
        said.contains(
            "ratcheted:86400  newcomers read what is written since they came; everything is erased after 1 day"
        ),
        "{said}"
    );
    assert!(zoe.ok(&["policy", "set", "history", "ratcheted:90m"]).contains("ratcheted:5400"));
    let said = zoe.ok(&["policy", "set", "history", "since-joining"]);
    assert!(said.contains("since_joining  newcomers read what is written since they came"), "{said}");
    assert!(zoe.ok(&["access"]).contains("History: newcomers read what is written since they came"));
    assert_eq!(zoe.json(&["policy"])["policies"]["history"], "since_joining");
    let failed = zoe.fails(&["policy", "set", "colour", "red"]);
    assert_eq!((failed.exit, failed.words.as_str()), (2, "there is no policy “colour”"));
    let failed = zoe.fails(&["policy", "set", "history", "some"]);
    assert_eq!(failed.exit, 2);
    assert!(failed.words.starts_with("history is full, since_joining, or ratcheted:"), "{}", failed.words);
    assert_eq!(
        zoe.fails(&["policy", "set", "members_may_invite", "perhaps"]).words,
        "members_may_invite is either true or false"
    );
    assert_eq!(
        zoe.fails(&["policy", "set", "history", "ratcheted:soon"]).words,
        "a time is written like 90s, 30m, 24h or 7d"
    );
}

#[test]
fn only_who_may_sets_policies_and_invites() {
    let (zoe, _zoe_runs, bob, _bob_runs) = two();
    let failed = bob.fails(&["policy", "set", "history", "full"]);
    assert_eq!(failed.exit, 4);
    assert_eq!(failed.words, "this would have no effect: your role may not set policies; ask an admin");
    let said = zoe.ok(&["policy", "set", "members-may-invite", "false"]);
    assert!(said.contains("members_may_invite    false  only owners and admins bring people in"), "{said}");
    zoe.ok(&["chat", "send", "policy is set"]);
    bob.ok(&["wait", "--messages", "1"]);
    let failed = bob.fails(&["invite"]);
    assert_eq!(
        (failed.exit, failed.words.as_str()),
        (4, "you may not invite people here: ask an admin or owner of the space")
    );
    assert_eq!(zoe.fails(&["members", "role", "小明", "king"]).exit, 2);
    zoe.ok(&["members", "role", "小明", "admin"]);
    zoe.ok(&["chat", "send", "role is given"]);
    bob.ok(&["wait", "--messages", "2"]);
    bob.ok(&["invite"]);
}
