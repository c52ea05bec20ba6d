//! Links that were cut, altered or made up.

use std::str::FromStr;

use clave_crypto::{DeviceId, Suite};
use proptest::prelude::*;
use prost::Message as _;
use zeroize::Zeroizing;

use super::rig::*;
use crate::proto::invitation as proto;
use crate::{CircleId, InvitationId, InviteLink, LINK_CHARS_MAX, LinkError};

fn link() -> InviteLink {
    InviteLink {
        invitation: InvitationId::from_bytes([1; 16]),
        circle: CircleId::from_bytes([2; 32]),
        inviter: DeviceId::from_bytes([3; 32]),
        expires_ms: START_MS,
        addresses: vec!["/ip4/192.0.2.1/tcp/4001".to_owned()],
        space_name: "Grüne Band".to_owned(),
        suite: Suite::default(),
        noise: None,
        relays: Vec::new(),
        secret: Zeroizing::new([4; 32]),
    }
}

/// The text of a link that somebody made up, checksum and all.
fn text_of(link: &proto::Link) -> String {
    let mut bytes = link.encode_to_vec();
    let check = *blake3::hash(&bytes).as_bytes();
    bytes.extend_from_slice(&check[..4]);
    format!("clave://join/{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))
}

fn sound() -> proto::Link {
    proto::Link {
        invitation: vec![1; 16],
        secret: vec![4; 32],
        circle: vec![2; 32],
        inviter: vec![3; 32],
        expires_ms: START_MS,
        addresses: Vec::new(),
        space_name: "Band".to_owned(),
        suite: 0,
        noise: Vec::new(),
        relays: Vec::new(),
    }
}

#[test]
fn a_link_is_read_back_with_white_space_around_it() {
    let text = format!(" {}\n", link());
    assert!(InviteLink::from_str(&text) == Ok(link()));
    assert!(text_of(&sound()).parse::<InviteLink>().is_ok());
}

#[test]
fn a_truncated_link_is_told_from_none() {
    let text = link().to_string();
    for end in 0..text.len() {
        let expected = if end < "clave://join/".len() { LinkError::NotALink } else { LinkError::Damaged };
        assert_eq!(text[..end].parse::<InviteLink>().err(), Some(expected), "{end} characters");
    }
}

#[test]
fn a_link_altered_at_any_character_is_refused() {
    let text = link().to_string();
    let rng = proptest::sample::select("abcXYZ019-_=+/ \u{e9}".chars().collect::<Vec<_>>());
    cases(rng, |other| {
        for (at, character) in text.char_indices() {
            if character != other {
                let altered = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                // White space at the end is no alteration; within or instead of a character it is.
                assert!(altered.parse::<InviteLink>().is_err(), "{other:?} at {at}");
            }
        }
    });
}

#[test]
fn a_link_of_garbage_is_refused() {
    cases(any::<String>(), |text| {
        assert_eq!(text.parse::<InviteLink>().err(), Some(LinkError::NotALink));
        assert_eq!(format!("clave://join/{text}").parse::<InviteLink>().err(), Some(LinkError::Damaged));
    });
    cases(any::<Vec<u8>>(), |bytes| {
        let text = format!("clave://join/{}", data_encoding::BASE64URL_NOPAD.encode(&bytes));
        assert_eq!(text.parse::<InviteLink>().err(), Some(LinkError::Damaged));
    });
}

#[test]
fn a_link_with_another_prefix_is_none() {
    let text = link().to_string();
    for prefix in ["", "clave:/", "CLAVE://join/", "clave://JOIN/", "https://clave.example/join/", "clave://pair/"] {
        let other = text.replacen("clave://join/", prefix, 1);
        assert_eq!(other.parse::<InviteLink>().err(), Some(LinkError::NotALink), "{prefix}");
    }
}

#[test]
fn an_absurdly_long_link_is_not_looked_at() {
    let fits = proto::Link { addresses: vec!["x".repeat(5_900)], ..sound() };
    assert!(text_of(&fits).len() <= LINK_CHARS_MAX && text_of(&fits).parse::<InviteLink>().is_ok());
    for bytes in [6_200, 10_000_000] {
        let long = proto::Link { addresses: vec!["x".repeat(bytes)], ..sound() };
        assert_eq!(text_of(&long).parse::<InviteLink>().err(), Some(LinkError::Damaged));
    }
}

#[test]
fn a_link_with_a_part_of_the_wrong_length_is_refused() {
    for link in [
        proto::Link { invitation: vec![1; 15], ..sound() },
        proto::Link { secret: vec![1; 33], ..sound() },
        proto::Link { circle: Vec::new(), ..sound() },
        proto::Link { inviter: vec![1; 31], ..sound() },
    ] {
        assert_eq!(text_of(&link).parse::<InviteLink>().err(), Some(LinkError::Damaged));
    }
}

#[test]
fn a_link_whose_name_would_mislead_a_reader_is_refused() {
    for name in ["\u{1b}[2JBank", "Bank\nof", "\u{202e}knaB", " Bank", &"x".repeat(257)] {
        let link = proto::Link { space_name: name.to_owned(), ..sound() };
        assert_eq!(text_of(&link).parse::<InviteLink>().err(), Some(LinkError::Damaged), "{name:?}");
    }
    // The log keeps what somebody wrote; a link to that space is made all the same.
    let (mut rig, circle) = Rig::pair();
    rig.act(ALICE, circle, crate::membership::Action::Rename { name: "Bank\nof".to_owned() });
    let now_ms = rig.now_ms;
    let link = rig.devices[ALICE].engine.invite(circle, 1_000, now_ms).expect("an owner may");
    assert!(link.to_string().parse::<InviteLink>().is_ok());
}

#[test]
fn a_link_shows_its_secret_to_nobody_who_debugs() {
    assert!(!format!("{:?}", link()).contains(&data_encoding::BASE64URL_NOPAD.encode(&[4; 32])));
}

#[test]
fn a_link_with_relays_that_make_no_sense_is_refused() {
    let relay = "/ip4/192.0.2.1/tcp/4400/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".to_owned();
    let relayed = |noise: usize, relays: Vec<String>| proto::Link { noise: vec![5; noise], relays, ..sound() };
    assert!(InviteLink::from_str(&text_of(&relayed(32, vec![relay.clone(); 4]))).is_ok());
    for link in [
        relayed(32, vec![relay.clone(); 5]),
        relayed(31, vec![relay.clone()]),
        relayed(32, Vec::new()),
        relayed(0, vec![relay]),
        relayed(32, vec!["/ip4/192.0.2.1/tcp/4400".to_owned()]),
    ] {
        assert_eq!(InviteLink::from_str(&text_of(&link)), Err(LinkError::Damaged));
    }
}
