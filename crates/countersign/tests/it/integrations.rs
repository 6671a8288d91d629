//! The action for GitHub and the template for GitLab, their own steps run in a shell as the runners run them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_testkit::claims;
use countersign_testkit::clients::Clients;
use countersign_testkit::runner::Runner;
use countersign_trust::digest::Sha256;
use serde_json::Value;

use crate::stage::{Stage, built, only_masked};
use crate::user::{CLIENT, Ran};
use crate::yaml;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integrations")
}

/// The inputs of a file: what a user gives over the defaults. A required one must be given.
fn inputs(declared: &Value, given: &[(&str, &str)]) -> BTreeMap<String, String> {
    let declared = declared.as_object().unwrap();
    for (name, _) in given {
        assert!(declared.contains_key(*name), "no input {name}");
    }
    declared
        .iter()
        .map(|(name, about)| {
            assert!(about["description"].is_string(), "{name} is not described");
            let given = given
                .iter()
                .find(|(given, _)| given == name)
                .map(|(_, value)| *value);
            let value = given.or(about["default"].as_str());
            (
                name.clone(),
                value
                    .unwrap_or_else(|| panic!("{name} is needed"))
                    .to_owned(),
            )
        })
        .collect()
}

/// Replaces `OPEN inputs.NAME CLOSE` in a text.
fn expanded(text: &str, open: &str, close: &str, inputs: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(open) {
        let end = begin + rest[begin..].find(close).unwrap();
        let name = rest[begin + open.len()..end]
            .trim()
            .strip_prefix("inputs.")
            .unwrap();
        out.push_str(&rest[..begin]);
        out.push_str(&inputs[name]);
        rest = &rest[end + close.len()..];
    }
    out + rest
}

/// Runs the steps of the action in a job, as GitHub's runner does; ends with the first that fails.
fn github(stage: &Stage, runner: &Runner, given: &[(&str, &str)]) -> Ran {
    let action = yaml::parse(&fs::read_to_string(folder().join("github/action.yml")).unwrap());
    let url = stage.server.url();
    let given = [&[("registry-url", &*url), ("ca-file", stage.ca())], given].concat();
    let inputs = inputs(&action["inputs"], &given);
    assert_eq!(action["runs"]["using"], "composite");
    let mut all = Ran {
        code: 0,
        out: String::new(),
        err: String::new(),
    };
    for step in action["runs"]["steps"].as_array().unwrap() {
        assert_eq!(step["shell"], "bash");
        let script = step["run"].as_str().unwrap();
        assert!(
            !script.contains("${{"),
            "an input in a script is a program of whoever gives it"
        );
        let file = runner.folder().join("../step.sh");
        fs::write(&file, script).unwrap();
        let mut command = Command::new("bash");
        runner.apply(&mut command);
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail"])
            .arg(&file);
        command.env("GITHUB_ACTION_PATH", folder().join("github"));
        command.env("COUNTERSIGN_HOME", stage.ada.path("home"));
        for (name, value) in step["env"].as_object().unwrap() {
            command.env(
                name,
                expanded(value.as_str().unwrap(), "${{", "}}", &inputs),
            );
        }
        // What earlier steps have put on the path, newest first.
        let added = fs::read_to_string(runner.variable("GITHUB_PATH").unwrap()).unwrap();
        let path = command
            .get_envs()
            .find(|(name, _)| *name == "PATH")
            .and_then(|(_, value)| value);
        let mut path = path.map_or_else(|| std::env::var_os("PATH").unwrap(), ToOwned::to_owned);
        for line in added.lines() {
            let mut longer = std::ffi::OsString::from(line);
            longer.push(":");
            longer.push(path);
            path = longer;
        }
        let ran = Ran::of(command.env("PATH", path));
        all.out.push_str(&ran.out);
        all.err.push_str(&ran.err);
        all.code = ran.code;
        if ran.code != 0 {
            break;
        }
    }
    all
}

fn client_on_path(runner: &mut Runner) {
    runner
        .program("countersign", &format!("exec '{CLIENT}' \"$@\"\n"))
        .unwrap();
}

/// A `curl` that gives the client whatever is asked, and knows the options that it was given.
fn curl_gives_the_client(runner: &mut Runner) {
    let script = format!(
        "case \"$*\" in *\"--proto =https\"*\"-- https://downloads.example/countersign\") ;; *) exit 9 ;; esac\n\
         while [ \"$1\" != --output ]; do shift; done\ncp '{CLIENT}' \"$2\"\n"
    );
    runner.program("curl", &script).unwrap();
}

fn client_digest() -> String {
    Sha256::of(&fs::read(CLIENT).unwrap()).to_hex()
}

fn stage_with_workflow(further: &[&str]) -> Stage {
    let stage = Stage::start();
    stage.issuer("company", "github");
    stage.register_workflow("sample", "company", &[&["--pending"], further].concat());
    stage
}

#[test]
fn the_action_publishes_with_the_client_on_the_path_and_posts_the_summary() {
    let stage = stage_with_workflow(&[]);
    let mut runner = stage.github(&stage.claims());
    client_on_path(&mut runner);
    let packages = built(&runner.folder(), "sample", "1.0");
    let ran =
        github(&stage, &runner, &[]).expect(0, &["The client on PATH is used", "proof verified"]);
    assert!(!stage.is_alive(&only_masked(&ran)));
    let summary = runner.summary().unwrap();
    for package in &packages {
        assert!(stage.has("sample", package));
        assert!(summary.contains(&package.sha256()), "{summary}");
    }

    // Other bytes under a taken name, with the input that passes over them; keys pinned in a file of the repository.
    built(&runner.folder(), "sample", "1.1");
    fs::write(
        runner.folder().join("dist/sample-1.0.tar.gz"),
        countersign_testkit::packages::Sdist::new("sample", "1.0")
            .readme("# Other\n")
            .build()
            .bytes,
    )
    .unwrap();
    fs::copy(
        stage.ada.path("home/trust.toml"),
        runner.folder().join("trust.toml"),
    )
    .unwrap();
    github(&stage, &runner, &[]).expect(4, &["File already exists", "::error title="]);
    github(
        &stage,
        &runner,
        &[("skip-existing", "true"), ("trust-file", "trust.toml")],
    )
    .expect(0, &["Passed over dist/sample-1.0.tar.gz", "proof verified"]);
}

#[test]
fn the_action_takes_patterns_line_by_line_and_runs_nothing_in_them() {
    let stage = stage_with_workflow(&[]);
    let mut runner = stage.github(&stage.claims());
    client_on_path(&mut runner);
    let [wheel, sdist] = built(&runner.folder(), "sample", "1.0");
    fs::rename(
        runner.folder().join("dist"),
        runner.folder().join("two words"),
    )
    .unwrap();
    github(
        &stage,
        &runner,
        &[("files", "$(touch run)\n`touch run`\n--help")],
    )
    .expect(
        2,
        &["$(touch run) can not be read", "--help can not be read"],
    );
    github(
        &stage,
        &runner,
        &[("files", "two words/*.whl\ntwo words/*.tar.*\n")],
    )
    .expect(0, &[]);
    assert!(stage.has("sample", &wheel) && stage.has("sample", &sdist));
    assert!(!runner.folder().join("run").exists());
}

#[test]
fn the_action_runs_a_download_only_with_the_digest_that_was_meant() {
    let stage = stage_with_workflow(&[]);
    let mut runner = stage.github(&stage.claims());
    curl_gives_the_client(&mut runner);
    let [wheel, _] = built(&runner.folder(), "sample", "1.0");
    let url = ("client-url", "https://downloads.example/countersign");
    github(&stage, &runner, &[url]).expect(2, &["client-url needs client-sha256"]);
    let other = Sha256::of(b"another").to_hex();
    github(&stage, &runner, &[url, ("client-sha256", &other)]).expect(3, &["It was not run."]);
    assert!(!stage.has("sample", &wheel));
    let good = client_digest();
    github(&stage, &runner, &[url, ("client-sha256", &good)]).expect(0, &["Published: "]);
    assert!(stage.has("sample", &wheel));
}

#[test]
fn the_action_builds_the_client_from_its_own_commit() {
    let stage = stage_with_workflow(&[]);
    let mut runner = stage.github(&stage.claims());
    // Building takes minutes; what counts is what would be built, and that the result is used.
    let script = format!(
        "[ \"$1 $2 $3\" = 'install --locked --path' ] && [ -f \"$4/Cargo.toml\" ] && [ \"$5\" = --root ] || exit 9\n\
         grep -q '^name = \"countersign\"$' \"$4/Cargo.toml\" || exit 9\nmkdir -p \"$6/bin\" && cp '{CLIENT}' \"$6/bin/countersign\"\n"
    );
    runner.program("cargo", &script).unwrap();
    built(&runner.folder(), "sample", "1.0");
    github(&stage, &runner, &[]).expect(0, &["Published: "]);
}

#[test]
fn the_action_fails_with_the_claim_that_differs_and_uses_no_stored_token() {
    let stage = stage_with_workflow(&["--environment", "release"]);
    let mut runner = stage.github(&stage.claims());
    client_on_path(&mut runner);
    runner.set("COUNTERSIGN_TOKEN", &stage.stored);
    let [wheel, _] = built(&runner.folder(), "sample", "1.0");
    github(&stage, &runner, &[]).expect(
        4,
        &[
            "✗ environment: expected release (in any case), not in the token",
            "::error title=",
        ],
    );
    assert!(!stage.has("sample", &wheel));
    assert!(runner.summary().unwrap().contains("Failed"));
}

/// The job of the template, with its inputs in place.
struct GitlabJob {
    job: Value,
    inputs: BTreeMap<String, String>,
}

impl GitlabJob {
    fn of(registry: &str, given: &[(&str, &str)]) -> Self {
        let text = fs::read_to_string(folder().join("gitlab/templates/publish.yml")).unwrap();
        let (spec, job) = text.split_once("\n---\n").unwrap();
        let spec = yaml::parse(spec);
        let given = [&[("registry-url", registry)], given].concat();
        let inputs = inputs(&spec["spec"]["inputs"], &given);
        let job = yaml::parse(job)["$[[ inputs.job-name ]]"].take();
        Self { job, inputs }
    }

    fn text(&self, value: &Value) -> String {
        expanded(value.as_str().unwrap(), "$[[", "]]", &self.inputs)
    }

    fn audience(&self) -> String {
        self.text(&self.job["id_tokens"]["COUNTERSIGN_ID_TOKEN"]["aud"])
    }

    fn environment(&self) -> String {
        self.text(&self.job["environment"]["name"])
    }

    fn run(&self, stage: &Stage, runner: &Runner, shell: &str) -> Ran {
        let [script] = self.job["script"].as_array().unwrap().as_slice() else {
            panic!("one script: {}", self.job["script"]);
        };
        let script = script.as_str().unwrap();
        assert!(
            !script.contains("$[["),
            "an input in a script is a program of whoever gives it"
        );
        let mut command = Command::new(shell);
        runner.apply(&mut command);
        command
            .env("COUNTERSIGN_HOME", stage.ada.path("home"))
            .args(["-c", script]);
        for (name, value) in self.job["variables"].as_object().unwrap() {
            command.env(name, self.text(value));
        }
        Ran::of(&mut command)
    }
}

#[test]
fn the_template_publishes_from_a_gitlab_job_in_either_shell() {
    let stage = Stage::start();
    let issuer = stage.issuer("our-gitlab", "gitlab");
    let host = issuer.url().trim_start_matches("https://").to_owned();
    let fields = [
        "--field",
        "namespace=group",
        "--field",
        "project=sample",
        "--field",
        "workflow=.gitlab-ci.yml",
    ];
    stage.register(
        "sample",
        "our-gitlab",
        &[&fields[..], &["--pending", "--environment", "release"]].concat(),
    );
    let url = stage.server.url();
    let job = GitlabJob::of(&url, &[("ca-file", stage.ca())]);
    assert_eq!(job.audience(), stage.audience());
    let claims = claims::gitlab(&host, "group/sample", Some(&job.environment()));
    for (shell, version) in [("sh", "1.0"), ("bash", "1.1")] {
        let mut runner =
            Runner::gitlab(&issuer, &claims, "COUNTERSIGN_ID_TOKEN", &job.audience()).unwrap();
        client_on_path(&mut runner);
        let packages = built(&runner.folder(), "sample", version);
        let ran = job
            .run(&stage, &runner, shell)
            .expect(0, &["proof verified", "The token was given back."]);
        assert!(
            !format!("{}{}", ran.out, ran.err).contains("eyJ"),
            "{ran:#?}"
        );
        assert!(packages.iter().all(|package| stage.has("sample", package)));
    }

    // GitLab's case counts, and the job's log says so.
    let job = GitlabJob::of(&url, &[("ca-file", stage.ca()), ("environment", "Release")]);
    let claims = claims::gitlab(&host, "group/sample", Some(&job.environment()));
    let mut runner =
        Runner::gitlab(&issuer, &claims, "COUNTERSIGN_ID_TOKEN", &job.audience()).unwrap();
    client_on_path(&mut runner);
    runner.set("COUNTERSIGN_TOKEN", &stage.stored);
    built(&runner.folder(), "sample", "2.0");
    job.run(&stage, &runner, "sh").expect(
        4,
        &[
            "✗ environment: expected release, seen Release",
            "differs only in case",
        ],
    );

    // The client from elsewhere, and only the one that was meant.
    let claims = claims::gitlab(&host, "group/sample", Some("release"));
    let mut runner =
        Runner::gitlab(&issuer, &claims, "COUNTERSIGN_ID_TOKEN", &stage.audience()).unwrap();
    curl_gives_the_client(&mut runner);
    built(&runner.folder(), "sample", "2.0");
    let ca = ("ca-file", stage.ca());
    let source = ("client-url", "https://downloads.example/countersign");
    let (other, good) = (Sha256::of(b"another").to_hex(), client_digest());
    GitlabJob::of(&url, &[ca])
        .run(&stage, &runner, "sh")
        .expect(2, &["no countersign on PATH"]);
    GitlabJob::of(&url, &[ca, source])
        .run(&stage, &runner, "sh")
        .expect(2, &["needs client-sha256"]);
    GitlabJob::of(&url, &[ca, source, ("client-sha256", &other)])
        .run(&stage, &runner, "sh")
        .expect(3, &["It was not run."]);
    GitlabJob::of(&url, &[ca, source, ("client-sha256", &good)])
        .run(&stage, &runner, "sh")
        .expect(0, &["Published: "]);
}

#[test]
fn unmodified_uv_publishes_from_the_gitlab_variable_that_the_readme_names() {
    let readme = fs::read_to_string(folder().join("gitlab/README.md")).unwrap();
    let example = countersign::ci::audience_variable("https://packages.example.org/pypi");
    assert!(readme.contains(&format!(
        "    {example}: {{ aud: \"https://packages.example.org/pypi\" }}"
    )));

    let stage = Stage::start();
    let issuer = stage.issuer("our-gitlab", "gitlab");
    let host = issuer.url().trim_start_matches("https://").to_owned();
    let fields = [
        "--field",
        "namespace=group",
        "--field",
        "project=sample",
        "--field",
        "workflow=.gitlab-ci.yml",
    ];
    stage.register(
        "sample",
        "our-gitlab",
        &[&fields[..], &["--pending"]].concat(),
    );
    let audience = stage.audience();
    let claims = claims::gitlab(&host, "group/sample", None);
    let variable = countersign::ci::audience_variable(&audience);
    let runner = Runner::gitlab(&issuer, &claims, &variable, &audience).unwrap();
    let [wheel, _] = built(&runner.folder(), "sample", "1.0");
    let clients = Clients::get().unwrap();
    let mut command = clients.command("uv");
    runner.apply(&mut command);
    command
        .args([
            "publish",
            "--no-progress",
            "--trusted-publishing",
            "always",
            "--publish-url",
        ])
        .arg(stage.server.upload_url())
        .arg(Path::new("dist").join(&wheel.filename))
        .env("SSL_CERT_FILE", stage.ca());
    Ran::of(&mut command).expect(0, &[]);
    assert!(stage.has("sample", &wheel));
}
