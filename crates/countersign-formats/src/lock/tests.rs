use super::*;
use proptest::prelude::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn shown(lock: &LockFile) -> Vec<String> {
    lock.entries
        .iter()
        .map(|entry| {
            let version = entry.version.as_deref().unwrap_or("-");
            let files: Vec<String> = entry
                .files
                .iter()
                .map(|file| {
                    let name = file.filename.as_deref().unwrap_or("?");
                    let (Digest::Sha256(hex) | Digest::Sha512(hex)) = &file.digest;
                    format!("{name}:{}", &hex[..2])
                })
                .collect();
            format!(
                "{}@{version} {:?} {} {}",
                entry.name_key,
                entry.origin,
                files.join(","),
                entry.unhashed
            )
        })
        .collect()
}

#[test]
fn requirements_with_hashes_are_read() {
    let text = format!(
        "# made by a tool\n--index-url https://index.example/simple\n--require-hashes\n\
         Flask_Thing==1.0.0 ; python_version > '3' \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n    # via x\n\
         other[extra]===2.0 --hash=sha256:{B} # why\n\
         third==1.0\n\
         far @ https://elsewhere.example/far-1.0.tar.gz --hash=sha256:{A}\n"
    );
    let lock = parse("requirements.txt", text.as_bytes()).unwrap();
    assert_eq!(lock.kind, LockKind::Requirements);
    let index = "Index(Some(\"https://index.example/simple\"))";
    assert_eq!(
        shown(&lock),
        [
            format!("flask-thing@1.0.0 {index} ?:aa,?:bb false"),
            format!("other@2.0 {index} ?:bb false"),
            format!("third@1.0 {index}  true"),
            "far@- Elsewhere(\"https://elsewhere.example/far-1.0.tar.gz\") ?:aa false".to_owned(),
        ]
    );
}

#[test]
fn requirements_that_leave_something_open_are_refused_by_their_line() {
    for line in [
        "a>=1",
        "a",
        "a==1.*",
        "-r other.txt",
        "-e .",
        "--extra-index-url https://x",
        "a==1 --hash=md5:00",
        "a==1 --hash=sha256:AA",
        "a==1 --global-option x",
        "./a.whl",
        "https://x.example/a.whl",
    ] {
        let text = format!("b==1 --hash=sha256:{A}\n{line}\n");
        let refused = parse("requirements.txt", text.as_bytes()).unwrap_err();
        assert_eq!(refused.code, "lock-malformed", "{line}");
        assert!(refused.message.contains("line 2"), "{line}: {refused}");
    }
}

#[test]
fn uv_lock_is_read() {
    let text = format!(
        "version = 1\nrevision = 3\nrequires-python = \">=3.12\"\n\n\
         [[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = {{ virtual = \".\" }}\n\n\
         [[package]]\nname = \"thing\"\nversion = \"1.0\"\nsource = {{ registry = \"https://i.example/simple\" }}\n\
         sdist = {{ url = \"https://i.example/files/thing-1.0.tar.gz\", hash = \"sha256:{A}\", size = 3 }}\n\
         wheels = [\n  {{ url = \"https://i.example/f/thing-1.0%2Bl-py3-none-any.whl\", hash = \"sha256:{B}\" }},\n]\n\n\
         [[package]]\nname = \"far\"\nversion = \"1\"\nsource = {{ git = \"https://g.example/far?rev=1#abc\" }}\n"
    );
    let lock = parse("uv.lock", text.as_bytes()).unwrap();
    assert_eq!(
        shown(&lock),
        [
            "app@0.1 Local(\".\")  true",
            "thing@1.0 Index(Some(\"https://i.example/simple\")) thing-1.0.tar.gz:aa,thing-1.0+l-py3-none-any.whl:bb false",
            "far@1 Elsewhere(\"https://g.example/far?rev=1#abc\")  true",
        ]
    );
    for bad in ["version = 2\n", "version = 1\n[[package]]\nname='a'\n", "x"] {
        assert!(parse("uv.lock", bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn pylock_is_read() {
    let text = format!(
        "lock-version = \"1.0\"\ncreated-by = \"x\"\n\n[[packages]]\nname = \"thing\"\nversion = \"1.0\"\n\
         index = \"https://i.example/simple\"\n\
         wheels = [{{ name = \"thing-1.0-py3-none-any.whl\", url = \"https://x/y\", hashes = {{ sha256 = \"{A}\" }} }}]\n\
         [[packages]]\nname = \"bare\"\nversion = \"1.0\"\nsdist = {{ name = \"bare-1.0.tar.gz\", hashes = {{ md5 = \"00\" }} }}\n\
         [[packages]]\nname = \"here\"\n[packages.directory]\npath = \".\"\n"
    );
    let lock = parse("pylock.dev.toml", text.as_bytes()).unwrap();
    assert_eq!(
        shown(&lock),
        [
            "thing@1.0 Index(Some(\"https://i.example/simple\")) thing-1.0-py3-none-any.whl:aa false",
            "bare@1.0 Index(None)  true",
            "here@- Local(\".\")  true",
        ]
    );
    assert!(parse("pylock.toml", b"lock-version = \"2.0\"\n").is_err());
}

#[test]
fn what_is_no_lock_file_of_these_kinds_is_refused_with_what_is_read() {
    for (name, text) in [
        ("composer.json", "{}"),
        ("other.yaml", "a: b\n"),
        ("gemfile.lock", "GEM\n"),
        ("pyproject.toml", "[project]\n"),
    ] {
        let refused = parse(name, text.as_bytes()).unwrap_err();
        assert_eq!(refused.code, "lock-unknown", "{name}");
        assert!(refused.to_string().contains("uv.lock"), "{refused}");
    }
    assert!(parse("requirements.txt", &[0xff, 0xfe]).is_err());
    assert!(parse("requirements.txt", b"\x00\x01").is_err());
    assert!(parse("requirements.txt", &vec![b'#'; MAX_LOCK + 1]).is_err());
}

proptest! {
    #[test]
    fn reading_never_panics(text in "\\PC{0,200}", lines in "[a-z=\\\\ #\n\\-:0-9@\\[\\]]{0,200}") {
        for name in ["requirements.txt", "uv.lock", "pylock.toml", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "Cargo.lock"] {
            let _ = parse(name, text.as_bytes());
            let _ = parse(name, lines.as_bytes());
            let _ = parse(name, format!("__metadata:\n  version: 8\n{lines}\n").as_bytes());
            let _ = parse(name, format!("lockfileVersion: '9.0'\n{lines}\n").as_bytes());
        }
    }
}

const HASH: &str = "sha512-qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqg==";

#[test]
fn package_lock_is_read() {
    let text = format!(
        r#"{{"name":"app","lockfileVersion":3,"packages":{{
        "":{{"name":"app","version":"1.0.0"}},
        "packages/own":{{"version":"1.0.0"}},
        "node_modules/own":{{"resolved":"packages/own","link":true}},
        "node_modules/thing":{{"version":"1.0.0","resolved":"https://r.example/npm/thing/-/thing-1.0.0.tgz","integrity":"{HASH}"}},
        "node_modules/a/node_modules/@s/thing":{{"version":"2.0.0","resolved":"https://r.example/@s%2fthing/-/thing-2.0.0.tgz","integrity":"sha1-x {HASH}"}},
        "node_modules/alias":{{"name":"real","version":"3.0.0","integrity":"{HASH}"}},
        "node_modules/far":{{"version":"1.0.0","resolved":"git+ssh://git@g.example/far.git#abc"}},
        "node_modules/a/node_modules/inner":{{"version":"1.0.0","inBundle":true}},
        "node_modules/old":{{"version":"1.0.0","resolved":"https://r.example/npm/old/-/old-1.0.0.tgz","integrity":"sha1-AAAA"}}
        }}}}"#
    );
    let lock = parse("package-lock.json", text.as_bytes()).unwrap();
    assert_eq!(lock.kind, LockKind::Npm);
    assert_eq!(
        shown(&lock),
        [
            "own@- Local(\"packages/own\")  true",
            "thing@1.0.0 Index(Some(\"https://r.example/npm/\")) thing-1.0.0.tgz:aa false",
            "@s/thing@2.0.0 Index(Some(\"https://r.example/\")) thing-2.0.0.tgz:aa false",
            "real@3.0.0 Index(None) real-3.0.0.tgz:aa false",
            "far@1.0.0 Elsewhere(\"git+ssh://git@g.example/far.git#abc\")  true",
            "inner@1.0.0 Local(\"in the tarball of node_modules/a/node_modules/inner\")  true",
            "old@1.0.0 Index(Some(\"https://r.example/npm/\"))  true",
        ]
    );
    for bad in [
        r#"{"lockfileVersion":1,"dependencies":{}}"#,
        r#"{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1.0.0"},"node_modules/a":{"version":"1.0.0"}}}"#,
        r#"{"lockfileVersion":3,"packages":{"node_modules/a":{}}}"#,
        r#"{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"latest"}}}"#,
    ] {
        assert!(parse("package-lock.json", bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn pnpm_lock_is_read() {
    let text = format!(
        "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n\nimporters:\n\n  .:\n    dependencies:\n      thing:\n\
         \x20       specifier: ^1.0.0\n\
         version: 1.0.0\n\npackages:\n\n  '@s/thing@2.0.0':\n    resolution: {{integrity: {HASH}}}\n\
         \x20   engines: {{node: '>=18', npm: \"1, 2\"}}\n    cpu: [x64, 'arm64']\n    deprecated: |-\n      Old: use\n\n      another\n    hasBin: true\n\n\
         \x20 thing@1.0.0:\n    resolution: {{integrity: {HASH}, tarball: https://r.example/npm/thing/-/thing-1.0.0.tgz}}\n    bundledDependencies:\n      - inner\n\n\
         \x20 far@https://codeload.example/far/tar.gz/abc:\n    resolution: {{tarball: https://codeload.example/far/tar.gz/abc}}\n    version: 1.0.0\n\n\
         snapshots:\n\n  thing@1.0.0(@s/thing@2.0.0):\n    dependencies:\n      '@s/thing': 2.0.0\n"
    );
    let lock = parse("pnpm-lock.yaml", text.as_bytes()).unwrap();
    assert_eq!(
        shown(&lock),
        [
            "@s/thing@2.0.0 Index(None) thing-2.0.0.tgz:aa false",
            "far@1.0.0 Elsewhere(\"https://codeload.example/far/tar.gz/abc\")  true",
            "thing@1.0.0 Index(Some(\"https://r.example/npm/\")) thing-1.0.0.tgz:aa false",
        ]
    );
    let six = format!(
        "lockfileVersion: '6.0'\n\npackages:\n\n  /thing@1.0.0(@s/p@2.0.0):\n    resolution: {{integrity: {HASH}}}\n    dev: false\n"
    );
    let lock = parse("pnpm-lock.yaml", six.as_bytes()).unwrap();
    assert_eq!(
        shown(&lock),
        ["thing@1.0.0 Index(None) thing-1.0.0.tgz:aa false"]
    );
    for bad in [
        "lockfileVersion: 5.4\n",
        "lockfileVersion: '9.0'\npackages:\n  a@1.0.0:\n    x: 1\n  a@1.0.0:\n    x: 1\n",
        "lockfileVersion: '9.0'\npackages:\n  a@1.0.0:\n    resolution: {integrity: a\n",
        "lockfileVersion: '9.0'\npackages: &x\n",
        "lockfileVersion: '9.0'\npackages:\n  - a: b\n    c: d\n",
    ] {
        assert!(parse("pnpm-lock.yaml", bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn both_lock_files_of_yarn_are_read() {
    let classic = format!(
        "# THIS IS AN AUTOGENERATED FILE.\n# yarn lockfile v1\n\n\n\"@s/thing@^2.0.0\", \"@s/thing@2\":\n  version \"2.0.0\"\n\
         \x20 resolved \"https://r.example/@s/thing/-/thing-2.0.0.tgz#00ff\"\n  integrity {HASH}\n  dependencies:\n    version \"^9\"\n\n\
         far@https://f.example/far.tgz:\n  version \"1.0.0\"\n  resolved \"https://f.example/far.tgz#00\"\n\n\
         alias@npm:real@1:\n  version \"1.0.0\"\n  resolved \"https://r.example/real/-/real-1.0.0.tgz#00\"\n"
    );
    let lock = parse("yarn.lock", classic.as_bytes()).unwrap();
    assert_eq!(lock.kind, LockKind::YarnClassic);
    assert_eq!(
        shown(&lock),
        [
            "@s/thing@2.0.0 Index(Some(\"https://r.example/\")) thing-2.0.0.tgz:aa false",
            "far@1.0.0 Elsewhere(\"https://f.example/far.tgz#00\")  true",
            "real@1.0.0 Index(Some(\"https://r.example/\"))  true",
        ]
    );
    let berry = "# This file is generated by running \"yarn install\"\n\n__metadata:\n  version: 8\n  cacheKey: 10c0\n\n\
         \"@s/thing@npm:^2.0.0, @s/thing@npm:2\":\n  version: 2.0.0\n  resolution: \"@s/thing@npm:2.0.0\"\n  dependencies:\n    real: \"npm:^1\"\n\
         \x20 checksum: 10c0/00ff\n  languageName: node\n  linkType: hard\n\n\
         \"app@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"app@workspace:.\"\n  languageName: unknown\n  linkType: soft\n\n\
         ? \"real@npm:^1, real@npm:^1.0\"\n: version: 1.0.0\n";
    assert!(parse("yarn.lock", berry.as_bytes()).is_err());
    let berry = berry.replace(
        "\n: version: 1.0.0\n",
        "\n:\n  version: 1.0.0\n  resolution: \"real@npm:1.0.0\"\n",
    );
    let lock = parse("yarn.lock", berry.as_bytes()).unwrap();
    assert_eq!(lock.kind, LockKind::YarnBerry);
    assert_eq!(
        shown(&lock),
        [
            "@s/thing@2.0.0 Index(None)  true",
            "app@0.0.0-use.local Local(\".\")  true",
            "real@1.0.0 Index(None)  true",
        ]
    );
    assert!(lock.entries[0].undigested && !lock.entries[2].undigested);
}

#[test]
fn cargo_lock_is_read() {
    let text = format!(
        "# This file is automatically @generated by Cargo.\nversion = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n\n\
         [[package]]\nname = \"Thing_x\"\nversion = \"1.0.0+b\"\nsource = \"sparse+https://r.example/cargo/index/\"\nchecksum = \"{A}\"\n\n\
         [[package]]\nname = \"far\"\nversion = \"1.0.0\"\nsource = \"git+https://g.example/far#abc\"\n"
    );
    let lock = parse("Cargo.lock", text.as_bytes()).unwrap();
    assert_eq!(
        shown(&lock),
        [
            "app@0.1.0 Local(\"the workspace\")  true",
            "thing-x@1.0.0+b Index(Some(\"https://r.example/cargo/index/\")) Thing_x-1.0.0+b.crate:aa false",
            "far@1.0.0 Elsewhere(\"git+https://g.example/far#abc\")  true",
        ]
    );
    for bad in [
        "version = 5\n".to_owned(),
        text.replace(A, "00"),
        text.replace("Thing_x", "Thing x"),
    ] {
        assert!(parse("Cargo.lock", bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn lock_files_of_poetry_and_pipenv_are_read() {
    let text = format!(
        "[[package]]\nname = \"Thing_x\"\nversion = \"1.0+cu118\"\noptional = false\nfiles = [{{file = \"thing_x-1.0.tar.gz\", hash = \"sha256:{A}\"}}]\n\n\
         [package.dependencies]\nfar = \">=1\"\n\n\
         [[package]]\nname = \"far\"\nversion = \"1.0\"\nfiles = []\n\n[package.source]\ntype = \"git\"\nurl = \"https://g.example/far\"\n\n\
         [metadata]\nlock-version = \"2.1\"\npython-versions = \">=3.9\"\n"
    );
    let lock = parse("poetry.lock", text.as_bytes()).unwrap();
    assert_eq!(
        shown(&lock),
        [
            "thing-x@1.0+cu118 Index(None) thing_x-1.0.tar.gz:aa false",
            "far@1.0 Elsewhere(\"https://g.example/far\")  true",
        ]
    );
    let links = graph(&lock, text.as_bytes());
    assert_eq!(links.way(1), [0, 1]);
    let text = format!(
        r#"{{"_meta":{{}},"default":{{"a-b":{{"hashes":["sha256:{A}"],"version":"==1.0"}}}},"develop":{{"c":{{"git":"https://g.example/c","ref":"x"}}}}}}"#
    );
    let lock = parse("Pipfile.lock", text.as_bytes()).unwrap();
    assert_eq!(
        shown(&lock),
        [
            "a-b@1.0 Index(None) ?:aa false",
            "c@- Elsewhere(\"https://g.example/c\")  true",
        ]
    );
    for bad in [
        "{}x",
        r#"{"default":{"a":{"version":"*"}}}"#,
        r#"{"default":{"a":{}}}"#,
    ] {
        assert!(parse("Pipfile.lock", bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(parse("poetry.lock", b"[metadata]\nlock-version = \"3\"\n").is_err());
}

/// The ways from the project, by names.
fn ways(name: &str, text: &str) -> Vec<String> {
    let lock = parse(name, text.as_bytes()).unwrap();
    let links = graph(&lock, text.as_bytes());
    assert!(links.known, "{name}");
    (0..lock.entries.len())
        .map(|at| {
            let way = links.way(at);
            let named = way.iter().map(|at| {
                let entry = &lock.entries[*at];
                format!(
                    "{}@{}",
                    entry.name_key,
                    entry.version.as_deref().unwrap_or("-")
                )
            });
            named.collect::<Vec<_>>().join(" > ")
        })
        .collect()
}

#[test]
fn links_lead_from_the_project_to_what_it_uses() {
    let source = "source = \"sparse+https://r.example/\"";
    let cargo = format!(
        "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\"a\"]\n\
         [[package]]\nname = \"a\"\nversion = \"1.0.0\"\n{source}\ndependencies = [\"b 2.0.0\"]\n\
         [[package]]\nname = \"b\"\nversion = \"1.0.0\"\n{source}\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\n{source}\n"
    );
    assert_eq!(
        ways("Cargo.lock", &cargo),
        ["app@0.1.0", "a@1.0.0", "b@1.0.0", "a@1.0.0 > b@2.0.0"]
    );
    let uv = "version = 1\nrequires-python = \">=3.9\"\n[[package]]\nname = \"app\"\nversion = \"0\"\nsource = { virtual = \".\" }\ndependencies = [{ name = \"a\" }]\n\
         [[package]]\nname = \"a\"\nversion = \"1\"\nsource = { registry = \"https://r.example\" }\ndependencies = [{ name = \"b\" }]\n\
         [[package]]\nname = \"b\"\nversion = \"1\"\nsource = { registry = \"https://r.example\" }\n";
    assert_eq!(ways("uv.lock", uv), ["app@0", "a@1", "a@1 > b@1"]);
    let npm = r#"{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"}},
        "node_modules/a":{"version":"1.0.0","dependencies":{"b":"2"}},"node_modules/a/node_modules/b":{"version":"2.0.0","dependencies":{"c":"1"}},
        "node_modules/b":{"version":"1.0.0"},"node_modules/c":{"version":"1.0.0"}}}"#;
    assert_eq!(
        ways("package-lock.json", npm),
        [
            "a@1.0.0",
            "a@1.0.0 > b@2.0.0",
            "b@1.0.0",
            "a@1.0.0 > b@2.0.0 > c@1.0.0"
        ]
    );
    let pnpm = format!(
        "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      a:\n        specifier: ^1\n        version: 1.0.0(b@1.0.0)\n\
         packages:\n  a@1.0.0:\n    resolution: {{integrity: {HASH}}}\n  b@1.0.0:\n    resolution: {{integrity: {HASH}}}\n\
         snapshots:\n  a@1.0.0(b@1.0.0):\n    dependencies:\n      b: 1.0.0\n  b@1.0.0: {{}}\n"
    );
    assert_eq!(
        ways("pnpm-lock.yaml", &pnpm),
        ["a@1.0.0", "a@1.0.0 > b@1.0.0"]
    );
    let classic = "# yarn lockfile v1\n\na@^1:\n  version \"1.0.0\"\n  dependencies:\n    \"@s/b\" \"^1\"\n\n\"@s/b@^1\":\n  version \"1.2.0\"\n";
    assert_eq!(
        ways("yarn.lock", classic),
        ["a@1.0.0", "a@1.0.0 > @s/b@1.2.0"]
    );
    let berry = "__metadata:\n  version: 8\n\n\"a@npm:^1\":\n  version: 1.0.0\n  resolution: \"a@npm:1.0.0\"\n  dependencies:\n    b: \"npm:^1\"\n\n\
         \"app@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"app@workspace:.\"\n  dependencies:\n    a: \"npm:^1\"\n\n\
         \"b@npm:^1\":\n  version: 1.0.0\n  resolution: \"b@npm:1.0.0\"\n";
    assert_eq!(
        ways("yarn.lock", berry),
        ["a@1.0.0", "app@0.0.0-use.local", "a@1.0.0 > b@1.0.0"]
    );
}
