use std::io::{Cursor, Write};

use countersign_testkit::imitations;

use super::*;

/// A `.tar.gz` with one top directory.
fn tar(top: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, text) in files {
        let mut header = [0_u8; 512];
        let name = format!("{top}/{path}");
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", text.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(text.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(&[0; 1024]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&out).unwrap();
    packed.finish().unwrap()
}

fn scanned_after(
    ecosystem: Ecosystem,
    files: &[(&str, &str)],
    previous: Option<Traits>,
) -> Outcome {
    let (top, filename) = match ecosystem {
        Ecosystem::Pypi => ("thing-1.0", "thing-1.0.tar.gz"),
        Ecosystem::Cargo => ("thing-1.0.0", "thing-1.0.0.crate"),
        Ecosystem::Npm => ("package", "thing-1.0.0.tgz"),
    };
    let bytes = tar(top, files);
    let request = ScanRequest {
        ecosystem,
        filename: filename.to_owned(),
        size: bytes.len() as u64,
        previous,
        max_unpacked: 512 << 20,
    };
    scan(
        &Rules::own().unwrap(),
        None,
        &request,
        &mut Cursor::new(bytes),
    )
    .unwrap()
}

fn scanned(ecosystem: Ecosystem, files: &[(&str, &str)]) -> Outcome {
    scanned_after(ecosystem, files, None)
}

fn ids(outcome: &Outcome) -> Vec<&str> {
    outcome
        .findings
        .iter()
        .map(|finding| finding.rule.as_str())
        .collect()
}

const PYPI: Ecosystem = Ecosystem::Pypi;
const CARGO: Ecosystem = Ecosystem::Cargo;
const NPM: Ecosystem = Ecosystem::Npm;

#[test]
fn every_imitation_of_an_incident_is_found_at_its_place() {
    let all = imitations::all();
    assert!(all.len() > 25, "{}", all.len());
    for imitation in all {
        let (what, rule) = (imitation.what, imitation.rule);
        let files: Vec<(&str, &str)> = imitation
            .files
            .iter()
            .map(|(path, text)| (*path, text.as_str()))
            .collect();
        let outcome = scanned(imitation.ecosystem.parse().unwrap(), &files);
        let found = outcome.findings.iter().find(|finding| finding.rule == rule);
        let found = found.unwrap_or_else(|| panic!("{what}: {:?}", ids(&outcome)));
        assert!(found.score > 0 && found.line > 0, "{what}: {found:?}");
        assert!(
            found.snippet.chars().count() <= 200 && !found.snippet.chars().any(char::is_control)
        );
        let (_, text) = files.iter().find(|(path, _)| *path == found.path).unwrap();
        assert_eq!(found.sha256, Sha256::of(text.as_bytes()).to_hex(), "{what}");
        assert!((found.offset as usize) < text.len());
    }
}

#[test]
fn every_rule_has_an_imitation_or_is_listed_here() {
    let others = [
        "sweeps-credentials-and-sends",
        "turned-text",
        "scanner-test-text",
    ];
    let rules = Rules::own().unwrap();
    assert!(rules.count() >= 15);
    let shown: Vec<&str> = imitations::all().iter().map(|one| one.rule).collect();
    for id in rules.ids() {
        assert!(
            shown.contains(&id) || others.contains(&id),
            "{id} has no imitation"
        );
    }
    let sweep =
        "a('.aws/credentials'); a('.npmrc'); a('.ssh/id_rsa'); fetch('https://example.org')";
    assert!(
        ids(&scanned(
            NPM,
            &[("package.json", "{}"), ("deep/x.js", sweep)]
        ))
        .contains(&"sweeps-credentials-and-sends")
    );
    assert!(ids(&scanned(CARGO, &[("src/x.rs", "// \u{202e} turned")])).contains(&"turned-text"));
    let eicar = "// X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    let tried = scanned(CARGO, &[("src/x.rs", eicar)]);
    assert_eq!(
        (ids(&tried), tried.score()),
        (vec!["scanner-test-text"], 40)
    );
}

#[test]
fn what_honest_packages_do_is_not_held() {
    let honest: [(Ecosystem, Vec<(&str, &str)>); 7] = [
        (
            PYPI,
            vec![(
                "setup.py",
                "from setuptools import setup\nimport os\nexec(open('thing/_version.py').read())\nsetup(name='thing')\n",
            )],
        ),
        (
            PYPI,
            vec![(
                "distutils-precedence.pth",
                "import os; var = 'X'; enabled = os.environ.get(var); enabled and __import__('_hack').add_shim();\n",
            )],
        ),
        (
            PYPI,
            vec![
                ("namespace.pth", "./src\n"),
                (
                    "thing/boto.py",
                    "URL = 'http://169.254.169.254/'; P = '~/.aws/credentials'; import urllib.request\n",
                ),
            ],
        ),
        (
            NPM,
            vec![
                (
                    "package.json",
                    "{\"scripts\":{\"postinstall\":\"node install.js\"}}",
                ),
                (
                    "install.js",
                    "const {spawnSync}=require('child_process'); require('https').get(url)\n",
                ),
            ],
        ),
        (
            NPM,
            vec![
                ("package.json", "{}"),
                ("index.js", "function a(b){return fetch(b)}"),
            ],
        ),
        (
            CARGO,
            vec![
                ("Cargo.toml", "[package]\nname='thing'\nbuild='build.rs'\n"),
                (
                    "build.rs",
                    "fn main(){ std::process::Command::new(\"cc\"); println!(\"{}\", std::env::var(\"OUT_DIR\").unwrap()); }",
                ),
            ],
        ),
        (
            PYPI,
            vec![(
                "tests/test_keys.py",
                "KEY = 'ghp_aB3dE5gH7jK9mN1pQ3sT5vX7zA2cD4fG6iJ8'",
            )],
        ),
    ];
    for (ecosystem, files) in honest {
        let outcome = scanned(ecosystem, &files);
        assert!(outcome.score() < 80, "{files:?}: {:?}", outcome.findings);
    }
}

#[test]
fn what_is_new_weighs_more_than_what_was_there_before() {
    let files = [
        (
            "package.json",
            "{\"scripts\":{\"postinstall\":\"node install.js\"}}",
        ),
        ("install.js", "require('child_process'); https.get(url)\n"),
    ];
    let first = scanned(NPM, &files);
    assert!(first.traits.hooks.contains("postinstall: node install.js"));
    let quiet = scanned(NPM, &[("package.json", "{}")]);
    let new = scanned_after(NPM, &files, Some(quiet.traits));
    assert!(ids(&new).contains(&"new-install-hook"), "{new:?}");
    let same = scanned_after(NPM, &files, Some(first.traits.clone()));
    assert!(!ids(&same).contains(&"new-install-hook"));
    assert!(same.score() < first.score() && first.score() < new.score());
    let binary = format!("\u{7f}ELF{}", "\0".repeat(100));
    let with = scanned_after(
        NPM,
        &[("package.json", "{}"), ("a.node", &binary)],
        Some(first.traits.clone()),
    );
    assert!(ids(&with).contains(&"new-binary"), "{with:?}");
    let large = "x".repeat(3 << 20);
    let with = scanned_after(
        NPM,
        &[("package.json", "{}"), ("data.txt", &large)],
        Some(first.traits),
    );
    assert!(ids(&with).contains(&"size-jump"), "{with:?}");
}

#[test]
fn a_secret_is_told_without_being_told() {
    let secret = "ghp_aB3dE5gH7jK9mN1pQ3sT5vX7zA2cD4fG6iJ8";
    let outcome = scanned(
        PYPI,
        &[("thing/config.py", &format!("\n\nT = '{secret}'\n"))],
    );
    let found = &outcome.findings[0];
    assert_eq!((found.rule.as_str(), found.line), ("secret-github", 3));
    assert!(!found.snippet.contains(&secret[..12]), "{}", found.snippet);
    let dull = format!("T = 'ghp_{}'", "x".repeat(36));
    assert!(
        scanned(PYPI, &[("thing/config.py", &dull)])
            .findings
            .is_empty()
    );
}

#[test]
fn bad_rules_are_refused_with_their_name() {
    let wrong = [
        ("[[rule]]\nid='x'\ntitle='t'\n", "it has no words"),
        (
            "[[rule]]\nid='x'\ntitle='t'\nwords=[['ab']]\n",
            "fewer than 3",
        ),
        (
            "[[rule]]\nid='x'\ntitle='t'\nwords=[['abc']]\nscore=101\n",
            "more than 100",
        ),
        ("[[rule]]\nid='X!'\ntitle='t'\nwords=[['abc']]\n", "its id"),
        (
            "[[rule]]\nid='reverse-shell'\ntitle='t'\nwords=[['abc']]\n",
            "two of this id",
        ),
        (
            "[[rule]]\nid='x'\ntitle='t'\nwords=[['abc']]\nshape='('\n",
            "regular expression",
        ),
        (
            "[[rule]]\nid='x'\ntitle='t'\nwords=[['abc']]\nshape='(a{1000}){1000}'\n",
            "bounded size",
        ),
        (
            "[[rule]]\nid='x'\ntitle='t'\nwords=[['abc']]\nloop=true\n",
            "unknown field",
        ),
        ("rule = 3", "rules can not be used"),
    ];
    for (text, why) in wrong {
        let error = Rules::parse(&[text]).err().expect(why).to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let more =
        Rules::parse(&["[[rule]]\nid='ours'\ntitle='Ours'\nscore=10\nwords=[['internal-only']]\n"])
            .unwrap();
    assert_eq!(more.count(), Rules::own().unwrap().count() + 1);
}

#[test]
fn a_rule_that_would_loop_elsewhere_takes_time_by_size_alone() {
    let rules = Rules::parse(&[
        "[[rule]]\nid='evil'\ntitle='t'\nscore=10\nwords=[['aaa']]\nshape='(a+)+$|(a|aa)+b'\n",
    ])
    .unwrap();
    let text = format!("{}!", "a".repeat(200_000));
    assert!(
        rules
            .matches(PYPI, "x.py", text.as_bytes())
            .iter()
            .all(|hit| hit.rule != "nothing")
    );
}

/// Another engine: very many rules that weigh little, and one that weighs much and comes last.
struct Crowd;

impl Matcher for Crowd {
    fn matches(&mut self, _: Ecosystem, _: &str, _: &[u8]) -> Result<Vec<Hit>, String> {
        let hit = |rule: String, weight: u32| Hit {
            title: rule.clone(),
            rule,
            weights: Weights::alike(weight),
            offset: 0,
            shown: None,
        };
        let mut hits: Vec<Hit> = (0..1_000).map(|at| hit(format!("light-{at}"), 2)).collect();
        hits.push(hit("heavy".to_owned(), 95));
        Ok(hits)
    }
}

#[test]
fn what_weighs_much_is_not_hidden_among_very_many_that_weigh_little() {
    let bytes = tar("thing-1.0.0", &[("index.js", "hello\n")]);
    let request = ScanRequest {
        ecosystem: NPM,
        filename: "thing-1.0.0.tgz".to_owned(),
        size: bytes.len() as u64,
        previous: None,
        max_unpacked: 512 << 20,
    };
    let rules = Rules::own().unwrap();
    let outcome = scan(&rules, Some(&mut Crowd), &request, &mut Cursor::new(bytes)).unwrap();
    assert_eq!(outcome.findings[0].rule, "heavy");
    assert!(outcome.score() >= 95);
    assert!(outcome.traits.rules.len() <= 3 * MOST_HITS);
}

#[test]
fn damaged_archives_are_refused_and_nothing_is_said_of_them() {
    let whole = tar(
        "package",
        &[
            ("package.json", "{}"),
            ("index.js", "x".repeat(3_000).as_str()),
        ],
    );
    let rules = Rules::own().unwrap();
    for cut in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
        let request = ScanRequest {
            ecosystem: NPM,
            filename: "thing-1.0.0.tgz".to_owned(),
            size: cut as u64,
            previous: None,
            max_unpacked: 512 << 20,
        };
        assert!(
            scan(&rules, None, &request, &mut Cursor::new(&whole[..cut])).is_err(),
            "{cut}"
        );
    }
}

#[test]
fn a_wheel_is_held_against_the_sdist_of_its_release() {
    let sources = |files: &[(&str, &str)]| scanned_after(Ecosystem::Pypi, files, None).traits;
    let honest = sources(&[
        ("setup.py", "setup()\n"),
        ("src/thing/__init__.py", "a = 1\n"),
        ("src/thing/empty.py", ""),
        ("README.md", "Thing\n"),
    ]);
    assert_eq!(honest.modules.len(), 2, "{honest:?}");
    // Where a module stands says nothing: builders of wheels move them.
    let same = sources(&[("thing/__init__.py", "a = 1\n"), ("thing/more.py", "")]);
    assert_eq!(beside_source(&same, &honest), None);
    let changed = sources(&[
        ("thing/__init__.py", "a = 1; import os\n"),
        ("thing/hook.pth", "import thing\n"),
    ]);
    let found = beside_source(&changed, &honest).unwrap();
    assert_eq!(
        (found.rule.as_str(), found.score),
        ("differs-from-source", 40)
    );
    assert!(
        found.snippet.contains("thing/__init__.py") && found.snippet.contains("thing/hook.pth"),
        "{found:?}"
    );
    // Nothing is said where the sources are not known, and of scripts, which are written anew.
    assert_eq!(beside_source(&changed, &Traits::default()), None);
    let script = sources(&[
        ("thing/__init__.py", "a = 1\n"),
        ("thing-1.0.data/scripts/thing.py", "#!python\n"),
    ]);
    assert_eq!(beside_source(&script, &honest), None);
    // What was kept before this was compared is read.
    let old: Traits =
        serde_json::from_str(r#"{"hooks":[],"binaries":[],"rules":[],"unpacked":7}"#).unwrap();
    assert!(old.modules.is_empty());
    // More modules than are remembered are not compared.
    let many: Vec<(String, String)> = (0..2_001)
        .map(|n| (format!("thing/m{n}.py"), format!("a = {n}\n")))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let many = sources(&many);
    assert!(many.modules.is_empty());
    assert_eq!(beside_source(&changed, &many), None);
}
