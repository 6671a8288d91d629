//! What the JSON looks like, against the published schema.

#![allow(clippy::unwrap_used)]

use countersign_assess::assessment::conclude;
use countersign_assess::profile::Profile;
use countersign_assess::run::Run;
use countersign_assess::script::{Reply, Target};
use countersign_testkit::schema::Schemas;
use serde_json::{Value, json};

fn check(value: &Value) -> Vec<String> {
    let schema: Value =
        serde_json::from_str(include_str!("../../../docs/spec/assessment.schema.json")).unwrap();
    let id = schema["$id"].as_str().unwrap_or_default().to_owned();
    Schemas::new(vec![schema]).faults(&id, value)
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
