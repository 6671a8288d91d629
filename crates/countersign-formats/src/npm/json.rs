//! JSON from strangers, bounded in size, depth and number of values, whose objects mean the same to
//! every reader: no key twice (unless tolerated), and none that changes what an object is.

use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::{Rejection, rejection::quoted};

/// Deepest nesting, and most values, of a text.
const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 1_000_000;

/// What to do about a key that an object has twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duplicates {
    /// Programs write none: refuse.
    Refused,
    /// People do, in old packages. All of JavaScript takes the last one; so do we, and say so.
    LastWins,
}

/// Reads a JSON text of at most `max` bytes. Gives the keys that stood twice, at most ten.
pub(super) fn read(
    text: &[u8],
    max: u64,
    duplicates: Duplicates,
) -> Result<(Value, Vec<String>), Rejection> {
    if text.len() as u64 > max {
        return Err(Rejection::new(
            "json-too-large",
            format!(
                "The JSON text has {} bytes; at most {max} are read.",
                text.len()
            ),
        ));
    }
    let reading = Reading {
        values: Cell::new(0),
        duplicates,
        twice: Cell::new(Vec::new()),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Seed {
        reading: &reading,
        depth: 0,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value))
    .map_err(|error| {
        Rejection::new(
            "json-invalid",
            format!("The JSON text is not acceptable: {error}."),
        )
    })?;
    Ok((value, reading.twice.take()))
}

/// What one text has used up.
struct Reading {
    values: Cell<usize>,
    duplicates: Duplicates,
    twice: Cell<Vec<String>>,
}

#[derive(Clone, Copy)]
struct Seed<'r> {
    reading: &'r Reading,
    depth: usize,
}

impl Seed<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!(
                "it is nested deeper than {MAX_DEPTH} levels"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let values = self.reading.values.get() + 1;
        if values > MAX_VALUES {
            return Err(de::Error::custom(format_args!(
                "it holds more than {MAX_VALUES} values"
            )));
        }
        self.reading.values.set(values);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let below = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(below)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if key == "__proto__" {
                return Err(de::Error::custom(
                    "an object has the key \"__proto__\", which changes objects in JavaScript",
                ));
            }
            let value = access.next_value_seed(below)?;
            if map.contains_key(&key) {
                if self.reading.duplicates == Duplicates::Refused {
                    return Err(de::Error::custom(format_args!(
                        "an object has the key {} twice",
                        quoted(&key)
                    )));
                }
                let mut twice = self.reading.twice.take();
                if twice.len() < 10 {
                    twice.push(key.clone());
                }
                self.reading.twice.set(twice);
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strict(text: &str) -> Result<Value, Rejection> {
        read(text.as_bytes(), 1 << 20, Duplicates::Refused).map(|(value, _)| value)
    }

    #[test]
    fn refuses_what_readers_understand_differently() {
        for text in [
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"__proto__\":{}}",
            "[{\"\\u005f_proto__\":1}]",
            "{} {}",
            "{\"a\":1,}",
            "{'a':1}",
            "NaN",
            "\"\\ud800\"",
            "",
            "\u{feff}{}",
        ] {
            assert_eq!(strict(text).unwrap_err().code, "json-invalid", "{text}");
        }
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(strict(&deep(64)).is_ok());
        assert!(strict(&deep(65)).is_err());
        assert!(strict(&"[".repeat(1_000_000)).is_err());
        assert!(strict(&format!("[{}1]", "1,".repeat(400_000))).is_ok());
        assert!(
            read(
                format!("[{}1]", "1,".repeat(1_000_000)).as_bytes(),
                1 << 30,
                Duplicates::Refused
            )
            .is_err()
        );
        assert_eq!(
            read(b"[1]", 2, Duplicates::Refused).unwrap_err().code,
            "json-too-large"
        );
    }

    #[test]
    fn the_last_of_two_keys_counts_where_that_is_tolerated() {
        let (value, twice) = read(
            b"{\"a\":1,\"b\":{\"c\":1,\"c\":2},\"a\":3}",
            100,
            Duplicates::LastWins,
        )
        .unwrap();
        assert_eq!(value, serde_json::json!({ "a": 3, "b": { "c": 2 } }));
        assert_eq!(twice, ["c", "a"]);
    }

    proptest! {
        #[test]
        fn reads_as_the_library_does(text in "[\\[\\]{}\",:a1.e\\\\ -]{0,24}") {
            match (strict(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Ok(_), Err(error)) => prop_assert!(false, "{} {}", text, error),
                (Err(_), _) => {}
            }
        }
    }
}
