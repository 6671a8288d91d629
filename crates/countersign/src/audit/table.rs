//! A table from hashes to numbers, for millions of them.

/// Stands where nothing stands.
const VACANT: u32 = u32::MAX;
/// The least places.
const LEAST: usize = 1 << 10;

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The two halves of the key, so that a place has 12 bytes.
    key: [u32; 2],
    number: u32,
}

const NOTHING: Place = Place {
    key: [0; 2],
    number: VACANT,
};

/// Numbers below 2^32 - 1 by the first eight bytes of a hash, several for one beginning if need be.
///
/// Hashes are as good as random already: their first bits say where they belong, and they stand there or in the next places
/// that were free. At least a third of the places is free, and at most two thirds after growing: 18 to 36 bytes a number.
/// Keys stand nearly in their order, so that growing goes through both tables from one end to the other.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<Place>,
    filled: usize,
}

/// The beginning of a hash as a key.
pub(super) fn beginning(hash: &[u8; 32]) -> u64 {
    let first = hash.first_chunk::<8>();
    first.map_or(0, |first| u64::from_be_bytes(*first))
}

fn halves(key: u64) -> [u32; 2] {
    [(key >> 32) as u32, key as u32]
}

impl Table {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Makes room for so many numbers.
    pub fn reserve(&mut self, numbers: usize) {
        let places = (numbers + numbers / 2 + 1).next_power_of_two().max(LEAST);
        if places <= self.places.len() {
            return;
        }
        let before = std::mem::replace(&mut self.places, vec![NOTHING; places]);
        for place in before.into_iter().filter(|place| place.number != VACANT) {
            self.put(place);
        }
    }

    fn home(&self, key: [u32; 2]) -> usize {
        let bits = self.places.len().trailing_zeros();
        let key = u64::from(key[0]) << 32 | u64::from(key[1]);
        (key >> (64 - bits)) as usize
    }

    fn put(&mut self, new: Place) {
        let mut at = self.home(new.key);
        while self.places[at].number != VACANT {
            at = (at + 1) & (self.places.len() - 1);
        }
        self.places[at] = new;
    }

    /// The first of the numbers under this key that is the right one.
    #[inline]
    pub fn find(&self, key: u64, is_right: impl Fn(u32) -> bool) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        let key = halves(key);
        let mut at = self.home(key);
        loop {
            let place = &self.places[at];
            if place.number == VACANT {
                return None;
            }
            if place.key == key && is_right(place.number) {
                return Some(place.number);
            }
            at = (at + 1) & (self.places.len() - 1);
        }
    }

    /// Adds a number.
    pub fn insert(&mut self, key: u64, number: u32) {
        debug_assert!(number != VACANT, "that number says that there is none");
        // There is always a free place, so that a search comes to an end.
        if (self.filled + 1) * 3 > self.places.len() * 2 {
            self.reserve(self.places.len());
        }
        self.put(Place {
            key: halves(key),
            number,
        });
        self.filled += 1;
    }

    /// All keys and their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        let filled = self.places.iter().filter(|place| place.number != VACANT);
        filled.map(|place| {
            let [high, low] = place.key;
            (u64::from(high) << 32 | u64::from(low), place.number)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        let mut table = Table::default();
        // Keys that belong to one place, to the last places, and to all of them.
        let keys: Vec<u64> = (0..5_000_u64)
            .map(|number| match number % 3 {
                0 => number,
                1 => u64::MAX - number,
                _ => number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            })
            .collect();
        for (number, key) in (0..).zip(&keys) {
            assert_eq!(table.find(*key, |_| true), None);
            table.insert(*key, number);
            assert_eq!(table.find(*key, |_| true), Some(number));
        }
        for (number, key) in (0..).zip(&keys) {
            assert_eq!(table.find(*key, |_| true), Some(number));
            assert_eq!(table.find(*key, |found| found != number), None);
        }
        table.insert(keys[7], 1_000_000);
        assert_eq!(table.find(keys[7], |_| true), Some(7));
        assert_eq!(table.find(keys[7], |found| found != 7), Some(1_000_000));
        let mut all: Vec<(u64, u32)> = table.iter().collect();
        assert_eq!((all.len(), table.len()), (5_001, 5_001));
        let mut expected: Vec<(u64, u32)> = keys.into_iter().zip(0..).collect();
        expected.push((expected[7].0, 1_000_000));
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }
}
