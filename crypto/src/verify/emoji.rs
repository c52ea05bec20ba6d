//! The pictures in which a short authentication string is shown.

/// Each with the word for it. Chosen to be told apart at a glance and over the phone, and to be drawn alike everywhere:
/// every one is a single code point that is a picture by default. The order is part of the protocol.
pub(super) const EMOJI: [(&str, &str); 64] = [
    ("🐶", "dog"),
    ("🐱", "cat"),
    ("🦁", "lion"),
    ("🐴", "horse"),
    ("🐷", "pig"),
    ("🐘", "elephant"),
    ("🐰", "rabbit"),
    ("🐼", "panda"),
    ("🐓", "rooster"),
    ("🐧", "penguin"),
    ("🐢", "turtle"),
    ("🐟", "fish"),
    ("🐙", "octopus"),
    ("🐝", "bee"),
    ("🐌", "snail"),
    ("🐸", "frog"),
    ("🌻", "sunflower"),
    ("🌵", "cactus"),
    ("🌲", "tree"),
    ("🍄", "mushroom"),
    ("🍎", "apple"),
    ("🍌", "banana"),
    ("🍓", "strawberry"),
    ("🌽", "corn"),
    ("🍕", "pizza"),
    ("🎂", "cake"),
    ("🧀", "cheese"),
    ("🥕", "carrot"),
    ("🍇", "grapes"),
    ("🍋", "lemon"),
    ("🍞", "bread"),
    ("🥚", "egg"),
    ("🔥", "fire"),
    ("🌈", "rainbow"),
    ("🌙", "moon"),
    ("🌍", "globe"),
    ("⛄", "snowman"),
    ("⚡", "lightning"),
    ("⭐", "star"),
    ("⌛", "hourglass"),
    ("⏰", "clock"),
    ("⚓", "anchor"),
    ("🚀", "rocket"),
    ("🚲", "bicycle"),
    ("🚂", "train"),
    ("🚜", "tractor"),
    ("🎈", "balloon"),
    ("🏠", "house"),
    ("🔑", "key"),
    ("🔨", "hammer"),
    ("💡", "lamp"),
    ("📖", "book"),
    ("🎸", "guitar"),
    ("🥁", "drum"),
    ("🎺", "trumpet"),
    ("🔔", "bell"),
    ("🎩", "hat"),
    ("👓", "glasses"),
    ("☔", "umbrella"),
    ("🎁", "gift"),
    ("👑", "crown"),
    ("🤖", "robot"),
    ("🎲", "dice"),
    ("💎", "diamond"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::EMOJI;

    #[test]
    fn no_two_look_or_sound_alike() {
        assert_eq!(EMOJI.iter().map(|(picture, _)| picture).collect::<BTreeSet<_>>().len(), 64);
        let words: BTreeSet<&str> = EMOJI.iter().map(|(_, word)| *word).collect();
        assert_eq!(words.len(), 64);
        for (picture, word) in EMOJI {
            assert_eq!(picture.chars().count(), 1, "{word} is one code point, without a variation selector");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word} is one plain word");
        }
    }
}
