//! Foreign bytes as they should not be: changed copies of good ones, the same in every run. For parsers that stand in crates too large to
//! be built with a fuzzer; what needs no more than a pure crate is fuzzed (`fuzz/`).

/// What is put in the place of a piece.
const PIECES: [&[u8]; 16] = [
    b"null",
    b"{}",
    b"[]",
    b"-1",
    b"0",
    b"1e400",
    b"18446744073709551616",
    b"\"\"",
    b"\"\\u0000\"",
    b"\"\\ud800\"",
    b"\"..\"",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"\n",
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];

/// Copies of `good`, each changed in one to four places.
pub fn mangled(good: &[u8], count: u64) -> impl Iterator<Item = Vec<u8>> {
    (1..=count).map(|number| {
        let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = good.to_vec();
        for _ in 0..=dice.below(4) {
            dice.change(&mut bytes);
        }
        bytes
    })
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        (word % bound.max(1) as u64) as usize
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let from = self.below(bytes.len() + 1);
        let until = (from + self.below(24)).min(bytes.len());
        match self.below(6) {
            0 => {
                if let Some(byte) = bytes.get_mut(from) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => drop(bytes.drain(from..until)),
            2 => {
                let piece = bytes[from..until].to_vec();
                bytes.splice(from..from, piece);
            }
            3 => bytes.truncate(from),
            _ => {
                let piece = PIECES[self.below(PIECES.len())];
                bytes.splice(from..until, piece.iter().copied());
            }
        }
    }
}
