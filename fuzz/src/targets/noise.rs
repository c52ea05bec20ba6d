//! What somebody who does not know the link's secret, or who sits between two that do, sends into a handshake.

use clave_crypto::{DeviceKey, Entropy, Handshake, Session, open_from_device, seal_to_device};
use zeroize::Zeroizing;

const PROLOGUE: &[u8] = b"clave fuzz";
const PAYLOAD: &[u8] = b"a payload";

fn pair() -> (Handshake, Handshake) {
    let initiator = Handshake::initiator(&[7; 32], PROLOGUE, &mut Entropy::from_seed([8; 32]));
    let responder = Handshake::responder(&[7; 32], PROLOGUE, &mut Entropy::from_seed([9; 32]));
    (initiator, responder)
}

/// The three messages of an honest handshake, and what it leads to.
fn honest() -> ([Vec<u8>; 3], Session, Session) {
    const HONEST: &str = "an honest handshake succeeds";
    let (mut initiator, mut responder) = pair();
    let first = initiator.write(PAYLOAD).expect(HONEST);
    responder.read(&first).expect(HONEST);
    let second = responder.write(PAYLOAD).expect(HONEST);
    initiator.read(&second).expect(HONEST);
    let third = initiator.write(PAYLOAD).expect(HONEST);
    responder.read(&third).expect(HONEST);
    let messages = [first, second, third];
    (messages, initiator.into_session().expect(HONEST), responder.into_session().expect(HONEST))
}

fn device() -> DeviceKey {
    DeviceKey::from_seed(Zeroizing::new([10; 32]))
}

fn to_device() -> Vec<u8> {
    let recipient = device().noise_public();
    seal_to_device(&device(), &recipient, PROLOGUE, PAYLOAD, &mut Entropy::from_seed([11; 32])).expect("short")
}

/// Gives the bytes to each side in each state: the first selects the state, the rest is the message.
pub fn run(data: &[u8]) {
    let Some((state, message)) = data.split_first() else { return };
    match state % 4 {
        0 => {
            let (_, mut responder) = pair();
            if responder.read(message).is_ok() {
                // The pattern mixes the secret in last: a stranger may get this far, and no further.
                let answer = responder.write(PAYLOAD).expect("it is its turn");
                assert!(responder.read(&answer).is_err(), "a responder took its own message for an answer");
            }
        }
        1 => {
            let (mut initiator, _) = pair();
            let _ = initiator.write(PAYLOAD).expect("it is its turn");
            assert!(initiator.read(message).is_err() || message == honest().0[1], "a forged second message was taken");
        }
        2 => {
            let (messages, mut initiator, mut responder) = honest();
            let sealed = initiator.seal(PAYLOAD).expect("the session is new");
            if let Ok(opened) = responder.open(message) {
                assert!(message == sealed && opened.as_slice() == PAYLOAD, "a forged message was opened");
            }
            drop(messages);
        }
        _ => {
            if let Ok((_, opened)) = open_from_device(&device(), PROLOGUE, message) {
                assert!(message == to_device() && opened.as_slice() == PAYLOAD, "a forged sealed message was opened");
            }
        }
    }
}

/// An honest message for each state.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let ([first, second, third], mut initiator, _) = honest();
    let sealed = initiator.seal(PAYLOAD).expect("the session is new");
    let message = |state: u8, message: Vec<u8>| [&[state][..], &message].concat();
    vec![message(0, first), message(1, second), message(2, third), message(2, sealed), message(3, to_device())]
}
