//! The references: commands from `--help` of both programs, the API from its description.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use countersign_testkit::server;
use serde_json::Value;

use super::{docs, pages, steps};

/// The help of every command, by its words: `countersignd admin user create`.
fn helps() -> BTreeMap<String, String> {
    fn ask(program: &std::path::Path, words: &[String], helps: &mut BTreeMap<String, String>) {
        let output = Command::new(program)
            .args(&words[1..])
            .arg("--help")
            .env_clear()
            .env("LANG", "C.UTF-8")
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?} --help: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut inside = false;
        for line in text.lines() {
            if line == "Commands:" {
                inside = true;
            } else if inside && line.trim().is_empty() {
                inside = false;
            } else if inside
                && let Some(name) = line
                    .strip_prefix("  ")
                    .filter(|line| !line.starts_with(' '))
            {
                let name = name.split_whitespace().next().unwrap_or_default();
                if name != "help" {
                    ask(program, &[words, &[name.to_owned()]].concat(), helps);
                }
            }
        }
        helps.insert(words.join(" "), text);
    }
    let mut helps = BTreeMap::new();
    for name in ["countersign", "countersignd"] {
        ask(
            &server::program(name).unwrap(),
            &[name.to_owned()],
            &mut helps,
        );
    }
    helps
}

/// Writes a reference, or holds it against what it should be.
fn keep(name: &str, text: &str) {
    let path = docs().join(name);
    if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
        fs::write(path, text).unwrap();
        return;
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "docs/{name} is old: run this test with COUNTERSIGN_WRITE_DOCS=1"
    );
}

/// Each command that any block of the book shows exists, with its flags; also where it is not run.
#[test]
fn the_command_reference_is_what_the_programs_say_and_the_book_shows_nothing_else() {
    let helps = helps();
    let mut text = "# Commands\n\nWhat each command of both programs says of itself. This page is made from `--help`, and a test keeps it true.\n".to_owned();
    let mut options: Vec<&str> = Vec::new();
    for (words, help) in &helps {
        let depth = words.split(' ').count().min(3) + 1;
        let _ = write!(text, "\n{} {words}\n\n", "#".repeat(depth));
        text.push_str("```text\n");
        // Options that every command of a program takes stand once, with the program itself.
        if !words.contains(' ') {
            options = help
                .lines()
                .filter(|line| line.trim_start().starts_with("--"))
                .collect();
        }
        let mut blank = false;
        for line in help.lines().map(str::trim_end) {
            // Depends on the machine that asks, or stands with the program.
            let once = words.contains(' ') && options.contains(&line) && !line.contains("--help");
            if once || line.is_empty() && blank {
                continue;
            }
            blank = line.is_empty();
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("```\n");
    }
    keep("commands.md", &text);

    let mut faults = Vec::new();
    for (page, text) in pages() {
        if page == "commands.md" {
            continue;
        }
        let mut shown: Vec<(usize, String)> = steps(&page, &text)
            .into_iter()
            .map(|step| (step.line, step.command))
            .collect();
        // Sessions that are not marked as such, in older pages and in shell scripts.
        let mut fence = None;
        for (number, line) in text.lines().enumerate() {
            if let Some(info) = line.strip_prefix("```") {
                fence = match fence {
                    Some(_) => None,
                    None => Some(info.to_owned()),
                };
            } else if matches!(fence.as_deref(), Some("" | "sh")) && line.starts_with("countersign")
            {
                shown.push((number + 1, line.to_owned()));
            }
        }
        for (line, command) in shown {
            for fault in unknown(&helps, &command) {
                faults.push(format!("docs/{page}:{line}: {fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What of a command line no program of ours knows.
fn unknown(helps: &BTreeMap<String, String>, line: &str) -> Vec<String> {
    let mut faults = Vec::new();
    // A comment ends it; what stands behind an operator of the shell is another command.
    let line = line
        .split(" #")
        .next()
        .unwrap_or_default()
        .replace("\\\n", " ");
    for part in line.split(['|', ';', '&', '\n', '(', ')', '·']) {
        let mut words = part
            .split_whitespace()
            .skip_while(|word| word.contains('=') || *word == "do");
        let Some(program) = words
            .next()
            .filter(|word| matches!(*word, "countersign" | "countersignd"))
        else {
            continue;
        };
        let mut path = program.to_owned();
        let mut value_follows = false;
        for word in words {
            // What is run by another program, and what stands after a plain double hyphen, is not ours.
            if word == "--" {
                break;
            }
            if word.starts_with("--") {
                let flag = word.split('=').next().unwrap_or_default();
                let known = helps[&path]
                    .split(|c: char| c.is_whitespace() || ",=[<".contains(c))
                    .any(|known| known == flag);
                if !known {
                    faults.push(format!("`{path}` has no {flag}"));
                }
                value_follows = !word.contains('=');
                continue;
            }
            let deeper = format!("{path} {word}");
            if helps.contains_key(&deeper) {
                path = deeper;
            } else if helps[&path].contains("\nCommands:\n")
                && !helps[&path].contains("\nArguments:\n")
                && !value_follows
                && word.starts_with(|c: char| c.is_ascii_lowercase())
            {
                faults.push(format!("`{path}` has no command {word}"));
                break;
            }
            value_follows = false;
        }
    }
    faults
}

#[test]
fn the_reference_of_the_api_is_its_description() {
    let description: Value =
        serde_json::from_str(&fs::read_to_string(docs().join("openapi.json")).unwrap()).unwrap();
    let mut text = "# API\n\nEvery call of the JSON API, below the registry's address. Programs read the same at `/api/v1/openapi.json`. Errors are \
         `application/problem+json` with a stable `code`, explained at `/help/errors`. Callers show a token as `Authorization: Bearer …`; \
         what takes more says so in its refusal ([permissions](permissions.md)). This page is made from the description, and a test keeps it true.\n"
        .to_owned();
    let mut by_tag: BTreeMap<&str, Vec<(String, &Value)>> = BTreeMap::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, call) in methods
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, call)| call.is_object())
        {
            let tag = call["tags"][0].as_str().unwrap_or("other");
            by_tag
                .entry(tag)
                .or_default()
                .push((format!("{} {path}", method.to_uppercase()), call));
        }
    }
    for (tag, calls) in by_tag {
        let _ = write!(text, "\n## {tag}\n");
        for (line, call) in calls {
            let _ = write!(text, "\n### `{line}`\n\n");
            for part in ["summary", "description"] {
                if let Some(words) = call[part].as_str() {
                    let _ = write!(text, "{}\n\n", escaped(words).trim());
                }
            }
            for parameter in call["parameters"].as_array().into_iter().flatten() {
                let needed = if parameter["required"] == true {
                    ""
                } else {
                    ", optional"
                };
                let _ = writeln!(
                    text,
                    "- `{}` ({}, {}{needed}) {}",
                    parameter["name"].as_str().unwrap_or_default(),
                    parameter["in"].as_str().unwrap_or_default(),
                    kind(&parameter["schema"]),
                    escaped(parameter["description"].as_str().unwrap_or_default())
                );
            }
            for (media, body) in call["requestBody"]["content"]
                .as_object()
                .into_iter()
                .flatten()
            {
                let _ = writeln!(text, "- body: {} (`{media}`)", kind(&body["schema"]));
            }
            for (status, answer) in call["responses"].as_object().into_iter().flatten() {
                if status == "default" {
                    continue;
                }
                let shape = answer["content"]
                    .as_object()
                    .and_then(|content| content.values().next())
                    .map(|body| kind(&body["schema"]));
                let _ = writeln!(
                    text,
                    "- {status}: {}{}",
                    escaped(answer["description"].as_str().unwrap_or_default()),
                    shape.map(|shape| format!(" ({shape})")).unwrap_or_default()
                );
            }
        }
    }
    text.push_str("\n## Shapes\n");
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        let _ = write!(text, "\n### {name}\n\n");
        if let Some(words) = schema["description"].as_str() {
            let _ = write!(text, "{}\n\n", escaped(words).trim());
        }
        let needed: Vec<_> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let optional = if needed.contains(&field.as_str()) {
                ""
            } else {
                ", optional"
            };
            let _ = writeln!(
                text,
                "- `{field}` ({}{optional}) {}",
                kind(schema),
                escaped(schema["description"].as_str().unwrap_or_default())
            );
        }
        for variant in schema["oneOf"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "- {}", kind(variant));
        }
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<_> = values
                .iter()
                .filter_map(Value::as_str)
                .map(|value| format!("`{value}`"))
                .collect();
            let _ = writeln!(text, "One of {}.", values.join(", "));
        }
    }
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    keep("api.md", &(lines.join("\n") + "\n"));
}

/// Text of the description as Markdown takes it.
fn escaped(text: &str) -> String {
    text.replace('\n', " ")
        .replace('<', "&lt;")
        .replace('[', "\\[")
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|name| name.rsplit('/').next())
    {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for any in ["oneOf", "anyOf", "allOf"] {
        if let Some(variants) = schema[any].as_array() {
            let variants: Vec<_> = variants.iter().map(kind).collect();
            return variants.join(" or ");
        }
    }
    let word = match &schema["type"] {
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" or "),
        Value::String(kind) => kind.clone(),
        _ => "any".to_owned(),
    };
    match word.contains("array") {
        true => format!("{word} of {}", kind(&schema["items"])),
        false => word,
    }
}
