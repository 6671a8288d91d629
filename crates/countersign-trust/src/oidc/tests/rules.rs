use proptest::prelude::*;

use super::super::rules::fits;
use super::*;

fn outcome(test: Test, value: &Value) -> Difference {
    let rule = Rule {
        claim: "claim".to_owned(),
        test,
    };
    let mut outcomes = evaluate(&[rule], &claims(&json!({"claim": value})));
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

fn holds(test: Test, value: Value) -> bool {
    let outcome = outcome(test, &value);
    assert_eq!(outcome.advice.is_none(), outcome.matched);
    outcome.matched
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn each_test_accepts_what_it_says_and_nothing_else() {
    assert!(holds(Test::Equal(text("a")), json!("a")));
    assert!(!holds(Test::Equal(text("a")), json!("A")));
    assert!(!holds(Test::Equal(text("a")), json!("a ")));
    assert!(holds(
        Test::EqualIgnoringCase(text("Octo/A")),
        json!("octo/a")
    ));
    assert!(!holds(
        Test::EqualIgnoringCase(text("octo")),
        json!("octo/")
    ));
    assert!(holds(Test::OneOf(texts(&["a", "b"])), json!("b")));
    assert!(!holds(Test::OneOf(texts(&["a", "b"])), json!("B")));
    assert!(!holds(Test::OneOf(vec![]), json!("")));
    assert!(holds(
        Test::Pattern(text("refs/tags/v*")),
        json!("refs/tags/v1")
    ));
    assert!(!holds(
        Test::Pattern(text("refs/tags/v*")),
        json!("refs/tags/V1")
    ));
    assert!(!holds(
        Test::Pattern(text("refs/tags/v*")),
        json!("x/refs/tags/v1")
    ));
    assert!(holds(
        Test::PatternIgnoringCase(text("Octo/*")),
        json!("oCTO/x")
    ));
    assert!(holds(
        Test::NoneOf(texts(&["a", "refs/pull/*"])),
        json!("b")
    ));
    assert!(!holds(
        Test::NoneOf(texts(&["a", "refs/pull/*"])),
        json!("refs/pull/1/merge")
    ));
}

#[test]
fn numbers_and_truths_are_compared_as_text() {
    assert!(holds(Test::Equal(text("true")), json!(true)));
    assert!(holds(Test::Equal(text("-7")), json!(-7)));
    assert!(holds(
        Test::Equal(text("18446744073709551615")),
        json!(u64::MAX)
    ));
    assert!(!holds(Test::Equal(text("7")), json!(7.0)));
}

#[test]
fn an_absent_claim_is_refused_unless_values_are_only_forbidden() {
    for test in [
        Test::Equal(text("")),
        Test::EqualIgnoringCase(text("")),
        Test::OneOf(texts(&[""])),
        Test::Pattern(text("*")),
        Test::PatternIgnoringCase(text("*")),
        Test::File(text("a/b/c.yml")),
    ] {
        // A JSON null is no value either.
        assert!(!holds(test.clone(), Value::Null));
        let rule = Rule {
            claim: text("other"),
            test,
        };
        let outcomes = evaluate(&[rule], &claims(&json!({"claim": "x"})));
        assert_eq!((outcomes[0].matched, &outcomes[0].seen), (false, &None));
    }
    assert!(holds(Test::NoneOf(texts(&["*"])), Value::Null));
}

#[test]
fn what_cannot_be_compared_is_refused_even_where_values_are_only_forbidden() {
    for value in [
        json!({"a": 1}),
        json!(1.5),
        json!([["a"]]),
        json!([{"a": 1}, "b"]),
    ] {
        assert!(!holds(Test::NoneOf(texts(&["x"])), value.clone()));
        assert!(!holds(Test::Pattern(text("*")), value));
    }
}

#[test]
fn a_list_meets_a_rule_by_one_member_and_a_ban_by_all() {
    let list = json!(["a", "b", 3]);
    assert!(holds(Test::Equal(text("b")), list.clone()));
    assert!(holds(Test::Equal(text("3")), list.clone()));
    assert!(!holds(Test::Equal(text("c")), list.clone()));
    assert!(!holds(Test::NoneOf(texts(&["b"])), list.clone()));
    assert!(holds(Test::NoneOf(texts(&["c"])), list));
    assert!(!holds(Test::Pattern(text("*")), json!([])));
}

#[test]
fn look_alikes_of_other_alphabets_do_not_match() {
    // A Cyrillic o, the Kelvin sign, a Greek o, a fullwidth t, a soft hyphen.
    for wrong in [
        "\u{43e}cto",
        "o\u{212a}to",
        "oct\u{3bf}",
        "oc\u{ff54}o",
        "oc\u{ad}to",
    ] {
        assert!(!holds(Test::EqualIgnoringCase(text("octo")), json!(wrong)));
        assert!(!holds(Test::EqualIgnoringCase(text("okto")), json!(wrong)));
        assert!(!holds(
            Test::PatternIgnoringCase(text("OCTO*")),
            json!(wrong)
        ));
        let seen = outcome(Test::Equal(text("octo")), &json!(wrong))
            .seen
            .unwrap();
        assert!(seen.is_ascii() && seen.contains("\\u{"), "{seen}");
    }
}

#[test]
fn a_file_is_compared_by_its_repository_in_any_case_and_its_path_exactly() {
    let test = || Test::File(text("Octo/sample/.github/workflows/release.yml"));
    for good in [
        "octo/SAMPLE/.github/workflows/release.yml@refs/tags/v1",
        "Octo/sample/.github/workflows/release.yml@refs/heads/main@2",
    ] {
        assert!(holds(test(), json!(good)), "{good}");
    }
    for bad in [
        "octo/sample/.github/workflows/Release.yml@refs/tags/v1",
        "octo/sample/.GITHUB/workflows/release.yml@refs/tags/v1",
        "octo/sample2/.github/workflows/release.yml@refs/tags/v1",
        "x/octo/sample/.github/workflows/release.yml@refs/tags/v1",
        "octo/sample/.github/workflows/release.yml.evil@refs/tags/v1",
        "octo/sample",
        "octo",
        "",
        // A branch whose name ends like the file, in a run of another file.
        "octo/sample/.github/workflows/evil.yml@refs/heads/octo/sample/.github/workflows/release.yml@x",
        "evil/fork/.github/workflows/x.yml@octo/sample/.github/workflows/release.yml",
    ] {
        assert!(!holds(test(), json!(bad)), "{bad}");
    }
}

#[test]
fn a_file_at_a_ref_is_only_that_ref() {
    let test = || Test::File(text("octo/shared/.github/workflows/p.yml@refs/tags/v2"));
    assert!(holds(
        test(),
        json!("octo/shared/.github/workflows/p.yml@refs/tags/v2")
    ));
    for bad in ["@refs/tags/v20", "@refs/tags/V2", "@refs/heads/v2", "", "@"] {
        assert!(!holds(
            test(),
            json!(format!("octo/shared/.github/workflows/p.yml{bad}"))
        ));
    }
}

#[test]
fn the_path_of_a_nested_project_begins_at_the_two_slashes() {
    let test = || Test::File(text("gitlab.com/octo/tools/sample//ci/release.yml"));
    assert!(holds(
        test(),
        json!("gitlab.com/OCTO/tools/sample//ci/release.yml@refs/tags/v1")
    ));
    for bad in [
        "gitlab.com/octo/tools/sample//CI/release.yml@refs/tags/v1",
        "gitlab.com/octo/tools/sample/ci/release.yml@refs/tags/v1",
        "gitlab.com/octo/tools//sample/ci/release.yml@refs/tags/v1",
        "gitlab.evil.example/octo/tools/sample//ci/release.yml@refs/tags/v1",
    ] {
        assert!(!holds(test(), json!(bad)), "{bad}");
    }
}

#[test]
fn no_rule_is_no_match() {
    assert!(!matches(&evaluate(&[], &claims(&json!({"a": 1})))));
    let good = outcome(Test::Equal(text("a")), &json!("a"));
    let bad = outcome(Test::Equal(text("a")), &json!("b"));
    assert!(matches(std::slice::from_ref(&good)));
    assert!(!matches(&[good, bad]));
}

#[test]
fn outcomes_come_in_the_order_of_the_rules() {
    let rules: Vec<Rule> = ["c", "a", "b", "a"]
        .iter()
        .map(|claim| Rule {
            claim: text(claim),
            test: Test::Pattern(text("*")),
        })
        .collect();
    let outcomes = evaluate(&rules, &claims(&json!({"a": "1", "c": "2"})));
    let names: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.claim.as_str())
        .collect();
    assert_eq!(names, ["c", "a", "b", "a"]);
    assert_eq!(
        outcomes.iter().filter(|outcome| !outcome.matched).count(),
        1
    );
}

#[test]
fn rules_are_written_in_json_as_documented() {
    for (test, written) in [
        (
            Test::Equal(text("x")),
            json!({"claim": "c", "test": "equal", "value": "x"}),
        ),
        (
            Test::EqualIgnoringCase(text("x")),
            json!({"claim": "c", "test": "equal-ignoring-case", "value": "x"}),
        ),
        (
            Test::OneOf(texts(&["x"])),
            json!({"claim": "c", "test": "one-of", "value": ["x"]}),
        ),
        (
            Test::Pattern(text("x*")),
            json!({"claim": "c", "test": "pattern", "value": "x*"}),
        ),
        (
            Test::PatternIgnoringCase(text("x*")),
            json!({"claim": "c", "test": "pattern-ignoring-case", "value": "x*"}),
        ),
        (
            Test::NoneOf(texts(&["x"])),
            json!({"claim": "c", "test": "none-of", "value": ["x"]}),
        ),
        (
            Test::File(text("a/b/c")),
            json!({"claim": "c", "test": "file", "value": "a/b/c"}),
        ),
    ] {
        let rule = Rule {
            claim: text("c"),
            test,
        };
        assert_eq!(json!(rule), written);
        assert_eq!(serde_json::from_value::<Rule>(written).unwrap(), rule);
    }
    assert!(
        serde_json::from_value::<Rule>(json!({"claim": "c", "test": "regex", "value": "x"}))
            .is_err()
    );
}

/// The plainest matcher: all ways of splitting, in exponential time.
fn slowly(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skip| slowly(rest, &text[skip..])),
        [one, rest @ ..] => text.first() == Some(one) && slowly(rest, &text[1..]),
    }
}

#[test]
fn a_file_with_an_at_sign_in_its_name_is_another_file() {
    let fits = |seen: &str| {
        let test = Test::File("octo/sample/.github/workflows/release.yml".to_owned());
        let rule = Rule {
            claim: "workflow_ref".to_owned(),
            test,
        };
        matches(&evaluate(&[rule], &claims(&json!({"workflow_ref": seen}))))
    };
    let file = "octo/sample/.github/workflows/release.yml";
    assert!(fits(&format!("{file}@refs/heads/main")));
    assert!(fits(&format!("{file}@refs/tags/v1@2")));
    assert!(fits(&format!("{file}@{}", "a".repeat(40))));
    for evil in [
        "@x.yml@refs/heads/main",
        "@refs/heads/x.yml@refs/heads/main",
        "@main",
        "@",
        "",
    ] {
        assert!(!fits(&format!("{file}{evil}")), "{evil}");
    }
}

fn written(text: &str) -> Result<(String, Test), String> {
    text.parse::<Rule>().map(|rule| (rule.claim, rule.test))
}

#[test]
fn each_kind_of_claim_rule_is_read() {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    for (text, claim, test) in [
        ("sub=a:b=c~d", "sub", Test::Equal("a:b=c~d".to_owned())),
        ("sub=one|two", "sub", Test::OneOf(texts(&["one", "two"]))),
        (
            "ref~refs/tags/v*",
            "ref",
            Test::Pattern("refs/tags/v*".to_owned()),
        ),
        (
            "event_name!=pull_request_target|workflow_run",
            "event_name",
            Test::NoneOf(texts(&["pull_request_target", "workflow_run"])),
        ),
        (
            "https://example.org/project=7",
            "https://example.org/project",
            Test::Equal("7".to_owned()),
        ),
    ] {
        assert_eq!(written(text), Ok((claim.to_owned(), test)), "{text}");
    }
}

#[test]
fn a_claim_rule_that_says_nothing_is_refused() {
    for (text, phrase) in [
        ("sub", "no = nor ~"),
        ("=x", "name of the claim is missing"),
        ("!=x", "name of the claim is missing"),
        ("sub=", "is empty"),
        ("sub=a|", "is empty"),
        ("sub!=", "is empty"),
        ("sub~", "is empty"),
        ("sub!~x", "!= takes patterns already"),
    ] {
        let wrong = written(text).unwrap_err();
        assert!(wrong.contains(phrase), "{text}: {wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn patterns_match_as_the_plainest_matcher_says(pattern in "[ab*é]{0,7}", text in "[abé]{0,9}") {
        let (slow_pattern, slow_text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        prop_assert_eq!(fits(&pattern, &text), slowly(&slow_pattern, &slow_text));
    }

    #[test]
    fn a_text_fits_itself_and_the_star(text in "[^*]{0,40}") {
        prop_assert!(fits(&text, &text));
        prop_assert!(fits("*", &text));
        let longer = format!("{text}x");
        prop_assert!(!fits(&longer, &text));
    }

    #[test]
    fn rules_never_panic(wanted in ".{0,30}", seen in "[^\\x00]{0,30}") {
        for test in [Test::Pattern(wanted.clone()), Test::PatternIgnoringCase(wanted.clone()), Test::File(wanted.clone())] {
            let rule = Rule { claim: "workflow_ref".to_owned(), test };
            let _ = evaluate(&[rule], &claims(&json!({"workflow_ref": seen})));
        }
    }
}
