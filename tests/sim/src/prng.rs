//! A small seeded generator (SplitMix64), so that the same seed makes the same world on every machine and in every version of every library.
//!
//! Not for secrets: the tokens that a simulator hands out are as predictable as its users, which is what lets a test name them.

/// A stream of numbers that depends on nothing but its seed.
#[derive(Debug, Clone)]
pub struct Prng(u64);

impl Prng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Prng {
        Prng(seed ^ 0x5157_1ce5_eed0_0001)
    }

    /// A stream of its own for one purpose, so that adding a draw in one place does not change the data of another.
    pub fn of(seed: u64, purpose: &str, index: u64) -> Prng {
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        for byte in purpose.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut prng = Prng::new(seed ^ state ^ index.wrapping_mul(0xd134_2543_de82_ef95));
        prng.next();
        prng
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end` (0 where `end` is 0).
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: i64, last: i64) -> i64 {
        let span = u64::try_from(last.saturating_sub(first)).unwrap_or(0).saturating_add(1);
        first.saturating_add(i64::try_from(self.below(span)).unwrap_or(0))
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of these.
    pub fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let at = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices.get(at).copied().unwrap_or_default()
    }

    /// So many lower-case hexadecimal digits.
    pub fn hex(&mut self, length: usize) -> String {
        self.letters(length, b"0123456789abcdef")
    }

    /// So many letters and digits.
    pub fn token(&mut self, length: usize) -> String {
        self.letters(length, b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    }

    fn letters(&mut self, length: usize, alphabet: &[u8]) -> String {
        let mut text = String::with_capacity(length);
        for _ in 0..length {
            let at = usize::try_from(self.below(alphabet.len() as u64)).unwrap_or(0);
            text.push(char::from(alphabet.get(at).copied().unwrap_or(b'0')));
        }
        text
    }
}
