//! How far messages come through relays, who is let in there, and who is woken.

use away::{all_read, alone, check, met_once};
use clave_engine::{CircleId, MessageState, PushEndpoint, RelayError};
use clave_sim::{Livelock, Who, World};

#[allow(dead_code, unreachable_pub, reason = "shared by tests")]
#[path = "support/away.rs"]
mod away;

/// How far a message has come that somebody posted.
fn state(world: &mut World, who: Who, team: CircleId, message: clave_engine::crdt::MessageId) -> MessageState {
    world.engine(who).message_states(team, &[message]).expect("a member")[0].expect("it is theirs")
}

#[test]
fn how_far_a_message_has_come_is_known_through_restarts_and_reunions() -> Result<(), Livelock> {
    for seed in 0..4 {
        let (mut world, [alice, bob, _], team, relays) = met_once(seed, 1)?;
        world.stop_relay(relays[0]);
        world.restart(alice);
        world.pass(5_000);
        let message = world.try_post(alice, team, "1 你好").expect("she may write");
        world.pass(5_000);
        assert_eq!(state(&mut world, alice, team, message), MessageState::Queued, "seed {seed}");
        // A crash changes nothing of it.
        world.crash(alice);
        world.restart(alice);
        assert_eq!(state(&mut world, alice, team, message), MessageState::Queued, "seed {seed}");
        world.start_relay(relays[0]);
        world.pass(5_000);
        assert_eq!(state(&mut world, alice, team, message), MessageState::Relayed, "seed {seed}");
        world.crash(alice);
        // Bob gets it from the relay; of that Alice hears when the two meet.
        alone(&mut world, bob, |_| {});
        world.restart(alice);
        world.pass(5_000);
        assert_eq!(state(&mut world, alice, team, message), MessageState::Relayed, "seed {seed}");
        world.heal();
        world.pass(180_000);
        let delivered = MessageState::Delivered { people: 2, devices: 2, everybody: true };
        assert_eq!(state(&mut world, alice, team, message), delivered, "seed {seed}");
        // What nobody could have got is not said to have come anywhere.
        world.isolate(alice);
        world.cut_from_relays(alice);
        let message = world.try_post(alice, team, "2 nobody hears it").expect("she may write");
        world.pass(120_000);
        assert_eq!(state(&mut world, alice, team, message), MessageState::Queued, "seed {seed}");
        world.let_to_relays(alice);
        check(&mut world, team)?;
    }
    Ok(())
}

#[test]
fn a_relay_that_asks_for_a_token_keeps_nothing_before_it_is_shown() -> Result<(), Livelock> {
    let (mut world, [alice, bob, carol], team, relays) = met_once(7, 1)?;
    world.stop_relay(relays[0]);
    world.relay_mut(relays[0]).token = Some("芝麻开门".as_bytes().to_vec());
    world.start_relay(relays[0]);
    let id = world.relay(relays[0]).id;
    world.restart(alice);
    world.pass(5_000);
    let message = world.try_post(alice, team, "1 你好").expect("she may write");
    world.pass(5_000);
    let failed = |error| MessageState::Failed { error, retryable: false };
    assert_eq!(state(&mut world, alice, team, message), failed(RelayError::Access));
    let show = |world: &mut World, who: Who, token: &str| {
        let token = token.parse().expect("it may be one");
        world.input(who, |engine, now| engine.set_relay_token(id, Some(token), now)).expect("it can be stored");
        world.pass(60_000);
    };
    show(&mut world, alice, "开门");
    assert_eq!(state(&mut world, alice, team, message), failed(RelayError::Token));
    show(&mut world, alice, "芝麻开门");
    assert_eq!(state(&mut world, alice, team, message), MessageState::Relayed);
    world.crash(alice);
    for who in [bob, carol] {
        world.restart(who);
        show(&mut world, who, "芝麻开门");
        world.crash(who);
    }
    all_read(&mut world, &[alice, bob, carol], team, &["1 你好"]);
    check(&mut world, team)
}

#[test]
fn who_is_away_is_woken_for_what_is_not_muted_also_under_new_keys() -> Result<(), Livelock> {
    let (mut world, [alice, bob, carol], team, relays) = met_once(11, 1)?;
    let endpoint = PushEndpoint::new("https://push.example.org/小波", None);
    assert!(endpoint.is_err(), "an URL has no such letters");
    let endpoint = PushEndpoint::new("https://push.example.org/bob", None).expect("it is one");
    let set = |world: &mut World, endpoint: Option<PushEndpoint>| {
        world.input(bob, |engine, now| engine.set_push_endpoint(None, endpoint, now)).expect("it can be stored");
    };
    let pushed = |world: &mut World| std::mem::take(&mut world.relay_mut(relays[0]).pushes).len();
    alone(&mut world, bob, |world| set(world, Some(endpoint)));
    pushed(&mut world);
    alone(&mut world, alice, |world| world.post(alice, team, "1 你好"));
    assert!(pushed(&mut world) > 0);
    // What he writes himself wakes him not, and while he is there nothing does.
    alone(&mut world, bob, |world| world.post(bob, team, "2 hello"));
    assert_eq!(pushed(&mut world), 0);
    // Keys change: he follows, and is woken for what is written under them.
    alone(&mut world, alice, |world| world.remove(alice, team, carol).expect("an owner may remove"));
    assert!(pushed(&mut world) > 0);
    alone(&mut world, bob, |_| {});
    pushed(&mut world);
    alone(&mut world, alice, |world| world.post(alice, team, "3 anew"));
    assert!(pushed(&mut world) > 0);
    // Muted he is not, over a restart.
    let mute =
        |world: &mut World, muted| world.input(bob, |engine, now| engine.mute(team, muted, now)).expect("a member");
    alone(&mut world, bob, |world| mute(world, true));
    alone(&mut world, alice, |world| world.post(alice, team, "4 quietly"));
    assert_eq!(pushed(&mut world), 0);
    alone(&mut world, bob, |world| mute(world, false));
    alone(&mut world, alice, |world| world.post(alice, team, "5 aloud"));
    assert!(pushed(&mut world) > 0);
    // Nor when he has taken the endpoint back, or left.
    alone(&mut world, bob, |world| set(world, None));
    alone(&mut world, alice, |world| world.post(alice, team, "6 nobody is pushed to"));
    assert_eq!(pushed(&mut world), 0);
    check(&mut world, team)
}
