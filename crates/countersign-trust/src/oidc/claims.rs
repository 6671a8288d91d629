//! JSON of strangers: strict, bounded, no name twice.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep objects and lists may be nested. Claims of known providers need two levels.
const MAX_DEPTH: usize = 8;
/// How many values a document may hold in all. The largest known key sets and claim sets stay below 300.
const MAX_VALUES: usize = 4096;

/// The claims of a token: a JSON object within limits in which no name stands twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Reads a JSON object, at most 8 levels deep, with at most 4096 values and no name twice in any object.
    ///
    /// # Errors
    ///
    /// Says in a clause why the bytes are no such object.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        strict_object(bytes).map(Self)
    }

    /// Claims that are known as texts already.
    pub(crate) fn of_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let value = |text: &str| Value::String(text.to_owned());
        let pairs = texts
            .into_iter()
            .map(|(name, text)| (name.to_owned(), value(text)));
        Self(pairs.collect())
    }

    /// The value of a claim; a JSON `null` counts as absent.
    pub fn get(&self, claim: &str) -> Option<&Value> {
        self.0.get(claim).filter(|value| !value.is_null())
    }

    /// A string, integer or boolean claim as text; anything else is `None`.
    pub fn text(&self, claim: &str) -> Option<String> {
        self.get(claim).and_then(scalar)
    }

    /// All claims by name.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// A string, integer or boolean as text.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// Reads a JSON object within the limits above.
pub(crate) fn strict_object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    strict_object_within(bytes, MAX_DEPTH, MAX_VALUES)
}

/// Reads a JSON object of at most `levels` levels and `values` values, in which no name stands twice.
pub(crate) fn strict_object_within(
    bytes: &[u8],
    levels: usize,
    values: usize,
) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut count = Count {
        levels,
        values,
        left: values,
    };
    let value = Strict {
        depth: 0,
        count: &mut count,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value))
    .map_err(|error| format!("it is not acceptable JSON: {error}"))?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err("it is not a JSON object".to_owned()),
    }
}

/// Builds a [`Value`], counting levels and values and refusing repeated names, which readers resolve differently.
struct Strict<'a> {
    depth: usize,
    count: &'a mut Count,
}

/// The limits of one document, and how many values it may still have.
struct Count {
    levels: usize,
    values: usize,
    left: usize,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        let levels = self.count.levels;
        if self.depth == levels {
            return Err(E::custom(format!("more than {levels} levels")));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        let values = self.count.values;
        self.count.left = self
            .count
            .left
            .checked_sub(1)
            .ok_or_else(|| D::Error::custom(format!("more than {values} values")))?;
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    // U+0000 stands in no claim of any provider, and PostgreSQL can not store it.
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        if value.contains('\0') {
            return Err(E::custom("a text holds U+0000"));
        }
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(Strict {
            depth,
            count: &mut *self.count,
        })? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(Strict {
                depth,
                count: &mut *self.count,
            })?;
            if name.contains('\0') {
                return Err(A::Error::custom("a name holds U+0000"));
            }
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!(
                    "the name {} stands twice",
                    super::quoted(&name)
                )));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
