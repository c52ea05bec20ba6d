//! Messages as people write them, made up: the same ones on every run.
//!
//! Words fall by Zipf's law from a vocabulary of 50,000 (Latin) or 30,000 (Chinese, most of two characters, those by Zipf's law
//! from 5,000); a message has 1 to 40 words, 11 on average, or 1 to 30 Chinese ones, 9 on average.

/// splitmix64 (Steele, Lea and Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Draws places by Zipf's law with exponent 1.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: u32) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Self(sums.collect())
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = random.share() * self.0.last().expect("there is one");
        self.0.partition_point(|sum| *sum < at).min(self.0.len() - 1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Three messages of four in Latin letters, one of four in Chinese.
    Both,
    Latin,
    Chinese,
}

pub struct Corpus {
    script: Script,
    random: Random,
    latin: (Vec<String>, Zipf),
    chinese: (Vec<String>, Zipf),
}

impl Corpus {
    pub fn new(script: Script) -> Self {
        let mut random = Random(1);
        let latin = (0..50_000).map(|rank| latin_word(rank, &mut random)).collect();
        let characters = Zipf::new(5_000);
        let chinese = (0..30_000).map(|_| chinese_word(&characters, &mut random)).collect();
        Self { script, random, latin: (latin, Zipf::new(50_000)), chinese: (chinese, Zipf::new(30_000)) }
    }

    pub fn message(&mut self) -> String {
        let random = &mut self.random;
        let is_latin = match self.script {
            Script::Both => random.below(4) > 0,
            script => script == Script::Latin,
        };
        // Many short ones, few long ones.
        let length = |mean: f64, most: usize, random: &mut Random| {
            ((-(1.0 - random.share()).ln() * mean) as usize + 1).min(most)
        };
        if is_latin {
            let count = length(11.0, 40, random);
            let words = (0..count).map(|_| self.latin.0[self.latin.1.draw(random)].as_str());
            return words.collect::<Vec<_>>().join(" ");
        }
        let count = length(9.0, 30, random);
        let mut text = String::new();
        for place in 0..count {
            if place % 6 == 5 {
                text.push('，');
            }
            text.push_str(&self.chinese.0[self.chinese.1.draw(random)]);
        }
        text
    }
}

fn latin_word(rank: u32, random: &mut Random) -> String {
    const CONSONANTS: &[u8] = b"bcdfghjklmnprstvwz";
    const VOWELS: &[u8] = b"aeiou";
    // The more often a word is used, the shorter it is.
    let letters = 2 + u64::from(rank.max(1).ilog2()) / 3 + random.below(5);
    let letter = |place: u64| {
        let of = if place.is_multiple_of(2) { CONSONANTS } else { VOWELS };
        of[random.below(of.len() as u64) as usize] as char
    };
    (0..letters).map(letter).collect()
}

fn chinese_word(characters: &Zipf, random: &mut Random) -> String {
    let length = [1, 2, 2, 2, 2, 2, 3, 4][random.below(8) as usize];
    let character = |_| char::from_u32(0x4e00 + characters.draw(random) as u32 * 4).expect("Han starts at U+4E00");
    (0..length).map(character).collect()
}

/// One to three words of a message; of a Chinese one, two to four characters that stand together each.
pub fn query(message: &str, random: &mut Random) -> String {
    let count = 1 + random.below(3);
    if message.is_ascii() {
        let words: Vec<&str> = message.split(' ').collect();
        let words = (0..count).map(|_| words[random.below(words.len() as u64) as usize]);
        return words.collect::<Vec<_>>().join(" ");
    }
    let parts: Vec<Vec<char>> = message.split('，').map(|part| part.chars().collect()).collect();
    let word = |_| {
        let part = &parts[random.below(parts.len() as u64) as usize];
        let length = (2 + random.below(3) as usize).min(part.len());
        let first = random.below((part.len() - length + 1) as u64) as usize;
        part[first..first + length].iter().collect::<String>()
    };
    (0..count).map(word).collect::<Vec<_>>().join(" ")
}
