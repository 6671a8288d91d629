//! SHA-256 of many short messages. Where the processor has AVX-512, sixteen of them are hashed at once, each in its own lane of
//! the registers, which takes about half the time of its instructions for SHA-256; elsewhere one after the other.

use super::Sha256;

/// FIPS 180-4 section 5.3.3.
const BEGIN: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

type Block = [u8; 64];

/// So many messages are hashed together.
const AT_ONCE: usize = 16;

fn finished(state: [u32; 8]) -> Sha256 {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    Sha256(digest)
}

/// A message that is cut into blocks while it is hashed (FIPS 180-4 section 5.1.1).
pub(crate) trait Message: Copy {
    /// How many blocks it has, with its end mark and its length.
    fn blocks(&self) -> usize;

    /// One of them, as it lies in the message or as it was put together in `made`.
    fn block<'b>(&'b self, number: usize, made: &'b mut Block) -> &'b Block;

    /// Its digest.
    fn digest(&self) -> Sha256 {
        let mut state = BEGIN;
        for number in 0..self.blocks() {
            let block = *self.block(number, &mut [0; 64]);
            sha2::block_api::compress256(&mut state, &[block]);
        }
        finished(state)
    }
}

/// The message of [`prefixed`].
#[derive(Clone, Copy)]
pub(crate) struct Prefixed<'a, const P: usize> {
    prefix: &'a [u8; P],
    body: &'a [u8],
}

/// The message `prefix` ‖ `body`.
pub(crate) fn prefixed<'a, const P: usize>(prefix: &'a [u8; P], body: &'a [u8]) -> Prefixed<'a, P> {
    Prefixed { prefix, body }
}

impl<const P: usize> Message for Prefixed<'_, P> {
    #[inline]
    fn blocks(&self) -> usize {
        // The mark and eight bytes of length stand behind the body.
        (P + self.body.len() + 9).div_ceil(64)
    }

    #[inline]
    fn block<'b>(&'b self, number: usize, made: &'b mut Block) -> &'b Block {
        const { assert!(P < 64, "the first block has some of the body") };
        let length = self.body.len();
        if number == 0 {
            let (prefix, begin) = made.split_at_mut(P);
            prefix.copy_from_slice(self.prefix);
            match self.body.get(..64 - P) {
                Some(body) => begin.copy_from_slice(body),
                None => {
                    begin.fill(0);
                    begin[..length].copy_from_slice(self.body);
                    begin[length] = 0x80;
                }
            }
        } else {
            let rest = self.body.get(number * 64 - P..).unwrap_or_default();
            match rest.first_chunk() {
                Some(block) => return block,
                None => {
                    made.fill(0);
                    made[..rest.len()].copy_from_slice(rest);
                    if number * 64 <= P + length {
                        made[rest.len()] = 0x80;
                    }
                }
            }
        }
        if number + 1 == self.blocks() {
            let bits = (P as u64 + length as u64) * 8;
            made[56..].copy_from_slice(&bits.to_be_bytes());
        }
        made
    }
}

/// The message of [`joined`]: always two blocks.
#[derive(Clone, Copy)]
pub(crate) struct Joined<'a, const P: usize> {
    prefix: [u8; P],
    left: &'a Sha256,
    right: &'a Sha256,
}

/// The message `prefix` ‖ `left` ‖ `right`.
pub(crate) fn joined<'a, const P: usize>(
    prefix: [u8; P],
    left: &'a Sha256,
    right: &'a Sha256,
) -> Joined<'a, P> {
    Joined {
        prefix,
        left,
        right,
    }
}

impl<const P: usize> Message for Joined<'_, P> {
    #[inline]
    fn blocks(&self) -> usize {
        2
    }

    /// Both blocks at once.
    #[inline]
    fn digest(&self) -> Sha256 {
        let (mut state, mut blocks) = (BEGIN, [[0; 64]; 2]);
        for (number, made) in blocks.iter_mut().enumerate() {
            self.block(number, made);
        }
        sha2::block_api::compress256(&mut state, &blocks);
        finished(state)
    }

    #[inline]
    fn block<'b>(&'b self, number: usize, made: &'b mut Block) -> &'b Block {
        const {
            assert!(
                P <= 32,
                "the first block has the left one and some of the right one"
            )
        };
        let (within, over) = self.right.0.split_at(32 - P);
        if number == 0 {
            made[..P].copy_from_slice(&self.prefix);
            made[P..P + 32].copy_from_slice(&self.left.0);
            made[P + 32..].copy_from_slice(within);
        } else {
            // What is left over, the end mark, and the length in bits.
            *made = [0; 64];
            made[..P].copy_from_slice(over);
            made[P] = 0x80;
            made[62..].copy_from_slice(&((P as u16 + 64) * 8).to_be_bytes());
        }
        made
    }
}

/// The digests of messages, in their order.
#[inline]
pub(crate) fn digests<M: Message>(
    messages: impl IntoIterator<Item = M>,
    mut take: impl FnMut(Sha256),
) {
    let mut messages = messages.into_iter();
    while let Some(first) = messages.next() {
        let mut together = [first; AT_ONCE];
        let mut count = 1;
        for (place, message) in together[1..].iter_mut().zip(&mut messages) {
            *place = message;
            count += 1;
        }
        let together = &together[..count];
        // Without optimisation, lanes are many times slower than the library, which is always optimised.
        let in_lanes = if cfg!(debug_assertions) {
            None
        } else {
            lanes::digests(together)
        };
        match in_lanes {
            Some(digests) => digests.into_iter().take(count).for_each(&mut take),
            None => together.iter().for_each(|message| take(message.digest())),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod lanes {
    pub(super) fn digests<M>(_: &[M]) -> Option<[super::Sha256; super::AT_ONCE]> {
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod lanes {
    use fearless_simd::{Avx512, Bytes as _, Level, Simd as _, SimdFrom as _, u8x64, u32x16};

    use super::{AT_ONCE, BEGIN, Block, Message, Sha256, finished};

    /// One word of each lane.
    type Words = u32x16<Avx512>;

    /// A step of all lanes takes as long as so many blocks one after the other.
    const WORTH: usize = 10;

    /// The digests of up to sixteen messages, where the processor can hash them in lanes and that is worth it.
    pub(super) fn digests<M: Message>(messages: &[M]) -> Option<[Sha256; AT_ONCE]> {
        let steps = messages.iter().map(M::blocks).max()?;
        let blocks: usize = messages.iter().map(M::blocks).sum();
        if blocks < steps.checked_mul(WORTH)? {
            return None;
        }
        let simd = Level::new().as_avx512()?;
        Some(simd.vectorize(
            #[inline(always)]
            || in_lanes(simd, messages, steps),
        ))
    }

    #[inline(always)]
    fn in_lanes<M: Message>(simd: Avx512, messages: &[M], steps: usize) -> [Sha256; AT_ONCE] {
        let mut digests = [Sha256([0; 32]); AT_ONCE];
        let mut state = BEGIN.map(
            #[inline(always)]
            |word| Words::simd_from(simd, word),
        );
        for step in 0..steps {
            let mut rows = [Words::simd_from(simd, 0); AT_ONCE];
            for (row, message) in rows.iter_mut().zip(messages) {
                // A message that is at its end has its digest; what its lane does is of no interest.
                if step < message.blocks() {
                    let mut made = [0; 64];
                    *row = words_of(simd, message.block(step, &mut made));
                }
            }
            compress(simd, &mut state, transposed(simd, rows));
            if messages.iter().all(|message| message.blocks() != step + 1) {
                continue;
            }
            let words: [[u32; AT_ONCE]; 8] = state.map(
                #[inline(always)]
                |words| *words,
            );
            for (lane, message) in messages.iter().enumerate() {
                if message.blocks() == step + 1 {
                    digests[lane] = finished(std::array::from_fn(
                        #[inline(always)]
                        |word| words[word][lane],
                    ));
                }
            }
        }
        digests
    }

    /// The words of a block, which are big-endian.
    #[inline(always)]
    fn words_of(simd: Avx512, block: &Block) -> Words {
        const TURNED: [u8; 64] = {
            let mut turned = [0; 64];
            let mut at = 0;
            while at < 64 {
                // Within sixteen bytes.
                turned[at] = ((at ^ 3) % 16) as u8;
                at += 1;
            }
            turned
        };
        let bytes = u8x64::simd_from(simd, *block);
        let turned = u8x64::simd_from(simd, TURNED);
        simd.swizzle_dyn_within_blocks_u8x64(bytes, turned)
            .bitcast()
    }

    /// Words by lanes from lanes by words. The place of a word has four bits for its row and four for its column; each round of
    /// shuffling turns these eight by one.
    #[inline(always)]
    fn transposed(simd: Avx512, mut rows: [Words; 16]) -> [Words; 16] {
        for _ in 0..4 {
            rows = std::array::from_fn(
                #[inline(always)]
                |at| {
                    let (one, other) = (rows[at / 2], rows[at / 2 + 8]);
                    if at % 2 == 0 {
                        simd.zip_low_u32x16(one, other)
                    } else {
                        simd.zip_high_u32x16(one, other)
                    }
                },
            );
        }
        rows
    }

    #[inline(always)]
    fn turned<const RIGHT: u32, const LEFT: u32>(words: Words) -> Words {
        const { assert!(RIGHT + LEFT == 32) };
        (words >> RIGHT) | (words << LEFT)
    }

    /// FIPS 180-4 section 6.2.2, written out so that state and words stay in registers.
    #[inline(always)]
    fn compress(simd: Avx512, state: &mut [Words; 8], mut w: [Words; 16]) {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        macro_rules! schedule {
            ($($at:literal)*) => { $(
                let (near, far) = (w[($at + 1) & 15], w[($at + 14) & 15]);
                let small_0 = turned::<7, 25>(near) ^ turned::<18, 14>(near) ^ (near >> 3);
                let small_1 = turned::<17, 15>(far) ^ turned::<19, 13>(far) ^ (far >> 10);
                w[$at] = w[$at] + small_0 + w[($at + 9) & 15] + small_1;
            )* };
        }
        macro_rules! round {
            ($from:expr, $at:literal, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
                let big_1 = turned::<6, 26>($e) ^ turned::<11, 21>($e) ^ turned::<25, 7>($e);
                let choice = $g ^ ($e & ($f ^ $g));
                let constant = Words::simd_from(simd, ROUNDS[$from + $at]);
                let one = $h + big_1 + choice + constant + w[$at];
                let big_0 = turned::<2, 30>($a) ^ turned::<13, 19>($a) ^ turned::<22, 10>($a);
                let majority = ($a & $b) | ($c & ($a | $b));
                $d += one;
                $h = one + big_0 + majority;
            };
        }
        for from in [0, 16, 32, 48] {
            if from > 0 {
                schedule!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            }
            round!(from, 0, a b c d e f g h);
            round!(from, 1, h a b c d e f g);
            round!(from, 2, g h a b c d e f);
            round!(from, 3, f g h a b c d e);
            round!(from, 4, e f g h a b c d);
            round!(from, 5, d e f g h a b c);
            round!(from, 6, c d e f g h a b);
            round!(from, 7, b c d e f g h a);
            round!(from, 8, a b c d e f g h);
            round!(from, 9, h a b c d e f g);
            round!(from, 10, g h a b c d e f);
            round!(from, 11, f g h a b c d e);
            round!(from, 12, e f g h a b c d);
            round!(from, 13, d e f g h a b c);
            round!(from, 14, c d e f g h a b);
            round!(from, 15, b c d e f g h a);
        }
        for (state, words) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *state += words;
        }
    }

    /// FIPS 180-4 section 4.2.2.
    const ROUNDS: [u32; 64] = [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_joined_digests_are_those_of_their_bytes() {
        for count in 0..40_u8 {
            let parts = |seed: u8| (Sha256::of(&[seed]), Sha256::of(&[seed, 1]));
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            let all: Vec<(Sha256, Sha256)> = (0..count).map(parts).collect();
            let messages = (0..count).zip(&all);
            let messages = messages.map(|(seed, (left, right))| joined([seed, 7], left, right));
            digests(messages, |digest| found.push(digest));
            for seed in 0..count {
                let (left, right) = parts(seed);
                expected.push(Sha256::of_parts(&[&[seed, 7], &left.0, &right.0]));
                for (found, prefix) in [
                    (joined([seed], &left, &right).digest(), &[seed][..]),
                    (joined([seed; 32], &left, &right).digest(), &[seed; 32]),
                ] {
                    assert_eq!(found, Sha256::of_parts(&[prefix, &left.0, &right.0]));
                }
            }
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn digests_of_bodies_of_every_length_are_those_of_their_bytes() {
        let bytes: Vec<u8> = (0..900_u32).map(|at| (at * 7 % 251) as u8).collect();
        // Neighbours of nearly the same and of very different lengths, and numbers of them that fill the lanes or do not.
        for (from, step) in [(0, 17), (5, 129), (880, 1), (899, 1)] {
            let lengths = (from..900).step_by(step);
            let alike: Vec<&[u8]> = lengths.clone().map(|length| &bytes[..length]).collect();
            let mixed: Vec<&[u8]> = lengths
                .flat_map(|length| [&bytes[..length], &bytes[length..]])
                .collect();
            for bodies in [alike, mixed] {
                let (mut short, mut long) = (Vec::new(), Vec::new());
                let messages = bodies.iter().map(|body| prefixed(&[9], body));
                digests(messages, |digest| short.push(digest));
                let messages = bodies.iter().map(|body| prefixed(&[9; 26], body));
                digests(messages, |digest| long.push(digest));
                let expected = |prefix: &[u8]| -> Vec<Sha256> {
                    let bodies = bodies.iter();
                    bodies
                        .map(|body| Sha256::of_parts(&[prefix, body]))
                        .collect()
                };
                assert_eq!(short, expected(&[9]));
                // What builds with optimisation do, where this processor can.
                let messages: Vec<_> = bodies.iter().map(|body| prefixed(&[9], body)).collect();
                for (messages, expected) in messages.chunks(AT_ONCE).zip(short.chunks(AT_ONCE)) {
                    if let Some(found) = lanes::digests(messages) {
                        assert_eq!(&found[..expected.len()], expected);
                    }
                }
                assert_eq!(long, expected(&[9; 26]));
            }
        }
    }
}
