//! Look-alikes of protected names. Everything is asked from the new name's side: what a slip of the finger, a flipped bit or
//! a plausible word could have made of it is written out and looked up, so that a question costs as much beside a million
//! names as beside ten. Pure; it finds, and [`crate::policy`] decides.
//!
//! The slips are those of typosquats that were seen in the wild, by the crate `typomania`; what else is one edit away, or
//! wears a common word, is told with less weight.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use countersign_formats::Ecosystem;
use serde::{Deserialize, Serialize};
use typomania::checks::{
    Check, Omitted, Repeated, Squat, SwappedCharacters, SwappedWords, Typos, Version,
};
use typomania::{AuthorSet, Package};

/// Characters that keys are made of, besides the marks of a scope.
const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789-";
/// Shorter names are all near each other: nothing is said about them.
const SHORTEST: usize = 4;
/// Of shorter names a slip is told, and nobody is held up by it.
const LONG_ENOUGH: usize = 5;
/// Names with more words are not tried in every order: their number grows faster than anybody squats.
const MOST_WORDS: usize = 5;
/// The longest name that is looked at, in bytes. What is longer is nobody's slip.
const LONGEST: usize = 214;
/// Of each list so many first names are also protected two edits away, where they are long.
const WELL_KNOWN: usize = 2_000;
/// From this length on.
const LONG: usize = 10;
/// So many hits are told of one name.
const MOST_HITS: usize = 8;

/// Keys that lie beside each other, or are taken for each other.
const NEIGHBOURS: [(char, &str); 26] = [
    ('a', "qwszx"),
    ('b', "vghn"),
    ('c', "xdfv"),
    ('d', "serfcx"),
    ('e', "wsdr34"),
    ('f', "drtgvc"),
    ('g', "ftyhbv9q"),
    ('h', "gyujnb"),
    ('i', "ujko89l1"),
    ('j', "huikmn"),
    ('k', "jiolm"),
    ('l', "kopi1"),
    ('m', "njk"),
    ('n', "bhjm"),
    ('o', "iklp90"),
    ('p', "ol0"),
    ('q', "wag"),
    ('r', "edft45"),
    ('s', "awedxz5"),
    ('t', "rfgy56"),
    ('u', "yhji78v"),
    ('v', "cfgbu"),
    ('w', "qase23"),
    ('x', "zsdc"),
    ('y', "tghu67"),
    ('z', "asx2"),
];

/// What is read as one letter and written as two, each way.
const READ_ALIKE: [(&str, &str); 3] = [("rn", "m"), ("vv", "w"), ("cl", "d")];

/// Words that stand before or after a name and say nothing: in each ecosystem others are common.
fn affixes(ecosystem: Ecosystem) -> &'static [&'static str] {
    match ecosystem {
        Ecosystem::Pypi => &[
            "py", "python", "python3", "lib", "api", "cli", "core", "dev", "sdk", "client",
            "utils", "tools", "plain", "real", "official", "2", "3",
        ],
        Ecosystem::Npm => &[
            "js", "node", "nodejs", "npm", "ts", "lib", "api", "cli", "core", "dev", "sdk",
            "client", "utils", "tools", "plain", "real", "official",
        ],
        Ecosystem::Cargo => &[
            "rs", "rust", "cargo", "sys", "lib", "api", "cli", "core", "dev", "sdk", "client",
            "utils", "tools", "plain", "real", "official",
        ],
    }
}

/// What follows where a new name looks like a protected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// People see it.
    Flag,
    /// What is published is held until somebody decided.
    Hold,
    /// It is not founded.
    Refuse,
}

impl Tier {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "flag" => Ok(Self::Flag),
            "hold" => Ok(Self::Hold),
            "refuse" => Ok(Self::Refuse),
            _ => Err(format!("{text:?} is no tier; use flag, hold or refuse")),
        }
    }
}

/// How a name comes to look like another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// A character is missing.
    Omitted,
    /// A character is there twice.
    Repeated,
    /// Two characters changed places.
    Swapped,
    /// The words stand in another order, or with another mark between them.
    Words,
    /// A key beside the right one was hit, or one that reads like it.
    Typo,
    /// One bit of memory is wrong.
    Bitflip,
    /// Only marks differ, or characters that look alike.
    Skeleton,
    /// A number stands behind it.
    Version,
    /// A common word stands before or behind it.
    Affix,
    /// Another single edit.
    OneEdit,
    /// Two edits of a long name.
    TwoEdits,
}

impl Way {
    /// In words, as `NAME … OTHER`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Omitted => "leaves out a character of",
            Self::Repeated => "repeats a character of",
            Self::Swapped => "swaps two characters of",
            Self::Words => "puts in another order the words of",
            Self::Typo => "is one slip of a finger from",
            Self::Bitflip => "is one wrong bit away from",
            Self::Skeleton => "reads the same as",
            Self::Version => "adds a number to",
            Self::Affix => "adds a common word to",
            Self::OneEdit => "is one edit away from",
            Self::TwoEdits => "is two edits away from",
        }
    }

    /// What it leads to by itself.
    fn tier(self) -> Tier {
        match self {
            Self::Omitted
            | Self::Repeated
            | Self::Swapped
            | Self::Words
            | Self::Typo
            | Self::Bitflip
            | Self::Skeleton => Tier::Hold,
            Self::Version | Self::Affix | Self::OneEdit | Self::TwoEdits => Tier::Flag,
        }
    }
}

/// A protected name that a new one looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// The key of the protected name.
    pub other: String,
    /// How.
    pub way: Way,
    /// What it leads to.
    pub tier: Tier,
}

/// Names of one ecosystem that are protected from look-alikes.
pub struct Corpus {
    names: HashMap<Box<str>, Protected>,
    /// Of long names at the head of a list: presence of letters, and the name.
    known: Vec<(u64, Box<str>)>,
    slips: Vec<Box<dyn Check>>,
    affixes: &'static [&'static str],
}

impl fmt::Debug for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Corpus({} names)", self.names.len())
    }
}

/// A protected name: the most that looking like it leads to. Who may use it is asked where rights are known, so nobody
/// is its author here.
#[derive(Clone, Copy)]
struct Protected(Tier);

impl AuthorSet for Protected {
    fn contains(&self, _author: &str) -> bool {
        false
    }
}

impl Package for Protected {
    fn authors(&self) -> &dyn AuthorSet {
        self
    }

    fn description(&self) -> Option<&str> {
        None
    }

    fn shared_authors(&self, _other: &dyn AuthorSet) -> bool {
        false
    }
}

impl typomania::Corpus for Corpus {
    fn contains_name(&self, name: &str) -> typomania::Result<bool> {
        Ok(self.names.contains_key(name))
    }

    fn get(&self, name: &str) -> typomania::Result<Option<&dyn Package>> {
        Ok(self.names.get(name).map(|found| found as &dyn Package))
    }

    fn possible_squat(
        &self,
        corpus_name: &str,
        package_name: &str,
        _package: &dyn Package,
    ) -> typomania::Result<bool> {
        Ok(corpus_name != package_name && self.names.contains_key(corpus_name))
    }
}

impl Corpus {
    /// A corpus of keys, the best known of each list first, with the most that looking like one leads to. Of a name that
    /// stands there twice the harder tier holds.
    pub fn new(ecosystem: Ecosystem, names: impl IntoIterator<Item = (String, Tier)>) -> Self {
        let names = names.into_iter();
        let mut all: HashMap<Box<str>, Protected> = HashMap::with_capacity(names.size_hint().0);
        let mut known = Vec::new();
        for (name, tier) in names {
            match all.entry(name.into_boxed_str()) {
                Entry::Occupied(mut there) => {
                    if tier > there.get().0 {
                        there.insert(Protected(tier));
                    }
                }
                Entry::Vacant(free) => {
                    if known.len() < WELL_KNOWN && free.key().len() >= LONG {
                        known.push((letters(free.key()), free.key().clone()));
                    }
                    free.insert(Protected(tier));
                }
            }
        }
        let typos = NEIGHBOURS.iter().map(|(letter, beside)| {
            let mut slips: Vec<String> = beside.chars().map(String::from).collect();
            let read = READ_ALIKE.iter();
            let read = read.filter(|(_, one)| one.starts_with(*letter));
            slips.extend(read.map(|(two, _)| (*two).to_owned()));
            (*letter, slips)
        });
        Self {
            names: all,
            known,
            slips: vec![
                Box::new(Omitted::new(ALPHABET)),
                Box::new(Repeated),
                Box::new(SwappedCharacters),
                Box::new(Typos::new(typos)),
                Box::new(Version),
            ],
            affixes: affixes(ecosystem),
        }
    }

    /// How many names it protects.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// It protects none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Is this very key protected?
    pub fn has(&self, key: &str) -> bool {
        self.names.contains_key(key)
    }

    /// The protected names that a key looks like, the weightiest first; each once, by the weightiest way. None for a key that
    /// is protected itself.
    pub fn lookalikes(&self, key: &str) -> Vec<Hit> {
        // A scope is its owner's; what stands in it looks like nothing outside.
        let readable = key.is_ascii() && !key.starts_with('@');
        if self.is_empty() || !readable || !(SHORTEST..=LONGEST).contains(&key.len()) {
            return Vec::new();
        }
        if self.has(key) {
            return Vec::new();
        }
        let mut found: Vec<(Way, String)> = Vec::new();
        for slip in &self.slips {
            self.note(slip.as_ref(), key, &mut found);
        }
        let words = key.split('-').count();
        if (2..=MOST_WORDS).contains(&words) {
            self.note(&SwappedWords::new("-"), key, &mut found);
        }
        self.bits(key, &mut found);
        self.separators(key, &mut found);
        self.affixed(key, &mut found);
        self.edits(key, &mut found);
        let mut hits: Vec<Hit> = found
            .into_iter()
            .filter_map(|(way, other)| {
                let short = key.len().min(other.len()) < LONG_ENOUGH;
                // Below the length where edits mean something only what a keyboard does is told.
                if short && way.tier() == Tier::Flag {
                    return None;
                }
                let most = self.names.get(other.as_str())?.0;
                let tier = match (way.tier(), most) {
                    // Whoever protects a name so wants every single edit of it refused.
                    (tier, Tier::Refuse) if !short && way != Way::TwoEdits && way != Way::Affix => {
                        tier.max(Tier::Refuse)
                    }
                    (tier, most) => tier.min(most).min(Tier::Hold),
                };
                let tier = if short { Tier::Flag } else { tier };
                Some(Hit { other, way, tier })
            })
            .collect();
        hits.sort_by(|a, b| (b.tier, a.way, &a.other).cmp(&(a.tier, b.way, &b.other)));
        let mut seen = std::collections::HashSet::new();
        hits.retain(|hit| seen.insert(hit.other.clone()));
        hits.truncate(MOST_HITS);
        hits
    }

    fn note(&self, check: &dyn Check, key: &str, found: &mut Vec<(Way, String)>) {
        // The corpus answers from memory, and never fails.
        let Ok(squats) = check.check(self, key, &Protected(Tier::Flag)) else {
            return;
        };
        found.extend(squats.into_iter().map(|squat| match squat {
            Squat::OmittedCharacter(other) => (Way::Omitted, other),
            Squat::RepeatedCharacter(other) => (Way::Repeated, other),
            Squat::SwappedCharacters(other) => (Way::Swapped, other),
            Squat::SwappedWords(other) => (Way::Words, other),
            Squat::Typo(other) => (Way::Typo, other),
            Squat::Version(other) => (Way::Version, other),
            Squat::Bitflip(other) => (Way::Bitflip, other),
            Squat::Custom { package, .. } => (Way::OneEdit, package),
        }));
    }

    fn ask(&self, way: Way, bytes: &[u8], found: &mut Vec<(Way, String)>) {
        if let Ok(text) = std::str::from_utf8(bytes)
            && self.names.contains_key(text)
        {
            found.push((way, text.to_owned()));
        }
    }

    /// A flipped bit is as far from one side as from the other, so the new name's are tried: a list of all flips of all
    /// protected names would take gigabytes.
    fn bits(&self, key: &str, found: &mut Vec<(Way, String)>) {
        let mut bytes = key.as_bytes().to_vec();
        for at in 0..bytes.len() {
            for bit in 0..7 {
                bytes[at] ^= 1 << bit;
                if ALPHABET.as_bytes().contains(&bytes[at]) {
                    self.ask(Way::Bitflip, &bytes, found);
                }
                bytes[at] ^= 1 << bit;
            }
        }
    }

    /// The marks gone; one mark more in each place; two letters that read as one.
    fn separators(&self, key: &str, found: &mut Vec<(Way, String)>) {
        let bare: Vec<u8> = key
            .bytes()
            .filter(|b| !matches!(b, b'-' | b'_' | b'.'))
            .collect();
        if bare.len() != key.len() {
            self.ask(Way::Skeleton, &bare, found);
        }
        let mut longer = Vec::with_capacity(bare.len() + 1);
        for at in 1..bare.len() {
            longer.clear();
            longer.extend_from_slice(&bare[..at]);
            longer.push(b'-');
            longer.extend_from_slice(&bare[at..]);
            if longer != key.as_bytes() {
                self.ask(Way::Skeleton, &longer, found);
            }
        }
        for (two, one) in READ_ALIKE {
            for (at, _) in key.match_indices(two) {
                let other = format!("{}{one}{}", &key[..at], &key[at + two.len()..]);
                self.ask(Way::Typo, other.as_bytes(), found);
            }
        }
        // Digits for letters, as they are read.
        let read: Vec<u8> = key
            .bytes()
            .map(|b| match b {
                b'0' => b'o',
                b'1' => b'l',
                b'3' => b'e',
                b'5' => b's',
                other => other,
            })
            .collect();
        if read != key.as_bytes() {
            self.ask(Way::Skeleton, &read, found);
        }
    }

    fn affixed(&self, key: &str, found: &mut Vec<(Way, String)>) {
        for word in self.affixes {
            for rest in [key.strip_prefix(word), key.strip_suffix(word)]
                .into_iter()
                .flatten()
            {
                let bare = rest.trim_matches('-');
                // What is left must be a name by itself, and not a syllable.
                if bare.len() >= LONG_ENOUGH {
                    self.ask(Way::Affix, bare.as_bytes(), found);
                }
            }
        }
    }

    /// Every single edit, and two edits of the best known long names.
    fn edits(&self, key: &str, found: &mut Vec<(Way, String)>) {
        if key.len() < LONG_ENOUGH {
            return;
        }
        let bytes = key.as_bytes();
        let mut other = Vec::with_capacity(bytes.len() + 1);
        for at in 0..bytes.len() {
            other.clear();
            other.extend_from_slice(&bytes[..at]);
            other.extend_from_slice(&bytes[at + 1..]);
            self.ask(Way::OneEdit, &other, found);
            other.clear();
            other.extend_from_slice(bytes);
            for letter in ALPHABET.bytes().filter(|letter| *letter != bytes[at]) {
                other[at] = letter;
                self.ask(Way::OneEdit, &other, found);
            }
        }
        if bytes.len() < LONG {
            return;
        }
        let mine = letters(key);
        for (theirs, name) in &self.known {
            // Two edits bring in two letters and take out two at most.
            if name.len().abs_diff(bytes.len()) <= 2
                && (mine ^ theirs).count_ones() <= 4
                && strsim::osa_distance(name, key) == 2
            {
                found.push((Way::TwoEdits, name.to_string()));
            }
        }
    }
}

/// Which characters a name has, a bit for each.
fn letters(name: &str) -> u64 {
    name.bytes().fold(0, |set, byte| {
        let bit = match byte {
            b'a'..=b'z' => byte - b'a',
            b'0'..=b'9' => 26 + byte - b'0',
            _ => 36,
        };
        set | (1 << bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn corpus(ecosystem: Ecosystem, tier: Tier, names: &[&str]) -> Corpus {
        Corpus::new(
            ecosystem,
            names.iter().map(|name| ((*name).to_owned(), tier)),
        )
    }

    fn first(corpus: &Corpus, key: &str) -> Option<(String, Way, Tier)> {
        let hit = corpus.lookalikes(key).into_iter().next()?;
        Some((hit.other, hit.way, hit.tier))
    }

    #[test]
    fn each_way_is_seen_with_its_weight() {
        let pypi = corpus(
            Ecosystem::Pypi,
            Tier::Hold,
            &[
                "requests",
                "scikit-learn",
                "python-dateutil",
                "matplotlib",
                "boto",
                "tensorflow",
            ],
        );
        for (key, other, way, tier) in [
            ("reqests", "requests", Way::Omitted, Tier::Hold),
            ("requestss", "requests", Way::Repeated, Tier::Hold),
            ("reqeusts", "requests", Way::Swapped, Tier::Hold),
            ("learn-scikit", "scikit-learn", Way::Words, Tier::Hold),
            ("requesta", "requests", Way::Typo, Tier::Hold),
            ("rmatplotlib", "matplotlib", Way::OneEdit, Tier::Flag),
            ("rnatplotlib", "matplotlib", Way::Typo, Tier::Hold),
            ("requests2", "requests", Way::Version, Tier::Flag),
            ("requests-cli", "requests", Way::Affix, Tier::Flag),
            ("plain-requests", "requests", Way::Affix, Tier::Flag),
            ("scikitlearn", "scikit-learn", Way::Omitted, Tier::Hold),
            ("mat-plotlib", "matplotlib", Way::Skeleton, Tier::Hold),
            ("tensrflouw", "tensorflow", Way::TwoEdits, Tier::Flag),
        ] {
            let expected = Some((other.to_owned(), way, tier));
            assert_eq!(first(&pypi, key), expected, "{key}");
        }
        for key in [
            "requests",
            "flask",
            "req",
            "requez4s",
            "botox-thing",
            "@acme/requests",
            "reque\u{455}ts",
        ] {
            assert_eq!(first(&pypi, key), None, "{key}");
        }
        // The incidents that were seen as dependencies only.
        let cargo = corpus(Ecosystem::Cargo, Tier::Hold, &["proc-macro2"]);
        let (other, ..) = first(&cargo, "proc-macro1").unwrap();
        assert_eq!(other, "proc-macro2");
        let npm = corpus(
            Ecosystem::Npm,
            Tier::Hold,
            &["crypto-js", "lodash", "cross-env"],
        );
        assert_eq!(first(&npm, "plain-crypto-js").unwrap().1, Way::Affix);
        assert_eq!(first(&npm, "crossenv").unwrap().2, Tier::Hold);
        assert_eq!(first(&npm, "lodahs").unwrap().1, Way::Swapped);
    }

    #[test]
    fn a_list_says_the_most_that_follows() {
        let keys = ["reqeusts", "requests-cli", "requestk"];
        for (tier, expected) in [
            (Tier::Flag, [Tier::Flag, Tier::Flag, Tier::Flag]),
            (Tier::Hold, [Tier::Hold, Tier::Flag, Tier::Flag]),
            (Tier::Refuse, [Tier::Refuse, Tier::Flag, Tier::Refuse]),
        ] {
            let corpus = corpus(Ecosystem::Pypi, tier, &["requests"]);
            for (key, expected) in keys.iter().zip(expected) {
                assert_eq!(first(&corpus, key).unwrap().2, expected, "{tier} {key}");
            }
        }
        // Short names hold nobody up, whatever their list says.
        let short = corpus(Ecosystem::Pypi, Tier::Refuse, &["boto"]);
        assert_eq!(first(&short, "botoo").unwrap().2, Tier::Flag);
        let twice = Corpus::new(
            Ecosystem::Pypi,
            [
                ("numpy".to_owned(), Tier::Refuse),
                ("numpy".to_owned(), Tier::Flag),
            ],
        );
        assert_eq!(first(&twice, "numpi").unwrap().2, Tier::Refuse);
    }

    #[test]
    fn one_edit_is_told_exactly() {
        let corpus = corpus(Ecosystem::Pypi, Tier::Refuse, &["requests"]);
        for key in [
            "request",
            "rquests",
            "reqeusts",
            "requesta",
            "requestss",
            "xrequests",
            "re-quests",
        ] {
            assert_eq!(corpus.lookalikes(key).len(), 1, "{key}");
        }
        for key in ["requests", "reqeustz", "requ", "flaky-x"] {
            assert!(corpus.lookalikes(key).is_empty(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_is_answered(name in "\\PC{0,40}", long in "[a-z-]{200,400}") {
            let corpus = corpus(Ecosystem::Npm, Tier::Hold, &["requests", "a-b-c-d-e-f", "abc"]);
            for hit in corpus.lookalikes(&name).into_iter().chain(corpus.lookalikes(&long)) {
                prop_assert!(corpus.has(&hit.other));
            }
        }
    }
}
