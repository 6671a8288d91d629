//! What a maintainer sees of it when all is well.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_testkit::claims;
use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::http;
use countersign_testkit::packages::Wheel;
use countersign_testkit::runner::{self, Runner};
use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::Value;

use super::{REPOSITORY, Stage, WORKFLOW, release, token_of};

fn written(stage: &Stage, project: &str, version: &str) -> PathBuf {
    release(project, version)
        .write_to(stage.folder.path())
        .unwrap()
}

fn files(server: &TestServer, project: &str) -> Vec<String> {
    let Some(document) = server.project(project).unwrap() else {
        return Vec::new();
    };
    let files = document["files"].as_array().unwrap();
    files
        .iter()
        .map(|file| file["filename"].as_str().unwrap().to_owned())
        .collect()
}

fn succeeded(output: &std::process::Output) -> String {
    let said = both_outputs(output);
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn pip_uv_and_twine_work_over_tls_with_a_private_authority() {
    let server = TestServer::start(ServerOptions {
        tls: true,
        ..ServerOptions::default()
    })
    .unwrap();
    let token = server.publisher("ada").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = release("secure", "1.0").write_to(folder.path()).unwrap();
    let clients = Clients::get().unwrap();
    let upload = |clients: &Clients| {
        clients
            .twine_upload(&server.upload_url(), &token, &[&file], &[])
            .unwrap()
    };
    assert!(!upload(&clients).status.success());
    let clients = clients.trusting(server.ca_file().unwrap());
    succeeded(&upload(&clients));
    let index = server.simple_url();
    let (by_pip, by_uv) = (folder.path().join("pip"), folder.path().join("uv"));
    succeeded(
        &clients
            .pip_install(&index, &["secure"], &by_pip, &[])
            .unwrap(),
    );
    succeeded(
        &clients
            .uv_pip_install(&index, &["secure"], &by_uv, &[])
            .unwrap(),
    );
    assert!(by_pip.join("secure/__init__.py").is_file());
    assert!(by_uv.join("secure/__init__.py").is_file());
}

#[test]
fn unmodified_uv_publishes_from_a_workflow_without_a_stored_secret() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let clients = Clients::get()
        .unwrap()
        .trusting(stage.server.ca_file().unwrap());
    let runner = Runner::github(&stage.oidc, &stage.company, &stage.claims()).unwrap();
    let file = written(&stage, "sample", "1.1");
    let said = succeeded(
        &clients
            .uv_publish_trusted(&runner, &stage.server.upload_url(), &[&file], &[])
            .unwrap(),
    );
    // uv asks the runner to hide the token and says it nowhere else.
    let masked = runner::masked(&said);
    let shown = said
        .lines()
        .filter(|line| !line.contains("::add-mask::"))
        .any(|line| masked.iter().any(|secret| line.contains(secret)));
    assert!(!shown, "{said}");
    assert_eq!(
        files(&stage.server, "sample"),
        ["sample-1.0-py3-none-any.whl", "sample-1.1-py3-none-any.whl"]
    );
    let log = stage.server.checked_log().unwrap();
    let leaves = log.leaves_containing("sample-1.1-py3-none-any.whl");
    assert_eq!(leaves.len(), 1);

    let target = stage.folder.path().join("installed");
    let index = stage.server.simple_url();
    succeeded(
        &clients
            .pip_install(&index, &["sample==1.1"], &target, &[])
            .unwrap(),
    );
    let module = std::fs::read_to_string(target.join("sample/__init__.py")).unwrap();
    assert_eq!(module, "__version__ = \"1.1\"\n");
}

#[test]
fn uv_says_what_differs_when_the_workflow_is_another_one() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let clients = Clients::get()
        .unwrap()
        .trusting(stage.server.ca_file().unwrap());
    let claims = claims::github(REPOSITORY, "test.yml");
    let runner = Runner::github(&stage.oidc, &stage.company, &claims).unwrap();
    let file = written(&stage, "sample", "1.1");
    let output = clients
        .uv_publish_trusted(&runner, &stage.server.upload_url(), &[&file], &[])
        .unwrap();
    let said = both_outputs(&output);
    assert!(!output.status.success());
    for word in ["publisher-mismatch", WORKFLOW, "test.yml", "workflow_ref"] {
        assert!(said.contains(word), "{word} is not in:\n{said}");
    }
    assert_eq!(files(&stage.server, "sample").len(), 1);
}

#[test]
fn a_pending_publisher_founds_its_project_with_the_first_release() {
    let stage = Stage::start();
    stage.register_pending("newcomer");
    assert_eq!(stage.server.project("newcomer").unwrap(), None);
    let pending = stage.publisher(&["list"]);
    assert_eq!(pending.as_array().unwrap().len(), 1);

    let clients = Clients::get()
        .unwrap()
        .trusting(stage.server.ca_file().unwrap());
    let runner = Runner::github(&stage.oidc, &stage.company, &stage.claims()).unwrap();
    let file = written(&stage, "newcomer", "0.1");
    succeeded(
        &clients
            .uv_publish_trusted(&runner, &stage.server.upload_url(), &[&file], &[])
            .unwrap(),
    );
    assert_eq!(
        files(&stage.server, "newcomer"),
        ["newcomer-0.1-py3-none-any.whl"]
    );
    assert_eq!(stage.publisher(&["list"]), Value::Array(Vec::new()));
    let publishers = stage.publisher(&["list", "newcomer"]);
    assert_eq!(publishers[0]["pending"], Value::Null);

    // Ada owns it, and only she.
    let ada = stage.server.token("ada", &[]).unwrap();
    let stranger = stage.server.publisher("grace").unwrap();
    let by_stranger = stage
        .server
        .publish(&release("newcomer", "0.2"), &stranger)
        .unwrap();
    assert_eq!(by_stranger.status, 403);
    // With less behind it than what her workflow published, only once an exception is open.
    let by_ada = || stage.server.publish(&release("newcomer", "0.2"), &ada);
    let refused = by_ada().unwrap();
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("trust-lost"), "{}", refused.text());
    stage.let_tokens_publish_to("newcomer");
    by_ada().unwrap().expect_status(200).unwrap();
}

#[test]
fn a_pending_publisher_reserves_nothing_and_loses_cleanly_to_a_project_that_came_first() {
    let stage = Stage::start();
    stage.register_pending("contended");
    let grace = stage.server.publisher("grace").unwrap();
    stage
        .server
        .publish(&release("contended", "1.0"), &grace)
        .unwrap()
        .expect_status(200)
        .unwrap();
    let answer = stage.mint(&stage.identity(&stage.claims()));
    let error = super::refused(&answer, "pending-publisher-lost");
    assert!(
        error["description"].as_str().unwrap().contains("contended"),
        "{error}"
    );
    assert_eq!(
        files(&stage.server, "contended"),
        ["contended-1.0-py3-none-any.whl"]
    );
}

#[test]
fn twine_publishes_with_a_minted_token_until_its_holder_revokes_it() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let answer = stage.mint(&stage.identity(&stage.claims()));
    let told = answer.json().unwrap();
    let token = token_of(answer);
    assert_eq!(told["projects"], serde_json::json!(["sample"]));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = told["expires"]
        .as_u64()
        .unwrap()
        .checked_sub(since.as_secs());
    assert!(left.is_some_and(|left| left <= 900), "{told}");
    let clients = Clients::get()
        .unwrap()
        .trusting(stage.server.ca_file().unwrap());
    let url = stage.server.upload_url();
    let upload = |version: &str| {
        let file = written(&stage, "sample", version);
        clients.twine_upload(&url, &token, &[file], &[]).unwrap()
    };
    succeeded(&upload("1.1"));
    succeeded(&upload("1.2"));

    let authorization = format!("Bearer {token}");
    let end = || {
        let url = format!("{}/api/v1/token", stage.server.url());
        http::request("DELETE", &url, &[("Authorization", &authorization)], &[]).unwrap()
    };
    assert_eq!(end().status, 204);
    let output = upload("1.3");
    let said = both_outputs(&output);
    assert!(!output.status.success() && said.contains("403"), "{said}");
    assert_eq!(end().status, 401);
    assert_eq!(files(&stage.server, "sample").len(), 3);
}

#[test]
fn one_workflow_publishes_several_projects_and_one_project_has_several_workflows() {
    let stage = Stage::start();
    stage.project_with_publisher("first", &[]);
    stage.project_with_publisher("second", &[]);
    let nightly = ["--workflow", "nightly.yml"];
    let mut other: Vec<&str> = super::registration("first")[..8].to_vec();
    other.extend(nightly);
    stage.publisher(&other);
    let told = stage.mint(&stage.identity(&stage.claims())).json().unwrap();
    let mut projects: Vec<&str> = told["projects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    projects.sort_unstable();
    assert_eq!(projects, ["first", "second"]);
    let nightly = stage.identity(&claims::github(REPOSITORY, "nightly.yml"));
    let told = stage.mint(&nightly).json().unwrap();
    assert_eq!(told["projects"], serde_json::json!(["first"]));
}

/// Whether the page of a release marks the link to `address`, among those of its metadata, as verified; `None` if
/// there is no such link.
fn marked_verified(page: &str, address: &str) -> Option<bool> {
    let (_, links) = page.split_once("<dt>Links</dt>")?;
    let (_, rest) = links.split_once(&format!("href=\"{address}\""))?;
    let (entry, _) = rest.split_once("</dd>")?;
    let (verified, claimed) = (entry.contains(">verified<"), entry.contains(">claimed by"));
    assert_ne!(verified, claimed, "{entry}");
    Some(verified)
}

#[test]
fn a_source_link_is_verified_only_where_that_very_release_came_from_there() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let ours = format!("{}/{REPOSITORY}", stage.oidc.url());
    let famous = "https://github.com/famous/project";
    let package = |version: &str| {
        Wheel::new("sample", version)
            .metadata_line(&format!("Project-URL: Source, {ours}"))
            .metadata_line(&format!("Project-URL: Homepage, {famous}"))
            .build()
    };
    let ada = stage.server.token("ada", &[]).unwrap();
    let minted = stage.minted();
    for (version, token) in [("1.1", &minted), ("1.2", &ada)] {
        if token == &ada {
            stage.let_tokens_publish_to("sample");
        }
        let answer = stage.server.publish(&package(version), token).unwrap();
        answer.expect_status(200).unwrap();
    }
    let page = |version: &str| {
        let path = format!("/project/pypi/sample/{version}/");
        let page = stage.server.get(&path).unwrap();
        page.expect_status(200).unwrap().text()
    };
    let by_workflow = page("1.1");
    assert_eq!(marked_verified(&by_workflow, &ours), Some(true));
    assert_eq!(marked_verified(&by_workflow, famous), Some(false));
    assert!(by_workflow.contains(WORKFLOW) && by_workflow.contains(REPOSITORY));
    let by_token = page("1.2");
    assert_eq!(marked_verified(&by_token, &ours), Some(false));
    assert!(!by_token.contains(WORKFLOW));
}
