//! `advisories …` and `admin health …`: what the configuration says of advisories, exemptions that end, and what others say of sources.

use serde_json::json;

use crate::machine::Desk;

#[test]
fn what_is_not_served_for_an_advisory_is_configured_and_what_is_wrong_is_named() {
    let desk = Desk::new();
    let check = |text: &str| {
        let file = desk.write("countersign.toml", text);
        desk.run(&["--config", file.to_str().unwrap(), "config", "check"])
    };
    for good in ["never", "malware", "critical", "high", "medium", "low"] {
        check(&format!("[advisories]\nblock = \"{good}\"\n")).expect(0, &["is good"]);
    }
    check("[advisories]\nblock = \"everything\"\n").expect(2, &["advisories.block", "everything"]);
    check("[advisories]\nkeep_downloaders = \"soon\"\n").expect(2, &["keep_downloaders", "soon"]);
    check("[advisories]\nfeeds = [\"osv\"]\n").expect(2, &["feeds", "osv"]);
    check("[advisories]\nfeeds = [\"own /var/lib/osv\"]\n").expect(2, &["own"]);
    check("[advisories]\nblok = \"malware\"\n").expect(2, &["blok"]);
}

#[test]
fn an_exemption_is_made_for_a_time_listed_and_ended() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    let issue = [
        "advisories",
        "issue",
        "pypi:demo",
        "--summary",
        "It reads keys",
        "--malware",
    ];
    let id = desk.run(&issue).expect(0, &["x_"]).out.trim().to_owned();
    let exempt = |more: &[&str]| {
        let words = ["advisories", "exempt", "pypi:demo", "--advisory", &id];
        desk.run(&[&words[..], &["--reason", "we mended it"], more].concat())
    };
    exempt(&["--expires", "soon"]).expect(2, &["soon"]);
    exempt(&["--expires", "0s"]).expect(4, &["over already"]);
    let made = exempt(&["--expires", "30d"])
        .expect(0, &[])
        .out
        .trim()
        .to_owned();
    exempt(&["--affected", "1.0"]).expect(0, &[]);
    let list = desk
        .run(&["--json", "advisories", "exemptions"])
        .expect(0, &[]);
    let list = list.json();
    assert!(list["exemptions"][0]["until"].is_null(), "{list}");
    assert!(list["exemptions"][1]["until"].is_string(), "{list}");
    desk.run(&["advisories", "exemptions"])
        .expect(0, &["pypi:demo all", "pypi:demo 1.0", "we mended it"]);
    desk.run(&["advisories", "end-exemption", &made])
        .expect(0, &["holds no longer"]);
    desk.run(&["advisories", "end-exemption", &made])
        .expect(4, &[&made]);
}

#[test]
fn what_others_say_of_sources_is_imported_whole_or_told() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    let import = |what: &str| {
        desk.write("health.json", what);
        desk.run(&["admin", "health", "import", "health.json"])
    };
    let scorecard = json!({
        "date": "2026-01-31",
        "repo": {"name": "forge.example/octo/sample", "commit": "0011"},
        "scorecard": {"version": "v5", "commit": "22"},
        "score": 6.5,
        "checks": [{"name": "Maintained", "score": 10, "reason": "30 commits"}],
    });
    let survey = json!({
        "repository": "https://forge.example/octo/other", "source": "a survey", "date": "2026-01-31",
        "signals": [{"name": "Last commit", "value": "2025-12-01"}],
    });
    import(&json!([scorecard, survey]).to_string()).expect(0, &["2 results imported"]);
    // One that can not be used is told, with why; what is no JSON changes nothing.
    import(&json!([survey, {"repository": 7}]).to_string())
        .expect(0, &["1 results imported", "1 could not be used"]);
    import("{\"repository\": ").expect(4, &["health.json"]);
    desk.run(&["admin", "health", "import", "none.json"])
        .expect(4, &["none.json", "can not be read"]);
    desk.write("health.json", &survey.to_string());
    let told = desk
        .run(&["--json", "admin", "health", "import", "health.json"])
        .expect(0, &[])
        .json();
    assert_eq!((&told["taken"], &told["refused"]), (&json!(1), &json!(0)));
}
