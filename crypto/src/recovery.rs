//! The recovery phrase: 24 words on paper, from which a person comes back when every device is lost.
//!
//! Owns the phrase (BIP 39, English word list, 256 bits of entropy) and what derives from it: the person's identity key,
//! the recovery key, and the key of an account export. Devices keep the identity key's seed but neither the phrase nor the
//! recovery key, so a stolen device cannot bring further devices in after it was revoked. Does not know what is
//! exported or how a device is brought in.
//!
//! The keys derive from the entropy itself, each under its own label; the password-stretching of BIP 39 (PBKDF2) is for
//! phrases with a passphrase, and there is nothing to stretch in 256 random bits.
//!
//! ```
//! use clave_crypto::{Domain, Entropy, PhraseError, RecoveryPhrase};
//!
//! let phrase = RecoveryPhrase::generate(&mut Entropy::from_seed([7; 32]));
//! let on_paper = phrase.words();
//!
//! // Years later, on a bare machine:
//! let typed = RecoveryPhrase::parse(&on_paper)?;
//! assert_eq!(typed.person_key().id(), phrase.person_key().id());
//! let signature = typed.recovery_key().sign(Domain::Recovery, b"the new device");
//! phrase.recovery_key().public().verify(Domain::Recovery, b"the new device", &signature).expect("it is the same key");
//! # Ok::<(), PhraseError>(())
//! ```

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use crate::{Entropy, PersonKey, RecoveryKey, VaultKey, kdf, labels};

const ENTROPY_BYTES: usize = 32;

/// What a person writes down once, and types if all else is lost.
pub struct RecoveryPhrase {
    entropy: Zeroizing<[u8; ENTROPY_BYTES]>,
}

/// Why what was typed is not a recovery phrase. It never repeats what was typed, which is most of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhraseError {
    /// There are this many words.
    #[error("a recovery phrase has 24 words, and this has {0}: type all of them, in order")]
    WordCount(usize),
    /// The word at this place, counted from 1, is not on the list.
    #[error("word {0} is not one of those that recovery phrases are made of: check its spelling")]
    UnknownWord(usize),
    /// All words are on the list, but they do not belong together.
    #[error(
        "these words do not make a recovery phrase: one is wrong or out of place, compare them with what you wrote down"
    )]
    Checksum,
}

impl RecoveryPhrase {
    /// How many words a phrase has.
    pub const WORDS: usize = 24;

    /// Makes a new phrase.
    #[must_use]
    pub fn generate(entropy: &mut Entropy) -> Self {
        Self { entropy: Zeroizing::new(entropy.bytes()) }
    }

    /// Reads what was typed. Case and the space around and between words do not matter.
    ///
    /// # Errors
    /// [`PhraseError`], which says what to look at.
    pub fn parse(text: &str) -> Result<Self, PhraseError> {
        let count = text.split_whitespace().count();
        if count != Self::WORDS {
            return Err(PhraseError::WordCount(count));
        }
        let text = Zeroizing::new(text.to_lowercase());
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &text).map_err(|error| match error {
            bip39::Error::BadWordCount(count) => PhraseError::WordCount(count),
            bip39::Error::UnknownWord(index) => PhraseError::UnknownWord(index + 1),
            _ => PhraseError::Checksum,
        })?;
        let (padded, length) = mnemonic.to_entropy_array();
        let padded = Zeroizing::new(padded);
        debug_assert_eq!(length, ENTROPY_BYTES);
        let mut entropy = Zeroizing::new([0; ENTROPY_BYTES]);
        entropy.copy_from_slice(&padded[..ENTROPY_BYTES]);
        Ok(Self { entropy })
    }

    /// The words, with single spaces between them. To be shown once, and kept by nobody but the person.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        let mnemonic =
            Mnemonic::from_entropy_in(Language::English, &*self.entropy).expect("32 bytes are a valid length");
        // No word is longer than eight letters: with room for all, no copy of a part is left behind.
        let mut words = Zeroizing::new(String::with_capacity(Self::WORDS * 9));
        for word in mnemonic.words() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        words
    }

    /// The identity key of the person.
    #[must_use]
    pub fn person_key(&self) -> PersonKey {
        PersonKey::from_seed(kdf::derive(labels::RECOVERY_PERSON_SEED, &[&*self.entropy]))
    }

    /// The key that brings a new device in.
    #[must_use]
    pub fn recovery_key(&self) -> RecoveryKey {
        RecoveryKey::from_seed(kdf::derive(labels::RECOVERY_KEY_SEED, &[&*self.entropy]))
    }

    /// The key under which an export of the account is sealed.
    #[must_use]
    pub fn export_key(&self) -> VaultKey {
        VaultKey::from_bytes(kdf::derive(labels::RECOVERY_EXPORT_KEY, &[&*self.entropy]))
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;
    use crate::{CryptoError, Domain};

    fn of(hex: &str) -> RecoveryPhrase {
        let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
        RecoveryPhrase { entropy: Zeroizing::new(bytes.try_into().unwrap()) }
    }

    /// The vectors with 24 words of the reference implementation (trezor/python-mnemonic, vectors.json).
    #[test]
    fn words_are_those_of_the_published_vectors() {
        for (entropy, words) in [
            (
                "0000000000000000000000000000000000000000000000000000000000000000",
                "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
            ),
            (
                "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
                "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title",
            ),
            (
                "8080808080808080808080808080808080808080808080808080808080808080",
                "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
            ),
            (
                "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
            ),
            (
                "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
                "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel tennis maple dilemma loan word shrug inflict delay length",
            ),
            (
                "9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863",
                "panda eyebrow bullet gorilla call smoke muffin taste mesh discover soft ostrich alcohol speed nation flash devote level hobby quick inner drive ghost inside",
            ),
        ] {
            assert_eq!(*of(entropy).words(), words);
            assert_eq!(HEXLOWER.encode(&*RecoveryPhrase::parse(words).expect("a phrase").entropy), entropy);
        }
    }

    #[test]
    fn typing_may_be_untidy() {
        let phrase = RecoveryPhrase::generate(&mut Entropy::from_seed([1; 32]));
        let untidy = format!("\n  {}\t ", phrase.words().to_uppercase().replace(' ', " \n "));
        assert_eq!(RecoveryPhrase::parse(&untidy).expect("a phrase").entropy, phrase.entropy);
    }

    #[test]
    fn what_is_no_phrase_is_refused_with_what_to_look_at() {
        let words = RecoveryPhrase::generate(&mut Entropy::from_seed([1; 32])).words();
        let mut list: Vec<&str> = words.split(' ').collect();
        let refused = |list: &[&str]| RecoveryPhrase::parse(&list.join(" ")).err().expect("refused");

        assert_eq!(refused(&list[1..]), PhraseError::WordCount(23));
        assert_eq!(refused(&list[..12]), PhraseError::WordCount(12), "valid elsewhere, but half as strong");
        assert_eq!(refused(&[]), PhraseError::WordCount(0));
        assert_ne!(list[0], list[1]);
        list.swap(0, 1);
        assert_eq!(refused(&list), PhraseError::Checksum);
        list.swap(0, 1);
        list[6] = "clave";
        assert_eq!(refused(&list), PhraseError::UnknownWord(7));
    }

    #[test]
    fn what_a_person_reads_says_what_to_do() {
        for (error, text) in [
            (PhraseError::WordCount(23), "a recovery phrase has 24 words, and this has 23: type all of them, in order"),
            (
                PhraseError::UnknownWord(7),
                "word 7 is not one of those that recovery phrases are made of: check its spelling",
            ),
            (
                PhraseError::Checksum,
                "these words do not make a recovery phrase: one is wrong or out of place, compare them with what you wrote \
                 down",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn each_key_is_for_one_use() {
        let phrase = RecoveryPhrase::generate(&mut Entropy::from_seed([1; 32]));
        let other = RecoveryPhrase::generate(&mut Entropy::from_seed([2; 32]));
        let keys = |phrase: &RecoveryPhrase| {
            let export = **phrase.export_key().as_bytes();
            [*phrase.person_key().id().as_bytes(), *phrase.recovery_key().public().as_bytes(), export]
        };
        let all: std::collections::BTreeSet<_> = [keys(&phrase), keys(&other)].concat().into_iter().collect();
        assert_eq!(all.len(), 6);

        let signature = phrase.recovery_key().sign(Domain::Recovery, b"device");
        let id = phrase.recovery_key().public();
        id.verify(Domain::Recovery, b"device", &signature).expect("its own");
        assert_eq!(id.verify(Domain::Recovery, b"another", &signature), Err(CryptoError::BadSignature));
        assert_eq!(id.verify(Domain::DeviceCertificate, b"device", &signature), Err(CryptoError::BadSignature));
        let forged = other.recovery_key().public().verify(Domain::Recovery, b"device", &signature);
        assert_eq!(forged, Err(CryptoError::BadSignature));
    }

    /// People keep phrases for decades: what derives from one can never change.
    #[test]
    fn the_keys_of_a_phrase_are_fixed() {
        let phrase = of("68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c");
        assert_eq!(
            HEXLOWER.encode(phrase.person_key().id().as_bytes()),
            "1a5598737e4002189705d9ce6ddefeeee75c21a6d53197f9360a6ef1f10fed70"
        );
        assert_eq!(
            HEXLOWER.encode(phrase.recovery_key().public().as_bytes()),
            "e29de9d3ea809dc0f8814b1883627954e6a9eda12e8118258087270bbdfeb48d"
        );
        assert_eq!(
            HEXLOWER.encode(&**phrase.export_key().as_bytes()),
            "f7964763436a9a9539ccb4f8a41f64c32338f7d20b3f14cd681f12ac76c13881"
        );
    }
}
