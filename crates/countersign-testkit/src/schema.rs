//! JSON Schema, draft 7, as far as the schemas here use it. A word that is not known is an error: nothing is passed over.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

/// Schemas by their address.
pub struct Schemas {
    by_id: BTreeMap<String, Value>,
}

/// Words that say nothing about what holds.
const SILENT: [&str; 13] = [
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "definitions",
    "$defs",
    "meta:enum",
    "readOnly",
    "deprecated",
    "contentEncoding",
];
/// Words that are looked at beside others.
const BESIDE: [&str; 2] = ["then", "else"];

/// The address of OSV's schema.
pub const OSV: &str =
    "https://raw.githubusercontent.com/ossf/osv-schema/main/validation/schema.json";

/// OSV's own schema of an advisory, at [`OSV`].
///
/// # Panics
/// Never: it is part of this crate.
pub fn osv() -> Schemas {
    let text = include_str!("../schemas/osv.schema.json");
    Schemas::new(vec![
        serde_json::from_str(text).expect("the schema is JSON"),
    ])
}

impl Schemas {
    /// These schemas, each under its `$id`; one without has the empty address.
    pub fn new(schemas: Vec<Value>) -> Self {
        let by_id = schemas
            .into_iter()
            .map(|schema| {
                let id = schema["$id"]
                    .as_str()
                    .unwrap_or_default()
                    .trim_end_matches('#');
                (id.to_owned(), schema)
            })
            .collect();
        Self { by_id }
    }

    /// What does not hold of a document, by the schema of an address; each with its place.
    ///
    /// # Panics
    /// For an address, a reference or a word that is not known.
    pub fn faults(&self, id: &str, document: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(id, &self.by_id[id], document, "", &mut faults);
        faults
    }

    fn holds(&self, base: &str, schema: &Value, value: &Value) -> bool {
        let mut faults = Vec::new();
        self.check(base, schema, value, "", &mut faults);
        faults.is_empty()
    }

    fn referred(&self, base: &str, reference: &str) -> (String, &Value) {
        let (address, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let id = match address {
            "" => base.to_owned(),
            relative => match base.rsplit_once('/') {
                Some((folder, _)) => format!("{folder}/{relative}"),
                None => relative.to_owned(),
            },
        };
        let schema = self
            .by_id
            .get(&id)
            .unwrap_or_else(|| panic!("no schema {id}"));
        let schema = schema.pointer(pointer);
        (
            id,
            schema.unwrap_or_else(|| panic!("nothing at {reference}")),
        )
    }

    fn check(&self, base: &str, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let words = match schema {
            Value::Bool(true) => return,
            Value::Object(words) => words,
            _ => {
                faults.push(format!("{at}: nothing may stand here"));
                return;
            }
        };
        // In draft 7 nothing counts beside a reference.
        if let Some(reference) = words.get("$ref").and_then(Value::as_str) {
            let (base, schema) = self.referred(base, reference);
            self.check(&base, schema, value, at, faults);
            return;
        }
        for (word, asked) in words {
            if let Err(why) = self.word(base, words, word, asked, value, at, faults) {
                faults.push(format!("{at}: {word}: {why}"));
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn word(
        &self,
        base: &str,
        words: &Map<String, Value>,
        word: &str,
        asked: &Value,
        value: &Value,
        at: &str,
        faults: &mut Vec<String>,
    ) -> Result<(), String> {
        let all = || asked.as_array().into_iter().flatten();
        let holding = || {
            all()
                .filter(|schema| self.holds(base, schema, value))
                .count()
        };
        let number = asked.as_u64().unwrap_or_default() as usize;
        let fine = match word {
            _ if SILENT.contains(&word) || BESIDE.contains(&word) => true,
            "type" => match asked {
                Value::String(kind) => is(value, kind),
                _ => all().filter_map(Value::as_str).any(|kind| is(value, kind)),
            },
            "enum" => all().any(|one| one == value),
            "const" => asked == value,
            "oneOf" => holding() == 1,
            "anyOf" => holding() > 0,
            "not" => !self.holds(base, asked, value),
            "allOf" => {
                all().for_each(|schema| self.check(base, schema, value, at, faults));
                true
            }
            "if" => {
                let next = match self.holds(base, asked, value) {
                    true => words.get("then"),
                    false => words.get("else"),
                };
                if let Some(next) = next {
                    self.check(base, next, value, at, faults);
                }
                true
            }
            "required" => match value {
                Value::Object(fields) => all()
                    .filter_map(Value::as_str)
                    .all(|name| fields.contains_key(name)),
                _ => true,
            },
            "properties" => {
                for (name, schema) in asked.as_object().into_iter().flatten() {
                    if let Some(inner) = value.get(name) {
                        self.check(base, schema, inner, &format!("{at}/{name}"), faults);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = words.get("properties").and_then(Value::as_object);
                let patterns = words.get("patternProperties").and_then(Value::as_object);
                for (name, inner) in value.as_object().into_iter().flatten() {
                    let by_pattern = patterns.is_some_and(|p| p.keys().any(|p| matches(p, name)));
                    if known.is_none_or(|known| !known.contains_key(name)) && !by_pattern {
                        self.check(base, asked, inner, &format!("{at}/{name}"), faults);
                    }
                }
                true
            }
            "patternProperties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    for (pattern, schema) in asked.as_object().into_iter().flatten() {
                        if matches(pattern, name) {
                            self.check(base, schema, inner, &format!("{at}/{name}"), faults);
                        }
                    }
                }
                true
            }
            "items" => {
                for (place, inner) in value.as_array().into_iter().flatten().enumerate() {
                    let schema = match asked {
                        Value::Array(each) => each.get(place),
                        one => Some(one),
                    };
                    if let Some(schema) = schema {
                        self.check(base, schema, inner, &format!("{at}/{place}"), faults);
                    }
                }
                true
            }
            "contains" => value
                .as_array()
                .is_none_or(|all| all.iter().any(|one| self.holds(base, asked, one))),
            "additionalItems" => true,
            "minItems" => value.as_array().is_none_or(|all| all.len() >= number),
            "maxItems" => value.as_array().is_none_or(|all| all.len() <= number),
            "uniqueItems" => value.as_array().is_none_or(|all| {
                let once = |(at, one): (usize, &Value)| !all[..at].contains(one);
                asked == &Value::Bool(false) || all.iter().enumerate().all(once)
            }),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() >= number),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() <= number),
            "minimum" => value
                .as_f64()
                .is_none_or(|n| n >= asked.as_f64().expect("a number")),
            "maximum" => value
                .as_f64()
                .is_none_or(|n| n <= asked.as_f64().expect("a number")),
            "exclusiveMinimum" => value
                .as_f64()
                .is_none_or(|n| n > asked.as_f64().expect("a number")),
            "pattern" => value
                .as_str()
                .is_none_or(|text| matches(asked.as_str().expect("a text"), text)),
            "format" => value
                .as_str()
                .is_none_or(|text| formatted(asked.as_str().expect("a text"), text)),
            "dependencies" => {
                for (name, needs) in asked.as_object().into_iter().flatten() {
                    if value.get(name).is_some() {
                        let fits = match needs {
                            Value::Array(names) => names
                                .iter()
                                .filter_map(Value::as_str)
                                .all(|name| value.get(name).is_some()),
                            schema => self.holds(base, schema, value),
                        };
                        if !fits {
                            return Err(format!("{name} needs {needs}"));
                        }
                    }
                }
                true
            }
            unknown => panic!("{unknown} is not known"),
        };
        match fine {
            true => Ok(()),
            false => Err(value.to_string().chars().take(200).collect()),
        }
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("no type {other}"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern)
        .unwrap_or_else(|error| panic!("{error}"))
        .is_match(text)
}

/// Formats are notes in draft 7; here they are held.
fn formatted(format: &str, text: &str) -> bool {
    // RFC 3986 and 3987: no blanks and the like, and a percent sign stands before two digits.
    let reference = || {
        let escaped = text.split('%').skip(1);
        !text.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}'])
            && !text.chars().any(char::is_control)
            && escaped.into_iter().all(|rest| {
                rest.get(..2)
                    .is_some_and(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))
            })
    };
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "uri" | "iri" => reference() && url::Url::parse(text).is_ok(),
        "uri-reference" | "iri-reference" => reference(),
        "idn-email" | "email" => text.contains('@'),
        "regex" | "uuid" => true,
        other => panic!("no format {other}"),
    }
}
