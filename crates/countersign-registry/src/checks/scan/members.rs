//! What a member of an archive is for: does something run it by itself?

use std::collections::BTreeSet;

use countersign_formats::Ecosystem;
use serde::{Deserialize, Serialize};

/// Files of scripts that a manifest names are followed so far.
const MOST_HOOKS: usize = 200;

/// When a file is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Not by itself.
    Other,
    /// When the package is used.
    Entry,
    /// At installation or build, or whenever an interpreter starts.
    Install,
}

/// The roles of an archive's members, learnt while it is read: a manifest may stand behind what it names.
pub(super) struct Roles {
    ecosystem: Ecosystem,
    wheel: bool,
    install: BTreeSet<String>,
    entry: BTreeSet<String>,
    hooks: BTreeSet<String>,
}

/// The path without the one directory that sources lie in.
pub(super) fn below_top<'a>(ecosystem: Ecosystem, filename: &str, path: &'a str) -> &'a str {
    if ecosystem == Ecosystem::Pypi && filename.ends_with(".whl") {
        return path;
    }
    path.split_once('/').map_or(path, |(_, rest)| rest)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Roles {
    pub(super) fn new(ecosystem: Ecosystem, filename: &str) -> Self {
        Self {
            ecosystem,
            wheel: filename.ends_with(".whl"),
            install: BTreeSet::new(),
            entry: BTreeSet::new(),
            hooks: BTreeSet::new(),
        }
    }

    /// Learns from a member.
    pub(super) fn note(&mut self, path: &str, bytes: &[u8]) {
        match self.ecosystem {
            Ecosystem::Pypi => self.note_python(path, bytes),
            Ecosystem::Npm if path == "package.json" => self.note_package(bytes),
            Ecosystem::Npm => {
                // npm builds what has this file, without any script.
                if path == "binding.gyp" {
                    self.install.insert(path.to_owned());
                    self.hooks.insert("binding.gyp".to_owned());
                }
            }
            Ecosystem::Cargo if path == "Cargo.toml" => self.note_crate(bytes),
            Ecosystem::Cargo => {
                if path == "build.rs" {
                    self.install.insert(path.to_owned());
                    self.hooks.insert("build.rs".to_owned());
                }
            }
        }
    }

    fn note_python(&mut self, path: &str, bytes: &[u8]) {
        let name = name_of(path);
        if name.ends_with(".pth")
            || (self.wheel && matches!(name, "sitecustomize.py" | "usercustomize.py"))
        {
            self.install.insert(path.to_owned());
            // Lines that only add folders run nothing.
            let runs = bytes
                .split(|byte| *byte == b'\n')
                .any(|line| line.starts_with(b"import ") || line.starts_with(b"import\t"));
            if (runs || !name.ends_with(".pth")) && self.hooks.len() < MOST_HOOKS {
                self.hooks.insert(name.to_owned());
            }
        } else if !self.wheel
            && (path == "setup.py" || path.starts_with("_build") || path == "hatch_build.py")
        {
            self.install.insert(path.to_owned());
            self.hooks.insert(path.to_owned());
        } else if name == "__init__.py" {
            self.entry.insert(path.to_owned());
        }
    }

    fn note_package(&mut self, bytes: &[u8]) {
        let Ok(manifest) = serde_json::from_slice::<serde_json::Value>(bytes) else {
            return;
        };
        let scripts = manifest["scripts"].as_object();
        for hook in ["preinstall", "install", "postinstall", "prepare"] {
            let Some(command) = scripts.and_then(|scripts| scripts.get(hook)?.as_str()) else {
                continue;
            };
            // npm runs `prepare` for sources from Git alone.
            if hook != "prepare" {
                let shown: String = command.chars().take(200).collect();
                self.hooks.insert(format!("{hook}: {shown}"));
                self.install.insert("package.json".to_owned());
                for word in command
                    .split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '"' | '\''))
                    .filter(|word| !word.is_empty())
                    .take(50)
                {
                    let word = word.trim_start_matches("./");
                    self.install.insert(word.to_owned());
                    self.install.insert(format!("{word}.js"));
                    self.install.insert(format!("{word}/index.js"));
                }
            }
        }
        let main = manifest["main"].as_str().unwrap_or("index.js");
        let main = main.trim_start_matches("./");
        self.entry.insert(main.to_owned());
        self.entry.insert(format!("{main}.js"));
        match &manifest["bin"] {
            serde_json::Value::String(bin) => {
                self.entry.insert(bin.trim_start_matches("./").to_owned());
            }
            serde_json::Value::Object(bins) => self.entry.extend(
                bins.values()
                    .filter_map(|bin| bin.as_str())
                    .take(50)
                    .map(|bin| bin.trim_start_matches("./").to_owned()),
            ),
            _ => {}
        }
    }

    fn note_crate(&mut self, bytes: &[u8]) {
        let manifest = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse::<toml::Table>().ok());
        let Some(manifest) = manifest else {
            return;
        };
        let build = manifest
            .get("package")
            .and_then(|package| package.get("build")?.as_str());
        if let Some(build) = build {
            self.install
                .insert(build.trim_start_matches("./").to_owned());
            self.hooks.insert(build.to_owned());
        }
        let library = manifest.get("lib");
        let of = |key: &str| library.and_then(|library| library.get(key)?.as_bool());
        let path = library
            .and_then(|library| library.get("path")?.as_str())
            .unwrap_or("src/lib.rs")
            .to_owned();
        if of("proc-macro").or(of("proc_macro")) == Some(true) {
            // Whoever depends on it runs it while they compile.
            self.hooks.insert("procedural macros".to_owned());
            self.install.insert(path);
        } else {
            self.entry.insert(path);
        }
    }

    /// The role of a member.
    pub(super) fn of(&self, path: &str) -> Role {
        if self.install.contains(path) {
            Role::Install
        } else if self.entry.contains(path) {
            Role::Entry
        } else {
            Role::Other
        }
    }

    /// What runs by itself.
    pub(super) fn hooks(&self) -> BTreeSet<String> {
        self.hooks.clone()
    }
}

/// Is it a file that some interpreter or compiler reads?
pub(super) fn is_code(path: &str) -> bool {
    const ENDINGS: [&str; 17] = [
        "py", "pyw", "pth", "js", "cjs", "mjs", "ts", "jsx", "tsx", "sh", "bash", "ps1", "bat",
        "cmd", "rs", "rb", "pl",
    ];
    path.rsplit_once('.').is_some_and(|(_, ending)| {
        ENDINGS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(ending))
    })
}

/// ELF, PE, Mach-O, WebAssembly.
pub(super) fn is_binary_program(bytes: &[u8]) -> bool {
    const MAGIC: [&[u8]; 6] = [
        b"\x7fELF",
        b"MZ",
        b"\xcf\xfa\xed\xfe",
        b"\xce\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
        b"\0asm",
    ];
    bytes.len() > 64
        && MAGIC.iter().any(|magic| bytes.starts_with(magic))
        && bytes[..64].contains(&0)
}
