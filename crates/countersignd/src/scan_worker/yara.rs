//! YARA rules, as the scanner's second engine (`docs/spec/scan-rules.md`).
//!
//! Conditions of rules are compiled to code for an interpreter. Nothing is ever made executable, neither where rules are
//! compiled nor where they are used.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::scan::{Hit, Matcher, Weights};
use yara_x::{Compiler, MetaValue, ScanError, SourceCode};

/// Is this engine in this build?
pub const BUILT: bool = true;

/// The rules that come along. What they find is named as the built-in rules name it, so that it counts once.
const OWN: &str = include_str!("rules.yar");
/// Their namespace.
const OURS: &str = "countersign";
/// So many rules may there be.
const MOST_RULES: usize = 20_000;
/// One member takes so long at most, in seconds.
const PATIENCE: u64 = 10;
/// A pattern is looked for so often in a member.
const MOST_MATCHES: usize = 1_000;
/// The longest title, in characters.
const TITLE: usize = 160;

/// Compiles the rules that come along and the operator's files, each given by its path and text. The result is good for
/// [`Rules::load`] of this same program.
///
/// # Errors
/// The first rule that can not be used: file, line and column, and why.
pub fn compile(files: &[(String, String)]) -> Result<Vec<u8>, String> {
    let mut compiler = Compiler::new();
    // A rule reads what it is given and nothing else of this machine.
    compiler.enable_includes(false);
    for name in ["ecosystem", "filepath", "filename", "extension"] {
        compiler
            .define_global(name, "")
            .map_err(|error| error.to_string())?;
    }
    let own = (OURS.to_owned(), "the rules that come along", OWN);
    let theirs = files
        .iter()
        .map(|(path, text)| (namespace(path), path.as_str(), text.as_str()));
    for (namespace, origin, text) in std::iter::once(own).chain(theirs) {
        compiler.new_namespace(&namespace);
        let source = SourceCode::from(text).with_origin(origin);
        if let Err(error) = compiler.add_source(source) {
            return Err(told(origin, &error));
        }
    }
    let rules = compiler.build();
    if rules.iter().len() > MOST_RULES {
        return Err(format!("there are more than {MOST_RULES} rules"));
    }
    for rule in rules.iter() {
        Judgement::of(&rule).map_err(|why| {
            format!(
                "the rule {}: {why}",
                name(rule.namespace(), rule.identifier())
            )
        })?;
    }
    rules.serialize().map_err(|error| error.to_string())
}

/// The file's name without its ending.
fn namespace(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    if stem == OURS {
        // That one is taken.
        format!("{stem}-own")
    } else {
        stem.to_owned()
    }
}

/// In one line, with the place.
fn told(origin: &str, error: &yara_x::errors::CompileError) -> String {
    let error = serde_json::to_value(error).unwrap_or_default();
    let number = |key: &str| error[key].as_u64().unwrap_or(0);
    let label = error["labels"][0]["text"].as_str().unwrap_or_default();
    let title = error["title"].as_str().unwrap_or("it can not be compiled");
    let mut text = format!("{origin}:{}:{}: {title}", number("line"), number("column"));
    if !label.is_empty() && label != title {
        text.push_str(&format!(" ({label})"));
    }
    text
}

/// How findings name a rule. Ours are twins of built-in ones.
fn name(namespace: &str, identifier: &str) -> String {
    if namespace == OURS {
        identifier.replace('_', "-")
    } else {
        format!("yara:{namespace}.{identifier}")
    }
}

/// What the metadata of a rule say of its matches.
struct Judgement {
    title: String,
    weights: Weights,
    /// None: all.
    ecosystems: Vec<String>,
    /// Patterns of paths; none: every path.
    paths: Vec<String>,
}

impl Judgement {
    fn of(rule: &yara_x::Rule<'_, '_>) -> Result<Self, String> {
        let (mut title, mut severity) = (None, None);
        let (mut score, mut entry, mut install) = (None, None, None);
        let (mut ecosystems, mut paths) = (Vec::new(), Vec::new());
        let list = |text: &str| -> Vec<String> {
            let parts = text.split(',').map(str::trim);
            parts
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        for (key, value) in rule.metadata() {
            match (key, value) {
                ("title", MetaValue::String(text)) => title = Some(text),
                ("description", MetaValue::String(text)) => title = title.or(Some(text)),
                ("severity", MetaValue::String(text)) => severity = Some(text.to_ascii_lowercase()),
                ("ecosystems", MetaValue::String(text)) => ecosystems = list(text),
                ("path_include", MetaValue::String(text)) => paths = list(text),
                ("score" | "entry" | "install", MetaValue::Integer(weight)) => {
                    let weight = u32::try_from(weight)
                        .ok()
                        .filter(|weight| *weight <= 100)
                        .ok_or_else(|| format!("its {key} is {weight}, and not 0 to 100"))?;
                    match key {
                        "score" => score = Some(weight),
                        "entry" => entry = Some(weight),
                        _ => install = Some(weight),
                    }
                }
                ("score" | "entry" | "install", _) => {
                    return Err(format!("its {key} is no whole number"));
                }
                _ => {}
            }
        }
        if let Some(unknown) = ecosystems
            .iter()
            .find(|name| !["pypi", "cargo", "npm"].contains(&name.as_str()))
        {
            return Err(format!(
                "its ecosystems name {unknown:?}, and not pypi, cargo or npm"
            ));
        }
        let weights = if score.or(entry).or(install).is_some() {
            let other = score.unwrap_or(0);
            let entry = entry.unwrap_or(other);
            Weights {
                other,
                entry,
                install: install.unwrap_or(entry),
            }
        } else {
            by_severity(severity.as_deref())
        };
        let mut title: String = title
            .unwrap_or_else(|| rule.identifier())
            .chars()
            .filter(|c| !c.is_control())
            .take(TITLE)
            .collect();
        if let Some(severity) = severity {
            let severity: String = severity
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .take(20)
                .collect();
            title.push_str(&format!(" (severity {severity})"));
        }
        Ok(Self {
            title,
            weights,
            ecosystems,
            paths,
        })
    }

    fn applies(&self, ecosystem: Ecosystem, path: &str) -> bool {
        (self.ecosystems.is_empty()
            || self
                .ecosystems
                .iter()
                .any(|name| name == ecosystem.as_str()))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| fits(pattern, path)))
    }
}

/// Rules of others are written to be looked at, not to withhold: none of them holds a file by itself but a critical one in
/// what runs at installation.
fn by_severity(severity: Option<&str>) -> Weights {
    let [other, entry, install] = match severity {
        Some("critical") => [55, 70, 90],
        Some("high") => [35, 50, 70],
        Some("low" | "info" | "informational") => [5, 10, 20],
        _ => [20, 30, 45],
    };
    Weights {
        other,
        entry,
        install,
    }
}

/// `*` stands for any characters, `?` for one. A pattern without a slash is about the file's name.
fn fits(pattern: &str, path: &str) -> bool {
    let text = if pattern.contains('/') {
        path
    } else {
        path.rsplit('/').next().unwrap_or(path)
    };
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Where the last star stood, and how much it took: the time is at most the product of both lengths.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Compiled rules, ready to be used.
pub struct Rules {
    compiled: yara_x::Rules,
    judgements: BTreeMap<(String, String), Judgement>,
}

impl Rules {
    /// What [`compile`] made, in this very program.
    ///
    /// # Errors
    /// It is something else.
    pub fn load(bytes: &[u8]) -> Result<Self, String> {
        let compiled = yara_x::Rules::deserialize(bytes).map_err(|error| error.to_string())?;
        let judgements = compiled
            .iter()
            .map(|rule| {
                let key = (rule.namespace().to_owned(), rule.identifier().to_owned());
                Judgement::of(&rule).map(|judgement| (key, judgement))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            compiled,
            judgements,
        })
    }

    /// Looks with them.
    pub fn matcher(&self) -> impl Matcher {
        let mut scanner = yara_x::Scanner::new(&self.compiled);
        scanner
            .set_timeout(Duration::from_secs(PATIENCE))
            .max_matches_per_pattern(MOST_MATCHES)
            .fast_scan(true);
        Looking {
            rules: self,
            scanner,
        }
    }
}

struct Looking<'r> {
    rules: &'r Rules,
    scanner: yara_x::Scanner<'r>,
}

impl Matcher for Looking<'_> {
    fn matches(
        &mut self,
        ecosystem: Ecosystem,
        path: &str,
        bytes: &[u8],
    ) -> Result<Vec<Hit>, String> {
        let filename = path.rsplit('/').next().unwrap_or(path);
        let extension = filename.rfind('.').map_or("", |dot| &filename[dot..]);
        for (global, value) in [
            ("ecosystem", ecosystem.as_str()),
            ("filepath", path),
            ("filename", filename),
            ("extension", extension),
        ] {
            self.scanner
                .set_global(global, value)
                .map_err(|error| error.to_string())?;
        }
        let shown: String = path
            .chars()
            .filter(|c| !c.is_control())
            .take(TITLE)
            .collect();
        let results = self.scanner.scan(bytes).map_err(|error| match error {
            ScanError::Timeout => {
                format!("the YARA rules took more than {PATIENCE} seconds for {shown}")
            }
            error => format!("the YARA rules failed at {shown}: {error}"),
        })?;
        let mut hits = Vec::new();
        for rule in results.matching_rules() {
            let key = (rule.namespace().to_owned(), rule.identifier().to_owned());
            let Some(judgement) = self.rules.judgements.get(&key) else {
                continue;
            };
            if !judgement.applies(ecosystem, path) {
                continue;
            }
            let offset = rule
                .patterns()
                .include_private(true)
                .flat_map(|pattern| pattern.matches().next().map(|found| found.range().start))
                .max();
            hits.push(Hit {
                rule: name(&key.0, &key.1),
                title: judgement.title.clone(),
                weights: judgement.weights,
                offset: offset.unwrap_or(0),
                shown: None,
            });
        }
        Ok(hits)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use countersign_registry::scan::{self, Outcome, ScanRequest};
    use countersign_testkit::imitations::{self, Imitation};

    use super::*;

    fn rules(text: &str) -> Result<Rules, String> {
        Rules::load(&compile(&[("mine.yar".to_owned(), text.to_owned())])?)
    }

    /// What these rules alone find in the files of an imitation, by their paths.
    fn found(rules: &Rules, imitation: &Imitation) -> Vec<String> {
        let ecosystem: Ecosystem = imitation.ecosystem.parse().unwrap();
        let mut matcher = rules.matcher();
        let hits = imitation
            .files
            .iter()
            .flat_map(|(path, text)| matcher.matches(ecosystem, path, text.as_bytes()).unwrap());
        hits.map(|hit| hit.rule).collect()
    }

    #[test]
    fn the_rules_that_come_along_find_every_imitation_by_themselves() {
        let rules = Rules::load(&compile(&[]).unwrap()).unwrap();
        let mut looked = 0;
        for imitation in imitations::all() {
            if imitation.rule.starts_with("secret-") {
                // Secrets are no rules in either engine.
                continue;
            }
            let found = found(&rules, &imitation);
            assert!(
                found.iter().any(|rule| rule == imitation.rule),
                "{}: {found:?}",
                imitation.what
            );
            looked += 1;
        }
        assert!(looked > 25, "{looked}");
    }

    #[test]
    fn what_both_engines_find_counts_once_and_weighs_the_same() {
        let rules = Rules::load(&compile(&[]).unwrap()).unwrap();
        for imitation in imitations::all() {
            let (filename, bytes) = imitation.archive();
            let request = ScanRequest {
                ecosystem: imitation.ecosystem.parse().unwrap(),
                filename,
                size: bytes.len() as u64,
                previous: None,
                max_unpacked: 512 << 20,
            };
            let look = |also: Option<&mut dyn Matcher>| -> Outcome {
                let own = scan::Rules::own().unwrap();
                scan::scan(&own, also, &request, &mut Cursor::new(&bytes)).unwrap()
            };
            let (without, with) = (look(None), look(Some(&mut rules.matcher())));
            assert_eq!(without.score(), with.score(), "{}", imitation.what);
            assert_eq!(without.findings, with.findings, "{}", imitation.what);
        }
    }

    #[test]
    fn a_rule_that_can_not_be_compiled_is_named_with_its_line() {
        for (text, place, why) in [
            ("rule a {\n condition:\n  tru\n}\n", "mine.yar:3:3:", "tru"),
            ("rule a { condition: true", "mine.yar:1:", "syntax error"),
            (
                "import \"pe\"\nrule a { condition: true }",
                "mine.yar:1:",
                "pe",
            ),
            ("include \"/etc/passwd\"\n", "mine.yar:1:", "include"),
            (
                "rule a { strings: $a = /(/ condition: $a }",
                "mine.yar:1:",
                "reg",
            ),
            (
                "rule a { meta: score = 101 condition: true }",
                "yara:mine.a",
                "101",
            ),
            (
                "rule a { meta: install = \"much\" condition: true }",
                "yara:mine.a",
                "whole number",
            ),
            (
                "rule a { meta: ecosystems = \"gems\" condition: true }",
                "yara:mine.a",
                "gems",
            ),
        ] {
            let told = rules(text).err().expect(text);
            assert!(told.contains(place) && told.contains(why), "{text}: {told}");
            assert!(!told.contains('\n'), "{told}");
        }
        assert!(Rules::load(b"YARA-X\0\0nonsense").is_err());
        assert!(Rules::load(b"").is_err());
    }

    #[test]
    fn metadata_of_a_rule_say_what_it_weighs_and_where() {
        let rules = rules(
            "rule loud { meta: description = \"Loud\" severity = \"critical\" strings: $a = \"hello\" condition: $a }\n\
             rule mine { meta: title = \"Mine\" score = 7 install = 90 path_include = \"*.py, docs/*\" strings: $a = \"hello\" condition: $a }\n\
             rule named { strings: $a = \"hello\" condition: $a and filename == \"x.py\" and extension == \".py\" and ecosystem == \"pypi\" }\n\
             private rule hidden { strings: $a = \"hello\" condition: $a }\n",
        )
        .unwrap();
        let mut matcher = rules.matcher();
        let mut look = |path: &str| {
            let mut hits = matcher
                .matches(Ecosystem::Pypi, path, b"\n  hello")
                .unwrap();
            hits.retain(|hit| hit.rule.starts_with("yara:"));
            hits
        };
        let hits = look("thing/x.py");
        let named: Vec<&str> = hits.iter().map(|hit| hit.rule.as_str()).collect();
        assert_eq!(
            named,
            ["yara:mine.loud", "yara:mine.mine", "yara:mine.named"]
        );
        assert_eq!(hits[0].title, "Loud (severity critical)");
        assert_eq!(
            (hits[0].offset, hits[0].weights),
            (3, by_severity(Some("critical")))
        );
        let weights = Weights {
            other: 7,
            entry: 7,
            install: 90,
        };
        assert_eq!((hits[1].title.as_str(), hits[1].weights), ("Mine", weights));
        assert_eq!(look("thing/x.js").len(), 1);
        assert_eq!(look("docs/x.js").len(), 2);
    }

    #[test]
    fn paths_fit_their_patterns() {
        for (pattern, path, good) in [
            ("*.py", "a/b.py", true),
            ("*.py", "a/b.pyc", false),
            ("setup.py", "a/setup.py", true),
            ("a/*", "a/b/c.js", true),
            ("a/*", "b/a/c.js", false),
            ("?.js", "x.js", true),
            ("?.js", "xy.js", false),
            ("*a*b*", "xaxxb", true),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, path), good, "{pattern} {path}");
        }
        let long = "a".repeat(10_000);
        assert!(!fits(&"*a".repeat(50).replace("a*", "a*b"), &long));
    }

    #[test]
    fn a_rule_that_loops_is_stopped_and_the_file_is_named() {
        let rules = rules(
            "rule loops { condition: for all i in (0..filesize) : ( for all j in (0..filesize) : ( uint8(i) + uint8(j) >= 0 ) ) }",
        )
        .unwrap();
        let told = rules
            .matcher()
            .matches(Ecosystem::Npm, "big.js", &vec![b'a'; 4 << 20])
            .unwrap_err();
        assert!(told.contains("more than 10 seconds for big.js"), "{told}");
    }
}
