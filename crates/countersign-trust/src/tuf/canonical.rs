//! Canonical JSON as TUF's reference implementations write it (OLPC): names sorted by code point, no white space, and in
//! strings nothing escaped but `"` and `\`. Signatures are of these bytes.
//!
//! With a control character in a string they are no JSON. So each writer here can write either way; both differ in
//! strings only, and only where there are control characters.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How strings are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// As signed.
    Canonical,
    /// As JSON demands.
    Json,
}

/// Writes a string.
pub(super) fn string(out: &mut String, text: &str, how: Text) {
    out.push('"');
    // Nearly all strings are names and digests, which are written as they are.
    if !text
        .bytes()
        .any(|byte| byte < b' ' || byte == b'"' || byte == b'\\')
    {
        out.push_str(text);
        out.push('"');
        return;
    }
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' if how == Text::Json => out.push_str("\\n"),
            control if how == Text::Json && control < ' ' => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Writes a value; `None` where it has a number that is no integer, since nobody agrees on how those are written.
pub(super) fn value(out: &mut String, value_: &Value, how: Text) -> Option<()> {
    match value_ {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            out.push_str(&number.to_string());
        }
        Value::Number(_) => return None,
        Value::String(text) => string(out, text, how),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                value(out, item, how)?;
            }
            out.push(']');
        }
        Value::Object(map) => object(out, map, how)?,
    }
    Some(())
}

/// Writes an object; `None` as [`value`].
pub(super) fn object(out: &mut String, map: &Map<String, Value>, how: Text) -> Option<()> {
    // The map's own order depends on a feature of the library.
    let mut names: Vec<&String> = map.keys().collect();
    names.sort_unstable();
    out.push('{');
    for (at, name) in names.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        string(out, name, how);
        out.push(':');
        value(out, &map[name], how)?;
    }
    out.push('}');
    Some(())
}

/// The canonical form of a value; `None` where it has a number that is no integer of 64 bits.
#[must_use]
pub fn canonical_json(of: &Value) -> Option<String> {
    let mut out = String::new();
    value(&mut out, of, Text::Canonical)?;
    Some(out)
}

/// An object that is put together from written parts.
pub(super) struct Fields {
    how: Text,
    parts: BTreeMap<String, String>,
}

impl Fields {
    /// Begins with fields that are kept as they were read. Fields that are set later win.
    pub(super) fn with(extra: &BTreeMap<String, Value>, how: Text) -> Self {
        let mut fields = Self {
            how,
            parts: BTreeMap::new(),
        };
        for (name, kept) in extra {
            fields.value(name, kept);
        }
        fields
    }

    /// Sets a field to text that is written already.
    pub(super) fn written(&mut self, name: &str, text: String) {
        self.parts.insert(name.to_owned(), text);
    }

    /// Sets a field to a string.
    pub(super) fn string(&mut self, name: &str, text: &str) {
        let mut out = String::new();
        string(&mut out, text, self.how);
        self.written(name, out);
    }

    /// Sets a field to a number.
    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.written(name, number.to_string());
    }

    /// Sets a field to a value. One with another number than an integer never gets here: [`super::Extra`] takes none.
    pub(super) fn value(&mut self, name: &str, of: &Value) {
        let mut out = String::new();
        if value(&mut out, of, self.how).is_some() {
            self.written(name, out);
        }
    }

    /// Sets a field to a list of strings.
    pub(super) fn strings(&mut self, name: &str, texts: &[String]) {
        let mut out = String::from("[");
        for (at, text) in texts.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            string(&mut out, text, self.how);
        }
        out.push(']');
        self.written(name, out);
    }

    /// Writes the object.
    pub(super) fn finish(self, out: &mut String) {
        out.push('{');
        for (at, (name, text)) in self.parts.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            string(out, name, self.how);
            out.push(':');
            out.push_str(text);
        }
        out.push('}');
    }
}

/// Writes a map whose values write themselves.
pub(super) fn map<T>(
    out: &mut String,
    of: &BTreeMap<String, T>,
    how: Text,
    write: impl Fn(&T, &mut String),
) {
    out.push('{');
    for (at, (name, item)) in of.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        string(out, name, how);
        out.push(':');
        write(item, out);
    }
    out.push('}');
}
