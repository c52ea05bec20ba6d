//! People who come in by an invitation though they are never online together with who invited them.

use std::collections::BTreeMap;

use clave_engine::{CircleId, Event, InvitationState, InviteLink, JoinError, PendingJoinState};
use clave_mailbox::{self as wire, Reply, reply};
use clave_sim::{Livelock, RelayNumber, Who, World};

const NO_FAULTS: [&str; 0] = [];
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Alice founded a space with relays and made an invitation; nobody ever met anybody, and all are off.
struct Apart {
    world: World,
    alice: Who,
    bob: Who,
    team: CircleId,
    relays: Vec<RelayNumber>,
    link: InviteLink,
}

fn apart(seed: u64, relays: usize) -> Result<Apart, Livelock> {
    let mut world = World::new(seed);
    let (alice, bob) = (world.alice(), world.bob());
    let team = world.create_space(alice, "Café 团队");
    let relays: Vec<RelayNumber> = (0..relays).map(|_| world.add_relay()).collect();
    world.use_relays(alice, team, &relays);
    for who in [alice, bob] {
        world.isolate(who);
    }
    world.post(alice, team, "1 你好");
    let link = world.invitation(alice, team).expect("an owner may");
    world.settle()?;
    for who in [alice, bob] {
        world.crash(who);
    }
    // As it is handed over.
    let link = link.to_string().parse().expect("it is whole");
    Ok(Apart { world, alice, bob, team, relays, link })
}

impl Apart {
    /// A device is on for a while, alone.
    fn alone(&mut self, who: Who, what: impl FnOnce(&mut World)) {
        self.world.restart(who);
        what(&mut self.world);
        self.world.pass(60_000);
        self.world.crash(who);
    }

    /// Bob asks, alone.
    fn ask(&mut self) {
        let (bob, link) = (self.bob, self.link.clone());
        self.alone(bob, |world| world.join(bob, &link).expect("he is not in"));
        assert!(!self.is_in(bob));
        assert!(self.world.device(bob).events.contains(&Event::JoinAsked { invitation: link.invitation }));
    }

    fn is_in(&mut self, who: Who) -> bool {
        self.world.restart(who);
        let is_in = self.world.circles(who).contains(&self.team);
        self.world.crash(who);
        is_in
    }

    /// Alice looks, then Bob does: he is in, they talk, and all is well once they meet.
    fn ends_well(mut self) -> Result<(), Livelock> {
        let (alice, bob, team) = (self.alice, self.bob, self.team);
        for who in [alice, bob] {
            // Whatever was planned is over.
            self.world.crash_at_write(who, u64::MAX);
        }
        self.alone(alice, |_| {});
        self.alone(bob, |_| {});
        assert!(self.is_in(bob), "{:?}", self.world.join_errors(bob));
        self.alone(bob, |world| world.post(bob, team, "2 Guten Tag"));
        self.alone(alice, |_| {});
        self.world.restart(alice);
        assert_eq!(self.world.messages(alice, team), ["1 你好", "2 Guten Tag"]);
        self.world.heal();
        self.world.settle()?;
        assert_eq!(self.world.messages(bob, team), ["1 你好", "2 Guten Tag"]);
        assert!(self.world.engine(bob).pending_joins().is_empty());
        assert_eq!(self.world.engine(alice).membership(team).expect("a member").people.len(), 2);
        assert_eq!(self.world.faults(team), NO_FAULTS);
        Ok(())
    }
}

#[test]
fn who_was_never_online_with_their_inviter_comes_in() -> Result<(), Livelock> {
    for seed in 0..4 {
        let mut apart = apart(seed, 1)?;
        apart.ask();
        apart.ends_well()?;
    }
    Ok(())
}

/// The relay gives what came first into each mailbox once more, as though it were new.
#[test]
fn a_request_that_comes_again_is_answered_once() -> Result<(), Livelock> {
    for seed in 0..2 {
        let mut apart = apart(seed, 1)?;
        apart.ask();
        let (alice, relay) = (apart.alice, apart.relays[0]);
        apart.world.restart(alice);
        apart.world.pass(60_000);
        let stored = |apart: &Apart| apart.world.relay(relay).entries().count();
        let answered = stored(&apart);
        let last = apart.world.relay(relay).entries().map(|(position, ..)| position).max().expect("there are some");
        let mut frames = BTreeMap::new();
        for (_, mailbox, bytes) in apart.world.relay(relay).entries() {
            let item = wire::Item { position: last + 1, bytes: bytes.to_vec().into() };
            let delivery = wire::Delivery { mailbox: mailbox.to_vec().into(), entries: vec![item] };
            let reply = Reply { number: 0, body: Some(reply::Body::Delivery(delivery)) };
            frames.entry(mailbox).or_insert_with(|| wire::encode(&reply));
        }
        frames.into_values().for_each(|frame| apart.world.send_from_relay(relay, alice, frame));
        apart.world.pass(60_000);
        assert_eq!(stored(&apart), answered, "seed {seed}");
        apart.world.crash(alice);
        apart.ends_well()?;
    }
    Ok(())
}

#[test]
fn a_request_waits_and_says_how_far_it_is() -> Result<(), Livelock> {
    let mut apart = apart(1, 1)?;
    let (bob, link) = (apart.bob, apart.link.clone());
    apart.world.cut_from_relays(bob);
    let state = |apart: &mut Apart| {
        apart.world.restart(bob);
        apart.world.pass(60_000);
        let pending = apart.world.engine(bob).pending_joins();
        apart.world.crash(bob);
        assert_eq!(pending.len(), 1);
        assert_eq!((pending[0].invitation, pending[0].space_name.as_str()), (link.invitation, "Café 团队"));
        pending[0].state
    };
    apart.world.restart(bob);
    apart.world.join(bob, &link).expect("he is not in");
    apart.world.pass(1_000);
    assert_eq!(state(&mut apart), PendingJoinState::Asking);
    apart.world.let_to_relays(bob);
    assert_eq!(state(&mut apart), PendingJoinState::Asked);
    apart.ends_well()
}

#[test]
fn an_inviter_that_dies_at_any_write_answers_all_the_same() -> Result<(), Livelock> {
    let mut crashes = 0;
    for writes in 0..12 {
        let mut apart = apart(writes, 1)?;
        apart.ask();
        let alice = apart.alice;
        apart.world.restart(alice);
        apart.world.crash_at_write(alice, writes);
        apart.world.pass(60_000);
        crashes += u64::from(!apart.world.is_up(alice));
        apart.world.crash(alice);
        apart.world.restart(alice);
        apart.world.crash(alice);
        apart.ends_well()?;
    }
    assert!(crashes >= 3, "{crashes}");
    Ok(())
}

#[test]
fn who_joins_may_die_at_any_write() -> Result<(), Livelock> {
    let mut crashes = 0;
    for writes in 0..8 {
        let mut apart = apart(writes, 1)?;
        let (alice, bob, link) = (apart.alice, apart.bob, apart.link.clone());
        apart.world.restart(bob);
        apart.world.crash_at_write(bob, writes);
        apart.world.join(bob, &link).expect("he is not in");
        apart.world.pass(60_000);
        apart.world.crash(bob);
        apart.alone(bob, |_| {});
        apart.alone(alice, |_| {});
        apart.world.restart(bob);
        apart.world.crash_at_write(bob, writes);
        apart.world.pass(60_000);
        crashes += u64::from(!apart.world.is_up(bob));
        apart.world.crash(bob);
        apart.ends_well()?;
    }
    assert!(crashes >= 2, "{crashes}");
    Ok(())
}

#[test]
fn what_a_relay_loses_is_put_again() -> Result<(), Livelock> {
    for seed in 0..2 {
        let mut apart = apart(seed, 1)?;
        let (alice, bob, relay) = (apart.alice, apart.bob, apart.relays[0]);
        apart.ask();
        // The request.
        apart.world.wipe_relay(relay);
        apart.alone(alice, |_| {});
        assert!(!apart.is_in(bob));
        apart.alone(bob, |_| {});
        apart.alone(alice, |_| {});
        // The answer.
        apart.world.wipe_relay(relay);
        apart.alone(bob, |_| {});
        assert!(!apart.is_in(bob));
        apart.ends_well()?;
    }
    Ok(())
}

#[test]
fn of_two_relays_either_will_do() -> Result<(), Livelock> {
    for seed in 0..2 {
        let mut apart = apart(seed, 2)?;
        let [first, second] = [apart.relays[0], apart.relays[1]];
        // He reaches the second only; the answer he finds at the first only.
        apart.world.stop_relay(first);
        apart.ask();
        apart.world.start_relay(first);
        let alice = apart.alice;
        apart.alone(alice, |_| {});
        apart.world.stop_relay(second);
        let bob = apart.bob;
        apart.alone(bob, |_| {});
        assert!(apart.is_in(bob));
        apart.world.start_relay(second);
        apart.ends_well()?;
    }
    Ok(())
}

#[test]
fn an_invitation_is_for_one_of_those_who_ask() -> Result<(), Livelock> {
    let mut apart = apart(3, 1)?;
    apart.ask();
    let (carol, alice, link) = (apart.world.carol(), apart.alice, apart.link.clone());
    apart.world.isolate(carol);
    apart.alone(carol, |world| world.join(carol, &link).expect("she cannot know"));
    apart.alone(alice, |_| {});
    apart.alone(carol, |_| {});
    assert_eq!(apart.world.join_errors(carol), [JoinError::Used]);
    apart.world.lose(carol);
    apart.ends_well()
}

#[test]
fn a_request_is_refused_for_the_same_reasons_as_in_a_session() -> Result<(), Livelock> {
    for (seed, reason) in [JoinError::Revoked, JoinError::Expired].into_iter().enumerate() {
        let mut apart = apart(seed as u64, 1)?;
        apart.ask();
        let (alice, bob, link) = (apart.alice, apart.bob, apart.link.clone());
        if reason == JoinError::Revoked {
            // Before the relay has told her of the request.
            apart.world.cut_from_relays(alice);
            apart.alone(alice, |world| world.revoke(alice, link.invitation));
            apart.world.let_to_relays(alice);
        } else {
            apart.world.pass(8 * DAY_MS);
        }
        apart.alone(alice, |_| {});
        apart.alone(bob, |_| {});
        assert_eq!(apart.world.join_errors(bob), [reason]);
        assert!(!apart.is_in(bob));
        apart.world.restart(bob);
        assert!(apart.world.engine(bob).pending_joins().is_empty());
    }
    Ok(())
}

#[test]
fn a_request_that_nobody_answers_ends_some_time_after_the_invitation() -> Result<(), Livelock> {
    let mut apart = apart(5, 1)?;
    apart.ask();
    let (alice, bob) = (apart.alice, apart.bob);
    apart.world.pass(8 * DAY_MS);
    apart.world.restart(bob);
    assert_eq!(apart.world.engine(bob).pending_joins().len(), 1);
    apart.world.pass(14 * DAY_MS);
    assert_eq!(apart.world.join_errors(bob), [JoinError::Expired]);
    assert!(apart.world.engine(bob).pending_joins().is_empty());
    apart.alone(alice, |_| {});
    assert!(!apart.is_in(bob));
    Ok(())
}

#[test]
fn who_gives_up_may_ask_again() -> Result<(), Livelock> {
    let mut apart = apart(6, 1)?;
    apart.ask();
    let (bob, link) = (apart.bob, apart.link.clone());
    apart.alone(bob, |world| {
        world.input(bob, |engine, now| engine.cancel_join(link.invitation, now)).expect("the disk works");
        assert!(world.engine(bob).pending_joins().is_empty());
    });
    apart.world.restart(bob);
    assert!(apart.world.engine(bob).pending_joins().is_empty());
    apart.world.join(bob, &link).expect("he is not in");
    apart.world.pass(60_000);
    apart.world.crash(bob);
    apart.ends_well()
}

#[test]
fn who_gave_up_after_being_let_in_gets_the_same_welcome() -> Result<(), Livelock> {
    let mut apart = apart(7, 1)?;
    apart.ask();
    let (alice, bob, team, link) = (apart.alice, apart.bob, apart.team, apart.link.clone());
    apart.alone(alice, |_| {});
    apart.world.restart(alice);
    let depth = apart.world.engine(alice).status(team).expect("a member").depth;
    assert!(matches!(
        apart.world.engine(alice).invitations(team, 0).expect("a member")[0].state,
        InvitationState::Used(_)
    ));
    apart.world.crash(alice);
    apart.world.cut_from_relays(bob);
    apart.alone(bob, |world| {
        world.input(bob, |engine, now| engine.cancel_join(link.invitation, now)).expect("the disk works");
    });
    apart.world.let_to_relays(bob);
    apart.world.restart(bob);
    apart.world.join(bob, &link).expect("he is not in");
    apart.world.pass(60_000);
    apart.world.crash(bob);
    apart.alone(alice, |_| {});
    apart.world.restart(alice);
    assert_eq!(apart.world.engine(alice).status(team).expect("a member").depth, depth);
    apart.world.crash(alice);
    apart.ends_well()
}

#[test]
fn who_meets_the_inviter_first_is_let_in_at_once_and_once() -> Result<(), Livelock> {
    let mut apart = apart(8, 1)?;
    apart.ask();
    let (alice, bob, team) = (apart.alice, apart.bob, apart.team);
    apart.world.cut_from_relays(alice);
    apart.world.cut_from_relays(bob);
    apart.world.heal();
    apart.world.settle()?;
    assert!(apart.world.circles(bob).contains(&team));
    for who in [alice, bob] {
        apart.world.let_to_relays(who);
    }
    apart.world.settle()?;
    assert_eq!(apart.world.join_errors(bob), []);
    for who in [alice, bob] {
        apart.world.isolate(who);
        apart.world.crash(who);
    }
    apart.ends_well()
}

#[test]
fn a_relay_learns_nothing_from_a_request_and_its_answer() -> Result<(), Livelock> {
    let mut apart = apart(9, 1)?;
    apart.ask();
    let (alice, relay) = (apart.alice, apart.relays[0]);
    apart.alone(alice, |_| {});
    let secrets: Vec<Vec<u8>> = vec![
        b"Bob".to_vec(),
        "Café".into(),
        apart.link.invitation.as_bytes().to_vec(),
        apart.team.as_bytes().to_vec(),
        apart.world.device(alice).id.as_bytes().to_vec(),
        apart.world.device(apart.bob).id.as_bytes().to_vec(),
    ];
    let mut looked_at = 0;
    for (_, blob) in apart.world.relay(relay).blobs() {
        looked_at += 1;
        for secret in &secrets {
            assert!(!blob.windows(secret.len()).any(|window| window == secret));
        }
    }
    assert!(looked_at > 3);
    apart.ends_well()
}
