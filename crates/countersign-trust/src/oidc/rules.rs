//! Rules over claims.

use serde::{Deserialize, Serialize};

use super::{Claims, Difference};

/// A rule over one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The claim's name.
    pub claim: String,
    /// What is asked of it.
    #[serde(flatten)]
    pub test: Test,
}

/// What is asked of a claim. All but [`Test::NoneOf`] refuse a token that lacks the claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "test", content = "value", rename_all = "kebab-case")]
pub enum Test {
    /// This text, byte for byte.
    Equal(String),
    /// This text; ASCII letters may differ in case.
    EqualIgnoringCase(String),
    /// One of these texts, byte for byte.
    OneOf(Vec<String>),
    /// A pattern: `*` is any run of characters, everything else is itself.
    Pattern(String),
    /// A pattern whose ASCII letters may differ in case.
    PatternIgnoringCase(String),
    /// Where the claim is there, it fits none of these patterns.
    NoneOf(Vec<String>),
    /// `OWNER/REPOSITORY/PATH[@REF]` or `HOST/PROJECT//PATH[@REF]`: the part before the path may differ in case.
    File(String),
}

/// Holds claims against rules: one outcome per rule, in order, matched or not.
pub fn evaluate(_rules: &[Rule], _claims: &Claims) -> Vec<Difference> {
    Vec::new()
}

/// Whether all matched. False for an empty list: no rule, no match.
pub fn matches(outcomes: &[Difference]) -> bool {
    !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.matched)
}
