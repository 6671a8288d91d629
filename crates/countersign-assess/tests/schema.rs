//! What the JSON looks like, against the published schema. The schema uses few words of JSON Schema, and those are
//! understood here; a word that is not makes the test fail.

#![allow(clippy::unwrap_used)]

use countersign_assess::assessment::conclude;
use countersign_assess::profile::Profile;
use countersign_assess::run::Run;
use countersign_assess::script::{Reply, Target};
use serde_json::{Value, json};

const KNOWN: &[&str] = &[
    "$schema",
    "$defs",
    "$ref",
    "title",
    "type",
    "required",
    "additionalProperties",
    "properties",
    "items",
    "enum",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxLength",
];

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What does not fit, with its place.
fn faults(root: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    let words = schema.as_object().unwrap();
    for word in words.keys() {
        assert!(KNOWN.contains(&word.as_str()), "the schema uses {word}");
    }
    if let Some(to) = schema["$ref"].as_str() {
        let target = root.pointer(to.strip_prefix('#').unwrap()).unwrap();
        return faults(root, target, value, at, out);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    if !types.is_empty() && !types.contains(&kind(value)) {
        out.push(format!("{at}: {} is none of {types:?}", kind(value)));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        out.push(format!("{at}: {value} is none of {values:?}"));
    }
    if let Some(number) = value.as_i64() {
        let low = schema["minimum"]
            .as_i64()
            .is_some_and(|least| number < least);
        let high = schema["maximum"].as_i64().is_some_and(|most| number > most);
        if low || high {
            out.push(format!("{at}: {number} is out of range"));
        }
    }
    if let (Some(text), Some(most)) = (value.as_str(), schema["maxLength"].as_u64())
        && text.chars().count() as u64 > most
    {
        out.push(format!("{at}: too long"));
    }
    if let Some(list) = value.as_array() {
        let count = list.len() as u64;
        if schema["minItems"]
            .as_u64()
            .is_some_and(|least| count < least)
            || schema["maxItems"].as_u64().is_some_and(|most| count > most)
        {
            out.push(format!("{at}: {count} items"));
        }
        if schema["items"].is_object() {
            for (index, item) in list.iter().enumerate() {
                faults(root, &schema["items"], item, &format!("{at}/{index}"), out);
            }
        }
    }
    if let Some(members) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                out.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, member) in members {
            match schema["properties"].get(name) {
                Some(inner) => faults(root, inner, member, &format!("{at}/{name}"), out),
                None if schema["additionalProperties"] == json!(false) => {
                    out.push(format!("{at}: {name} does not belong here"));
                }
                None => {}
            }
        }
    }
}

fn check(value: &Value) -> Vec<String> {
    let schema: Value =
        serde_json::from_str(include_str!("../../../docs/spec/assessment.schema.json")).unwrap();
    let mut out = Vec::new();
    faults(&schema, &schema, value, "", &mut out);
    out
}

fn made() -> Value {
    let target = Target {
        site: "https://packages.example.org".to_owned(),
        profile: Profile::countersign(),
        now: 1_795_000_000,
        seed: [0; 32],
    };
    let probes = countersign_assess::assessment::plan(&target, true);
    let mut run = Run::new(target.clone(), probes);
    while run.step().is_some() {
        run.record(
            Reply::Answer(countersign_assess::script::Answer::default()),
            target.now,
        );
    }
    let made = conclude(&target, None, run.findings());
    serde_json::to_value(made).unwrap()
}

#[test]
fn an_assessment_has_the_form_that_the_schema_describes() {
    let good = made();
    assert_eq!(check(&good), Vec::<String>::new());
    let mut broken = good.clone();
    broken["checks"][3]["result"] = json!("perhaps");
    broken["surplus"] = json!(1);
    broken["checks"].as_array_mut().unwrap().pop();
    broken["tracks"].as_object_mut().unwrap().remove("AN");
    assert_eq!(check(&broken).len(), 4, "{:?}", check(&broken));
}
