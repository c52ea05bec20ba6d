//! Members whose devices keep to no rule, each of whom lies to somebody else: what one act of theirs may do, and to whom.

use clave_engine::crdt::{Document, DocumentKind, Draft};
use clave_engine::crypto::{ContentKey, Entropy, EpochId};
use clave_engine::fuzzing::inside;
use clave_engine::fuzzing::rogue::{Rogue, Said, Sealed};
use clave_engine::membership::{Action, Operation};
use clave_engine::{CircleId, DocumentId, OperationId, Refusal};
use clave_sim::{Attack, Livelock, Who, World};

const NO_FAULTS: [&str; 0] = [];
const MINUTE_MS: u64 = 60_000;

/// What a device has, out of its engine, to seal with.
fn liar(world: &mut World, who: Who, circle: CircleId) -> Rogue {
    Rogue::of(world.engine(who), circle).expect("a member")
}

fn chat(circle: CircleId) -> DocumentId {
    DocumentId::well_known(circle, DocumentKind::Timeline, 0)
}

/// The first message of a device, which its engine does not know of: the same place for each text.
fn first_message(world: &mut World, who: Who, circle: CircleId, text: &str) -> Vec<u8> {
    let (now_ms, kind) = (world.wall_clock_ms(), DocumentKind::Timeline);
    let actor = world.engine(who).document(circle, chat(circle), kind).expect("a member").actor();
    let mut document = Document::new(kind, actor);
    let mut timeline = document.timeline().expect("it is one");
    timeline.post(now_ms, [text.len() as u8; 6], &Draft::text(text)).expect("it is short");
    document.commit(now_ms).expect("something was said")
}

fn in_chat(circle: CircleId, change: Vec<u8>) -> Said {
    Said::Changes { document: chat(circle), kind: DocumentKind::Timeline.number().into(), changes: vec![change] }
}

fn seal(world: &World, liar: &Rogue, key: &ContentKey, said: Said) -> Sealed {
    let mut entropy = Entropy::from_seed([2; 32]);
    liar.seal(key, liar.id(), said, world.wall_clock_ms(), &mut entropy).expect("it is small")
}

/// Seals to one device alone a key of an epoch, as somebody who knows of operations.
fn tell_key(
    world: &mut World,
    liar: &Rogue,
    to: Who,
    key: (EpochId, &ContentKey),
    operations: Vec<OperationId>,
) -> Sealed {
    let (device, now_ms) = (world.device(to).id, world.wall_clock_ms());
    let noise = world.engine(to).membership(liar.circle).expect("a member").devices[&device].noise;
    let said = Said::Keys { keys: vec![(key.0, **key.1.as_bytes())], operations };
    liar.seal_direct((device, &noise), said, now_ms, &mut Entropy::from_seed([3; 32])).expect("it is small")
}

fn has_key(world: &World, who: Who, circle: CircleId, key: &ContentKey) -> bool {
    inside::content_keys(&*world.device(who).disk, circle).iter().any(|(id, ..)| *id == key.key_id())
}

#[test]
fn nobody_seals_under_a_key_that_they_were_told() -> Result<(), Livelock> {
    let mut world = World::new(1);
    let ([alice, bob, carol], team) = world.team()?;
    world.turn_rogue(bob);
    let before = world.engine(alice).status(team).expect("a member");
    for _ in 0..3 {
        world.attack(bob, team, Attack::PoisonedKeys);
    }
    world.settle()?;
    world.post(alice, team, "你好");
    world.settle()?;
    for who in [alice, carol] {
        let status = world.engine(who).status(team).expect("a member");
        assert_eq!((status.epoch, status.key), (before.epoch, before.key), "{}", world.device(who).name);
        assert_eq!(world.messages(who, team), ["你好"]);
    }
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}

/// Bob hands Alice the key from before she came, as though it were that of the head, and Dave asks for it.
#[test]
fn who_was_told_a_key_hands_it_to_nobody_who_was_not_there() -> Result<(), Livelock> {
    let mut world = World::new(2);
    let [bob, alice, dave] = ["Bob", "Alice", "Dave"].map(|name| world.named(name));
    let team = world.create_space(bob, "Team");
    world.post(bob, team, "before anybody came");
    let founder = liar(&mut world, bob, team);
    let first = founder.key(&founder.head).expect("it is his head");
    let (key, value) = ("history".to_owned(), "since_joining".to_owned());
    world.act(bob, team, Action::SetPolicy { key, value, keep_heads: Vec::new() }).expect("an owner may");
    for guest in [alice, dave] {
        world.invite(bob, team, guest);
        world.settle()?;
    }
    assert!([alice, dave].iter().all(|who| !has_key(&world, *who, team, &first)));
    world.turn_rogue(bob);
    let head = world.engine(alice).status(team).expect("a member").epoch;
    let told = tell_key(&mut world, &founder, alice, (head, &first), Vec::new());
    world.give(bob, alice, team, told);
    world.settle()?;
    assert_eq!(world.messages(alice, team), ["before anybody came"]);
    for _ in 0..4 {
        world.pass(15 * MINUTE_MS);
        world.settle()?;
    }
    assert!(!has_key(&world, dave, team, &first));
    assert_eq!(world.messages(dave, team), [""; 0]);
    Ok(())
}

/// What is sealed with lasting keys can be read by whoever comes later: what is said in the chat is not to be among it.
#[test]
fn what_is_said_in_the_chat_is_not_taken_under_a_key_that_lasts() -> Result<(), Livelock> {
    let mut world = World::new(7);
    let ([alice, bob, carol], team) = world.team()?;
    let bobs = liar(&mut world, bob, team);
    let lasting = bobs.key(&bobs.head).expect("it is his head").lasting();
    let (key, value) = ("history".to_owned(), "since_joining".to_owned());
    world.act(alice, team, Action::SetPolicy { key, value, keep_heads: Vec::new() }).expect("an owner may");
    world.settle()?;
    assert_eq!(world.engine(alice).status(team).expect("a member").epoch, bobs.head);
    world.turn_rogue(bob);
    let change = first_message(&mut world, bob, team, "for ever");
    let said = seal(&world, &bobs, &lasting, in_chat(team, change));
    world.give(bob, alice, team, said);
    world.settle()?;
    let dave = world.dave();
    world.invite(alice, team, dave);
    world.settle()?;
    assert_eq!(world.device(alice).refusals().get(&Refusal::WrongKey), Some(&1));
    for who in [alice, carol, dave] {
        assert_eq!(world.messages(who, team), [""; 0], "{}", world.device(who).name);
    }
    Ok(())
}

/// Alice alone can read it, and cannot hand the key on: nobody knows what Bob says to know.
#[test]
fn nobody_builds_on_what_others_may_never_be_able_to_read() -> Result<(), Livelock> {
    let mut world = World::new(3);
    let ([alice, bob, carol], team) = world.team()?;
    world.turn_rogue(bob);
    let (bobs, key) = (liar(&mut world, bob, team), ContentKey::from_bytes([7; 32].into()));
    let change = first_message(&mut world, bob, team, "between us");
    let unknown = vec![OperationId::from_bytes([8; 32])];
    let told = tell_key(&mut world, &bobs, alice, (EpochId::from_bytes([9; 32]), &key), unknown);
    let said = seal(&world, &bobs, &key, in_chat(team, change));
    world.give(bob, alice, team, told);
    world.give(bob, alice, team, said);
    world.settle()?;
    assert!(has_key(&world, alice, team, &key) && !has_key(&world, carol, team, &key));
    world.post(alice, team, "what did Bob say?");
    world.settle()?;
    for who in [alice, carol] {
        assert_eq!(world.messages(who, team), ["what did Bob say?"], "{}", world.device(who).name);
    }
    Ok(())
}

/// Bob gives the key of the head to Mallory, who is not in the circle, and passes on what she writes with it.
#[test]
fn what_a_stranger_writes_with_a_key_that_leaked_is_in_no_document() -> Result<(), Livelock> {
    let mut world = World::new(4);
    let ([alice, bob, carol], team) = world.team()?;
    world.turn_rogue(bob);
    let mallory = world.named("Mallory");
    let elsewhere = world.create_space(mallory, "Elsewhere");
    let head = world.engine(bob).status(team).expect("a member").epoch;
    let leaked = liar(&mut world, bob, team).key(&head).expect("it is his head");
    let mut stranger = liar(&mut world, mallory, elsewhere);
    stranger.circle = team;
    let change = first_message(&mut world, mallory, elsewhere, "let me in");
    let said = seal(&world, &stranger, &leaked, in_chat(team, change));
    world.give(bob, alice, team, said);
    world.settle()?;
    for who in [alice, carol] {
        assert_eq!(world.engine(who).status(team).expect("a member").held, 1, "it does not wait");
        let chat = world.engine(who).document(team, chat(team), DocumentKind::Timeline).expect("a member");
        assert_eq!((chat.set_aside_len(), chat.held()), (0, 0), "{}", world.device(who).name);
    }
    Ok(())
}

/// Dave says one thing to Alice and another to Bob and Carol, under one number. Alice builds on what gives way in the end.
#[test]
fn whose_words_gave_way_to_another_lie_than_theirs_writes_on_as_their_successor() -> Result<(), Livelock> {
    let mut world = World::new(5);
    let ([alice, bob, carol, dave], team) = world.team()?;
    world.turn_rogue(dave);
    let (daves, head) = (liar(&mut world, dave, team), world.engine(dave).status(team).expect("a member").epoch);
    let key = daves.key(&head).expect("it is his head");
    world.partition(&[(alice, 1), (dave, 1), (bob, 2), (carol, 2)]);
    world.pass(10_000);
    for (text, hears, others) in [("one", alice, &[alice][..]), ("another thing", bob, &[bob, carol][..])] {
        let change = first_message(&mut world, dave, team, text);
        let said = seal(&world, &daves, &key, in_chat(team, change));
        world.give(dave, hears, team, said);
        // His own engine is not to hear of it: it would tell the others.
        while world.messages(hears, team).is_empty() {
            world.step();
        }
        world.isolate(dave);
        world.pass(10_000);
        for who in others {
            assert_eq!(world.messages(*who, team)[0], text);
            let text = format!("{} heard it", world.device(*who).name);
            world.post(*who, team, &text);
            world.pass(10_000);
        }
        world.partition(&[(dave, 2)]);
        world.pass(10_000);
    }
    world.heal();
    world.settle()?;
    assert!(!world.messages(alice, team).contains(&"Alice heard it".to_owned()), "the other gave way");
    world.post(alice, team, "and so it goes on");
    world.settle()?;
    let (liar, read) = (world.device(dave).id, world.messages(alice, team));
    for who in [alice, bob, carol] {
        assert_eq!(world.messages(who, team), read, "{}", world.device(who).name);
        let evidence = world.engine(who).evidence(team).expect("a member");
        assert!(evidence.iter().all(|found| found.device == liar), "{evidence:?}");
    }
    assert!(read.contains(&"and so it goes on".to_owned()));
    Ok(())
}

#[test]
fn nobody_says_how_the_device_of_another_is_called() -> Result<(), Livelock> {
    let mut world = World::new(6);
    let ([alice, bob, carol], team) = world.team()?;
    let device = world.device(alice).id;
    let action = Action::RenameDevice { device, name: "the old one".to_owned() };
    assert!(world.act(bob, team, action.clone()).is_err(), "it is not his");
    world.turn_rogue(bob);
    let (bobs, heads) = (liar(&mut world, bob, team), inside::log(world.engine(bob), team).expect("a member").heads());
    let operation = Operation::sign(bobs.device(), heads, world.wall_clock_ms(), action);
    let key = bobs.key(&bobs.head).expect("it is his head");
    let said = seal(&world, &bobs, &key, Said::Operation(operation.encode()));
    world.give(bob, alice, team, said);
    world.settle()?;
    for who in [alice, carol] {
        let membership = world.engine(who).membership(team).expect("a member");
        assert_ne!(membership.devices[&device].name, "the old one");
        assert_eq!(membership.set_aside.len(), 1, "it is there, and has no effect");
    }
    assert_eq!(world.faults(team), NO_FAULTS);
    Ok(())
}
