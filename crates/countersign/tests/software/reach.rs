//! `countersign audit --reach`: pairs of projects that get at what is flawed and that do not, and those of which nobody can say.

use serde_json::{Value, json};

use crate::{Desk, advisory};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A project that asks for `outer`, which asks for `inner`, whose 1.0.0 is flawed.
#[derive(Clone, Copy)]
enum Lock {
    Cargo,
    Uv,
    Npm,
}

impl Lock {
    fn write(self, desk: &Desk, functions: &[&str]) {
        let (name, text, ecosystem) = match self {
            Self::Cargo => ("Cargo.lock", cargo(), "crates.io"),
            Self::Uv => ("uv.lock", uv(), "PyPI"),
            Self::Npm => ("package-lock.json", npm(), "npm"),
        };
        desk.write(name, text);
        let events = json!([{"introduced": "0"}, {"fixed": "1.0.2"}]);
        let mut record = advisory("X-1", ecosystem, "inner", &events);
        if !functions.is_empty() {
            record["affected"][0]["ecosystem_specific"] =
                json!({"affects": {"functions": functions}});
        }
        beside(desk, "db.json", record.to_string());
    }

    /// A file of a package, where the packages are.
    fn package(self, desk: &Desk, package: &str, file: &str, text: &str) {
        match self {
            Self::Cargo => {
                beside(
                    desk,
                    &format!("sources/{package}-1.0.0/Cargo.toml"),
                    format!("[package]\nname = \"{package}\"\nversion = \"1.0.0\"\n"),
                );
                beside(desk, &format!("sources/{package}-1.0.0/src/{file}"), text);
            }
            Self::Uv => {
                // The name under which it is imported is not its own.
                let module = format!("py{package}");
                beside(desk, &format!("sources/{module}/{file}"), text);
                let record = format!("{module}/__init__.py,,\n{module}/{file},sha256=x,1\n");
                beside(
                    desk,
                    &format!("sources/{package}-1.0.0.dist-info/RECORD"),
                    record,
                );
            }
            Self::Npm => {
                let manifest = json!({"name": package, "version": "1.0.0"});
                beside(
                    desk,
                    &format!("sources/{package}/package.json"),
                    manifest.to_string(),
                );
                beside(desk, &format!("sources/{package}/{file}"), text);
            }
        }
    }
}

fn cargo() -> String {
    let package = |name: &str, more: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsource = \"sparse+https://i.example.test/\"\nchecksum = \"{A}\"\n{more}\n"
        )
    };
    format!(
        "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\"outer\"]\n{}{}",
        package("inner", ""),
        package("outer", "dependencies = [\"inner\"]")
    )
}

fn uv() -> String {
    let package = |name: &str, more: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsource = {{ registry = \"https://i.example.test\" }}\n{more}\nsdist = {{ url = \"https://i.example.test/{name}-1.0.0.tar.gz\", hash = \"sha256:{A}\" }}\n"
        )
    };
    format!(
        "version = 1\nrequires-python = \">=3.9\"\n[[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = {{ virtual = \".\" }}\ndependencies = [{{ name = \"outer\" }}]\n{}{}",
        package("inner", ""),
        package("outer", "dependencies = [{ name = \"inner\" }]")
    )
}

fn npm() -> String {
    let integrity = format!("sha512-{}==", "q".repeat(85) + "g");
    json!({"lockfileVersion": 3, "packages": {
        "": {"dependencies": {"outer": "1"}},
        "node_modules/outer": {"version": "1.0.0", "resolved": "https://r.example.test/outer/-/outer-1.0.0.tgz", "integrity": integrity, "dependencies": {"inner": "1"}},
        "node_modules/inner": {"version": "1.0.0", "resolved": "https://r.example.test/inner/-/inner-1.0.0.tgz", "integrity": integrity},
    }})
    .to_string()
}

/// Packages and advisories lie beside the project: what is in it is its code.
fn beside(desk: &Desk, name: &str, text: impl AsRef<[u8]>) {
    let path = desk.home().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// `audit --reach`, with further words.
fn words(desk: &Desk, more: &[&str]) -> Vec<String> {
    let at = |name: &str| desk.home().join(name).to_str().unwrap().to_owned();
    let (sources, db) = (at("sources"), at("db.json"));
    let audit = [
        "audit",
        "--reach",
        "--packages",
        &sources,
        "--advisories",
        &db,
    ];
    let all = audit.iter().chain(more);
    all.map(|word| (*word).to_owned()).collect()
}

fn text(desk: &Desk, exit: i32, more: &[&str]) -> String {
    let words = words(desk, more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    desk.text(exit, &words)
}

fn json(desk: &Desk, exit: i32, more: &[&str]) -> Value {
    serde_json::from_str(&text(desk, exit, more)).unwrap()
}

/// What is said about the only flaw. It is told in any case, and counts.
#[track_caller]
fn reach(desk: &Desk) -> Value {
    let audited = json(desk, 3, &["--json"]);
    let findings = audited["audited"]["lockfiles"][0]["findings"].clone();
    assert_eq!(findings.as_array().unwrap().len(), 1, "{audited}");
    findings[0]["reach"].clone()
}

/// `answer level by tests`, and the last place.
fn short(reach: &Value) -> (String, String) {
    let tests = match reach["tests_only"].as_bool() {
        Some(true) => " tests",
        _ => "",
    };
    let by = reach["by"].as_str().unwrap_or("-");
    let places = reach["places"].as_array().unwrap();
    let place = places.last().map_or(String::new(), |place| {
        let of = place["package"].as_str().unwrap_or_default();
        let of = of.rsplit('/').next().unwrap_or_default();
        let path = place["path"].as_str().unwrap();
        format!("{of} {path}:{}", place["line"])
            .trim_start()
            .to_owned()
    });
    let answer = reach["answer"].as_str().unwrap();
    (
        format!("{answer} {} {by}{tests}", reach["level"].as_str().unwrap()),
        place,
    )
}

/// One project: its files, and what is to be said of it.
struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    expected: &'static str,
    place: &'static str,
}

const fn case(
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    expected: &'static str,
    place: &'static str,
) -> Case {
    Case {
        name,
        files,
        expected,
        place,
    }
}

/// Cases that differ in the project's own code. Packages and advisory stay.
#[track_caller]
fn cases(lock: Lock, functions: &[&str], packages: &[(&str, &str, &str)], cases: &[Case]) {
    for case in cases {
        let desk = Desk::new();
        lock.write(&desk, functions);
        for (package, file, text) in packages {
            lock.package(&desk, package, file, text);
        }
        for (path, text) in case.files {
            desk.write(path, text);
        }
        let reach = reach(&desk);
        let (answer, place) = short(&reach);
        assert_eq!(answer, case.expected, "{}: {reach:#}", case.name);
        if !case.place.is_empty() {
            assert_eq!(place, case.place, "{}: {reach:#}", case.name);
        }
        if answer.starts_with("unknown") {
            let reasons = reach["reasons"].as_array().unwrap();
            assert!(!reasons.is_empty(), "{}: {reach:#}", case.name);
        }
    }
}

#[test]
fn a_package_that_is_imported_nowhere_is_told_from_one_that_is() {
    // `outer` imports `inner`: whoever gets at the one gets at the other.
    cases(
        Lock::Uv,
        &[],
        &[
            ("outer", "main.py", "import pyinner.deep\n"),
            ("inner", "deep.py", "x = 1\n"),
        ],
        &[
            case(
                "imported",
                &[("app.py", "import os\nimport pyouter\n")],
                "reachable import path",
                "outer@1.0.0 pyouter/main.py:1",
            ),
            case(
                "nowhere",
                &[("app.py", "import os\nprint('outer')\n")],
                "unreachable import -",
                "",
            ),
            case(
                "by itself",
                &[("app.py", "from pyinner import deep\n")],
                "reachable import path",
                "app.py:1",
            ),
            case(
                "lazily",
                &[(
                    "app.py",
                    "def f():\n    import pyouter.main as m\n    return m\n",
                )],
                "reachable import path",
                "",
            ),
            case(
                "by text that stands there",
                &[(
                    "app.py",
                    "import importlib\nm = importlib.import_module('pyouter.main')\n",
                )],
                "reachable import path",
                "",
            ),
            case(
                "by text that is made",
                &[(
                    "app.py",
                    "import importlib\nm = importlib.import_module('py' + name)\n",
                )],
                "unknown import -",
                "",
            ),
            case(
                "text that names it",
                &[("app.py", "PLUGINS = ['pyouter.main']\n")],
                "unknown import -",
                "",
            ),
            case(
                "a local thing of that name",
                &[("app.py", "pyouter = 1\nprint(pyouter)\n")],
                "unreachable import -",
                "",
            ),
            case(
                "by tests",
                &[
                    ("app.py", "x = 1\n"),
                    ("tests/test_a.py", "import pyouter\n"),
                ],
                "reachable import path tests",
                "",
            ),
            case(
                "a comment",
                &[("app.py", "# import pyouter\n'''import pyouter'''\n")],
                "unreachable import -",
                "",
            ),
            case(
                "not understood",
                &[("app.py", "import (((\n  pyouter +\n")],
                "unknown import -",
                "",
            ),
            case("no code", &[], "unknown import -", ""),
        ],
    );
    cases(
        Lock::Npm,
        &[],
        &[
            ("outer", "index.js", "const inner = require('inner');\n"),
            ("inner", "index.js", "exports.x = 1;\n"),
        ],
        &[
            case(
                "import",
                &[(
                    "a.mjs",
                    "import fs from 'node:fs';\nimport thing from 'outer/sub.js';\n",
                )],
                "reachable import path",
                "outer@1.0.0 index.js:1",
            ),
            case(
                "require",
                &[("a.js", "function f() { return require(\"outer\"); }\n")],
                "reachable import path",
                "",
            ),
            case(
                "later",
                &[(
                    "a.js",
                    "const load = async () => (await import('outer')).go();\n",
                )],
                "reachable import path",
                "",
            ),
            case(
                "handed on",
                &[("a.mjs", "export * from 'outer';\n")],
                "reachable import path",
                "",
            ),
            case(
                "under another name",
                &[
                    (
                        "package.json",
                        "{\"dependencies\":{\"other\":\"npm:outer@^1\"}}",
                    ),
                    ("a.js", "require('other')\n"),
                ],
                "reachable import path",
                "",
            ),
            case(
                "nowhere",
                &[("a.js", "const outer = 1; // require('outer')\n")],
                "unreachable import -",
                "",
            ),
            case(
                "made",
                &[("a.js", "require(process.argv[2])\n")],
                "unknown import -",
                "",
            ),
            case(
                "in settings",
                &[("a.js", "1\n"), (".babelrc", "{\"plugins\":[\"outer\"]}")],
                "unknown import -",
                "",
            ),
            case(
                "in a script",
                &[
                    ("a.js", "1\n"),
                    (
                        "package.json",
                        "{\"dependencies\":{\"outer\":\"1\"},\"scripts\":{\"go\":\"outer --fast\"}}",
                    ),
                ],
                "unknown import -",
                "",
            ),
            case(
                "only asked for",
                &[
                    ("a.js", "1\n"),
                    ("package.json", "{\"dependencies\":{\"outer\":\"1\"}}"),
                ],
                "unreachable import -",
                "",
            ),
            case(
                "another language's file",
                &[("a.ts", "import type { X } from 'outer'\n")],
                "reachable import path",
                "",
            ),
            case(
                "in a dialect",
                &[("a.vue", "<script>\nimport x from 'outer'\n</script>\n")],
                "unknown import -",
                "",
            ),
            case(
                "in jsx",
                &[(
                    "a.jsx",
                    "import { Thing } from 'outer';\nexport default () => <Thing a='1' />;\n",
                )],
                "reachable import path",
                "",
            ),
        ],
    );
    cases(
        Lock::Cargo,
        &[],
        &[
            ("outer", "lib.rs", "pub fn go() { inner::vulnerable() }\n"),
            ("inner", "lib.rs", "pub fn vulnerable() {}\n"),
        ],
        &[
            case(
                "used",
                &[("src/main.rs", "use outer::go;\nfn main() { go() }\n")],
                "reachable import path",
                "outer@1.0.0 src/lib.rs:1",
            ),
            case(
                "by a path",
                &[("src/main.rs", "fn main() {\n    outer::go()\n}\n")],
                "reachable import path",
                "",
            ),
            case(
                "in a macro",
                &[(
                    "src/main.rs",
                    "fn main() { println!(\"{}\", outer::go()) }\n",
                )],
                "reachable import path",
                "",
            ),
            case(
                "renamed",
                &[
                    (
                        "Cargo.toml",
                        "[dependencies]\nmine = { package = \"outer\", version = \"1\" }\n",
                    ),
                    (
                        "src/main.rs",
                        "extern crate mine as m;\nfn main() { m::go() }\n",
                    ),
                ],
                "reachable import path",
                "",
            ),
            case(
                "nowhere",
                &[(
                    "src/main.rs",
                    "// outer::go\nfn main() { let outer = \"outer::go\"; }\n",
                )],
                "unreachable import -",
                "",
            ),
            case(
                "a module of its own",
                &[(
                    "src/main.rs",
                    "mod outer { pub fn go() {} }\nfn main() { outer::go() }\n",
                )],
                "unreachable import -",
                "",
            ),
            case(
                "by tests",
                &[(
                    "src/lib.rs",
                    "#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() { outer::go() }\n}\n",
                )],
                "reachable import path tests",
                "",
            ),
            case(
                "elsewhere",
                &[
                    (
                        "Cargo.toml",
                        "[dependencies]\nmine = { path = \"../mine\" }\n",
                    ),
                    ("src/main.rs", "fn main() {}\n"),
                ],
                "unknown import -",
                "",
            ),
        ],
    );
}

#[test]
fn without_the_sources_of_what_lies_between_nobody_can_say() {
    cases(
        Lock::Cargo,
        &[],
        &[("inner", "lib.rs", "pub fn vulnerable() {}\n")],
        &[
            case(
                "outer is used",
                &[("src/main.rs", "fn main() { outer::go() }\n")],
                "unknown import -",
                "",
            ),
            // By what name a crate goes is not certain without its manifest.
            case(
                "outer is not seen",
                &[("src/main.rs", "fn main() {}\n")],
                "unknown import -",
                "",
            ),
        ],
    );
    cases(
        Lock::Npm,
        &[],
        &[],
        &[case(
            "nowhere",
            &[("a.js", "1\n")],
            "unreachable import -",
            "",
        )],
    );
}

#[test]
fn a_flawed_function_that_is_named_nowhere_is_told_from_one_that_is() {
    let outer = "pub fn go() { inner::harmless() }\n";
    let inner = "pub fn harmless() {}\npub fn wrap() { helper() }\nfn helper() { vulnerable() }\npub fn vulnerable() {}\npub struct Reader;\nimpl Reader { pub fn parse(&self) {} }\n";
    let packages = [("outer", "lib.rs", outer), ("inner", "lib.rs", inner)];
    cases(
        Lock::Cargo,
        &["inner::vulnerable"],
        &packages,
        &[
            case(
                "another function",
                &[("src/main.rs", "fn main() { outer::go() }\n")],
                "unreachable symbol -",
                "",
            ),
            case(
                "the function",
                &[(
                    "src/main.rs",
                    "use inner::{harmless, vulnerable as v};\nfn main() { v() }\n",
                )],
                "reachable symbol path",
                "src/main.rs:1",
            ),
            case(
                "all names",
                &[(
                    "src/main.rs",
                    "use inner::*;\nfn main() {\n    vulnerable()\n}\n",
                )],
                "reachable symbol name",
                "src/main.rs:3",
            ),
            case(
                "by its own code",
                &[("src/main.rs", "fn main() { inner::wrap() }\n")],
                "reachable symbol name",
                "inner@1.0.0 src/lib.rs:4",
            ),
            case(
                "handed on",
                &[
                    ("src/compat.rs", "pub use inner as i;\n"),
                    (
                        "src/main.rs",
                        "mod compat;\nfn main() {\n    compat::i::vulnerable()\n}\n",
                    ),
                ],
                "reachable symbol name",
                "src/main.rs:3",
            ),
            case(
                "another of that name",
                &[(
                    "src/main.rs",
                    "use outer::go;\nfn vulnerable() {}\nfn main() { go(); vulnerable() }\n",
                )],
                "unreachable symbol -",
                "",
            ),
            case(
                "by tests",
                &[(
                    "src/lib.rs",
                    "pub fn f() { outer::go() }\n#[cfg(test)]\nmod tests { fn t() { inner::vulnerable() } }\n",
                )],
                "reachable symbol path tests",
                "",
            ),
        ],
    );
    cases(
        Lock::Cargo,
        &["inner::Reader::parse"],
        &packages,
        &[
            case(
                "a method of something",
                &[(
                    "src/main.rs",
                    "use inner::Reader;\nfn main() { Reader.parse() }\n",
                )],
                "reachable symbol name",
                "src/main.rs:2",
            ),
            case(
                "a method by its path",
                &[(
                    "src/main.rs",
                    "use inner::Reader;\nfn main() { Reader::parse(&Reader) }\n",
                )],
                "reachable symbol path",
                "",
            ),
            case(
                "no method",
                &[(
                    "src/main.rs",
                    "use inner::Reader;\nfn main() { let _ = Reader; }\n",
                )],
                "unreachable symbol -",
                "",
            ),
        ],
    );
    // What is not found in the package's sources may be there all the same: macros make functions too.
    cases(
        Lock::Cargo,
        &["inner::made"],
        &packages,
        &[case(
            "not there",
            &[("src/main.rs", "fn main() { outer::go() }\n")],
            "unknown symbol -",
            "",
        )],
    );
    let inner = "def safe(x):\n    return x\ndef vulnerable(x):\n    return x\nclass Reader:\n    def parse(self):\n        return 1\n";
    let packages = [
        ("outer", "main.py", "import pyinner.deep as d\nd.safe(1)\n"),
        ("inner", "deep.py", inner),
    ];
    cases(
        Lock::Uv,
        &["pyinner.deep.vulnerable"],
        &packages,
        &[
            case(
                "another function",
                &[("app.py", "import pyouter\n")],
                "unreachable symbol -",
                "",
            ),
            case(
                "the function",
                &[("app.py", "import pyinner.deep as d\n\nd.vulnerable(1)\n")],
                "reachable symbol path",
                "app.py:3",
            ),
            case(
                "handed on",
                &[
                    ("app/compat.py", "import pyinner.deep as d\n"),
                    ("app/main.py", "from app.compat import d\nd.vulnerable(1)\n"),
                ],
                "reachable symbol name",
                "app/main.py:2",
            ),
            case(
                "a local one",
                &[(
                    "app.py",
                    "from pyinner.deep import safe\ndef vulnerable():\n    pass\nvulnerable()\nsafe(1)\n",
                )],
                "unreachable symbol -",
                "",
            ),
            case(
                "by text that stands there",
                &[(
                    "app.py",
                    "import pyinner.deep as d\ngetattr(d, 'vulnerable')(1)\n",
                )],
                "reachable symbol path",
                "",
            ),
            case(
                "by text that is made",
                &[("app.py", "import pyinner.deep as d\ngetattr(d, name)(1)\n")],
                "unknown symbol -",
                "",
            ),
            case(
                "in a table",
                &[(
                    "app.py",
                    "import pyouter\nTABLE = {'x': 'pyinner.deep:vulnerable'}\nimport pyinner\n",
                )],
                "unknown symbol -",
                "",
            ),
            case(
                "as code",
                &[("app.py", "import pyinner\neval(text)\n")],
                "unknown symbol -",
                "",
            ),
        ],
    );
    let inner = "exports.safe = function (x) { return x };\nexports.vulnerable = (x) => x;\n";
    let packages = [
        (
            "outer",
            "index.js",
            "const { safe } = require('inner');\nsafe(1);\n",
        ),
        ("inner", "index.js", inner),
    ];
    cases(
        Lock::Npm,
        &["inner.vulnerable"],
        &packages,
        &[
            case(
                "another function",
                &[("a.js", "require('outer')\n")],
                "unreachable symbol -",
                "",
            ),
            case(
                "the function",
                &[(
                    "a.mjs",
                    "import { safe, vulnerable as v } from 'inner';\nv(1);\n",
                )],
                "reachable symbol path",
                "a.mjs:1",
            ),
            case(
                "as a member",
                &[(
                    "a.mjs",
                    "import inner from 'inner';\n\ninner.vulnerable(1);\n",
                )],
                "reachable symbol path",
                "a.mjs:3",
            ),
            case(
                "taken apart",
                &[("a.js", "const {\n  vulnerable: v } = require('inner');\n")],
                "reachable symbol path",
                "",
            ),
            case(
                "handed on",
                &[
                    ("b.js", "module.exports = require('inner');\n"),
                    (
                        "a.js",
                        "const { vulnerable } = require('./b');\nvulnerable(1);\n",
                    ),
                ],
                "reachable symbol name",
                "a.js:1",
            ),
            case(
                "later",
                &[(
                    "a.js",
                    "import('inner').then(({ vulnerable }) => vulnerable(1));\n",
                )],
                "reachable symbol name",
                "",
            ),
            case(
                "by a name that is made",
                &[(
                    "a.js",
                    "const i = require('inner');\ni[process.argv[2]](1);\n",
                )],
                "unknown symbol -",
                "",
            ),
            case(
                "in a string",
                &[(
                    "a.js",
                    "const i = require('inner');\nrun(i, 'vulnerable');\n",
                )],
                "unknown symbol -",
                "",
            ),
            case(
                "a local one",
                &[(
                    "a.js",
                    "const { safe } = require('inner');\nfunction vulnerable() {}\nvulnerable(safe(1));\n",
                )],
                "unreachable symbol -",
                "",
            ),
        ],
    );
}

#[test]
fn it_is_told_in_every_form_and_nothing_is_left_out() {
    let desk = Desk::new();
    Lock::Npm.write(&desk, &[]);
    Lock::Npm.package(&desk, "outer", "index.js", "require('inner');\n");
    desk.write("a.js", "1\n");
    let shown = text(&desk, 3, &[]);
    assert!(
        shown.contains("↓") && shown.contains("imported nowhere"),
        "{shown}"
    );
    let sarif = json(&desk, 3, &["--sarif", "--vex", "vex.json"]);
    let result = &sarif["runs"][0]["results"][0];
    // Without a severity it is an error, and a step less where it is not reached.
    assert_eq!(result["level"], "warning");
    assert_eq!(
        result["properties"]["reachability"]["answer"],
        "unreachable"
    );
    let vex = |desk: &Desk| -> Value {
        let text = std::fs::read_to_string(desk.folder.path().join("vex.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let statement = vex(&desk)["statements"][0].clone();
    // Text is no proof: that it is not affected only the user says.
    assert_eq!(statement["status"], "affected");
    assert_eq!(
        statement["status_notes"],
        "unreachable: it is imported nowhere"
    );
    let passed = ["--ignore", "X-1:looked at:2999-01-01", "--vex", "vex.json"];
    text(&desk, 0, &passed);
    let statement = vex(&desk)["statements"][0].clone();
    assert_eq!(statement["status"], "not_affected");
    assert_eq!(
        statement["justification"],
        "vulnerable_code_not_in_execute_path"
    );
    std::fs::remove_file(desk.folder.path().join("vex.json")).unwrap();

    desk.write("a.js", "// first\nrequire('outer')\n");
    let shown = text(&desk, 3, &[]);
    assert!(
        shown.contains("✗") && shown.contains("a.js:2 uses outer"),
        "{shown}"
    );
    let sarif = json(&desk, 3, &["--sarif"]);
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["level"], "error");
    let place = &result["relatedLocations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a.js");
    assert_eq!(place["region"]["startLine"], 2);

    // Malware runs at its installation: no import is needed.
    let record = std::fs::read_to_string(desk.home().join("db.json")).unwrap();
    let mut record: Value = serde_json::from_str(&record).unwrap();
    record["id"] = json!("MAL-2026-1");
    beside(&desk, "db.json", record.to_string());
    desk.write("a.js", "1\n");
    assert_eq!(reach(&desk)["answer"], "unknown");
}

#[test]
fn what_is_deep_long_or_no_text_at_all_ends() {
    let desk = Desk::new();
    Lock::Uv.write(&desk, &[]);
    Lock::Uv.package(&desk, "outer", "main.py", "import pyinner\n");
    desk.write("deep.py", "(".repeat(200_000));
    desk.write("long.py", "x = 1\n".repeat(400_000));
    desk.write("bytes.py", [0xff, 0, 0x80, b'\n'].repeat(10_000));
    desk.write("chain.py", format!("x{}\n", ".y".repeat(20_000)));
    std::os::unix::fs::symlink("/", desk.folder.path().join("round")).unwrap();
    // None of them has the name: as text that can be said.
    assert_eq!(reach(&desk)["answer"], "unreachable");
    desk.write("deep.py", "(".repeat(200_000) + "\nimport pyouter\n");
    assert_ne!(reach(&desk)["answer"], "unreachable");
}

#[test]
fn an_install_check_says_the_same_and_lets_nothing_pass() {
    let desk = Desk::new();
    Lock::Uv.write(&desk, &[]);
    Lock::Uv.package(&desk, "inner", "__init__.py", "def go():\n    pass\n");
    Lock::Uv.package(&desk, "outer", "__init__.py", "");
    let report = "{\"install\":[{\"metadata\":{\"name\":\"inner\",\"version\":\"1.0.0\"}}]}";
    let pip = format!(
        "for a in \"$@\"; do [ \"$previous\" = --report ] && report=$a; previous=$a; done\necho '{report}' > \"$report\""
    );
    crate::fix::tool(&desk, "pip", &pip);
    let check = |command: &[&str]| -> Value {
        let mut all = words(&desk, &["--json"]);
        all[0] = "install-check".to_owned();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let told = desk.json(3, &[&all[..], command].concat());
        told["checked"]["lockfiles"][0]["findings"][0]["reach"].clone()
    };
    for (source, expected) in [
        ("import pyinner\n\npyinner.go()\n", "reachable"),
        ("import os\n", "unreachable"),
    ] {
        desk.write("app.py", source);
        let told = check(&[]);
        assert_eq!(told["answer"], expected, "{told:#}");
        assert_eq!(told, reach(&desk));
        // What pip would install lies elsewhere than the project that it is for.
        let asked = check(&["--", "pip", "install", "inner"]);
        let is = asked["answer"] == "reachable";
        assert_eq!(is, expected == "reachable", "{asked:#}");
    }
}
