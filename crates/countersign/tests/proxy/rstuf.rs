//! RSTUF's command-line tool, unmodified, against a service of ours, from the ceremony to another online key
//! (`docs/operating-tuf-service.md`).

use std::path::Path;

use countersign_testkit::clients::Clients;
use countersign_testkit::http;
use countersign_testkit::server::{ServerOptions, TestServer};
use countersign_testkit::tuf::Step::{self, Choose, Type};
use countersign_testkit::tuf::{Keep, RstufTool, TufClient};
use countersign_trust::digest::Sha256;
use serde_json::json;

use crate::relay::Relay;

const PASSPHRASE: &str = "correct horse";

fn typed(shown: &'static str, line: &str) -> Step {
    Type(shown, line.to_owned())
}

/// What somebody does who signs with the key of this name.
fn signs(name: &str) -> Vec<Step> {
    vec![
        Choose("HSM", 1),
        typed("to encrypted private key", &format!("{name}.pem")),
        typed("password", PASSPHRASE),
    ]
}

/// Adds a person's key to the root.
fn adds(name: &str) -> Vec<Step> {
    vec![
        Choose("Select a key type", 1),
        typed("PUBLIC", &format!("{name}.pem.pub")),
        typed("enter key name", name),
    ]
}

fn names_online_key(file: &str) -> Vec<Step> {
    vec![
        Choose("Select Online Key type", 4),
        typed("PUBLIC", file),
        typed("enter key name", file),
    ]
}

struct Scene<'a> {
    server: TestServer,
    tool: RstufTool<'a>,
    /// Address and token, as options.
    options: [String; 4],
    metadata: String,
}

impl Scene<'_> {
    fn run(&self, group: &str, words: &[&str], steps: &[Step]) -> String {
        let options = self.options.each_ref().map(String::as_str);
        let words = match group {
            "admin" => [&["admin"], &options[..], words].concat(),
            _ => [&[group], words, &options[..]].concat(),
        };
        self.tool.run(&words, steps).unwrap()
    }

    /// One more person signs what waits.
    fn signed_by(&self, name: &str, among: usize) {
        let mut steps = vec![
            Choose("Select a role to sign", 0),
            Choose("Select key for signing", among),
        ];
        steps.extend(signs(name));
        let screen = self.run("admin", &["metadata", "sign"], &steps);
        assert!(screen.contains("Metadata Signed and sent"), "{screen}");
    }

    /// Downloads by a root; an error holds the screen.
    fn download(&self, root: &str, site: &str) -> Result<String, String> {
        let words = [
            "artifact",
            "download",
            "-r",
            root,
            "-m",
            &self.metadata,
            "-a",
            site,
            "files/hello.txt",
        ];
        self.tool
            .run(&words, &[])
            .map_err(|error| format!("{error:#}"))
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

#[test]
fn the_tool_of_rstuf_holds_a_ceremony_adds_and_takes_artifacts_and_changes_keys() {
    let clients = Clients::get().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let desk = folder.path();
    let at = |name: &str| desk.join(name).to_str().unwrap().to_owned();
    let server = TestServer::start(ServerOptions {
        variables: vec![(
            "COUNTERSIGN_TUF_PASSPHRASE".to_owned(),
            PASSPHRASE.to_owned(),
        )],
        ..ServerOptions::default()
    })
    .unwrap();
    for name in ["alice.pem", "bob.pem", "carol.pem"] {
        server.run(&["tuf", "key", "new", &at(name)]).unwrap();
    }
    let create = ["tuf", "service", "create", "demo", "--public-key"];
    server
        .run(&[&create[..], &[&at("online.pub")]].concat())
        .unwrap();
    let token = server.run(&["tuf", "service", "token", "demo"]).unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    let api = format!("{}/service/tuf/demo", server.url());
    let scene = Scene {
        tool: RstufTool::new(&clients, desk).unwrap(),
        options: [
            "--api-server".to_owned(),
            api.clone(),
            "--headers".to_owned(),
            format!("Authorization: Bearer {}", token.trim()),
        ],
        metadata: format!("{api}/metadata"),
        server,
    };

    let mut ceremony = vec![
        typed("for 'timestamp' role", ""),
        typed("for 'snapshot' role", ""),
        typed("for 'targets' role", ""),
        Choose("Bins (online key only)", 0),
        typed("for 'bins' role", ""),
        typed("number of delegated hash bins", "4"),
        typed("for 'root' role", ""),
        typed("'root' threshold", "2"),
    ];
    ceremony.extend(adds("alice"));
    ceremony.push(Choose("Added key", 0));
    ceremony.extend(adds("bob"));
    ceremony.push(Choose("is met, more keys can be added", 0));
    ceremony.extend(names_online_key("online.pub"));
    ceremony.push(Choose("Select a key for signing", 0));
    ceremony.extend(signs("alice"));
    ceremony.push(Choose("Select a key for signing", 0));
    let screen = scene.run("admin", &["ceremony"], &ceremony);
    assert!(screen.contains("Bootstrap completed"), "{screen}");
    // Alice alone is not enough.
    let first = format!("{}/1.root.json", scene.metadata);
    let root = || http::get(&first).unwrap();
    assert_eq!(root().status, 404);
    scene.signed_by("bob", 0);
    let root = root().expect_status(200).unwrap().text();

    // A site of files elsewhere, which knows nothing of TUF.
    let site = Relay::before(|_, path, _, _| match path {
        "/files/hello.txt" => (200, b"hello\n".to_vec()),
        _ => (404, Vec::new()),
    });
    write(desk, "hello.txt", "hello\n");
    assert!(scene.download(&root, &site.url()).is_err());
    let screen = scene.run("artifact", &["add", "hello.txt", "--path", "files"], &[]);
    let task = screen
        .rsplit("is: ")
        .next()
        .and_then(|rest| rest.split_whitespace().next())
        .map(|id| {
            id.trim_start_matches("\u{1b}[93m")
                .trim_end_matches("\u{1b}[0m")
        })
        .unwrap();
    let screen = scene.run("task", &["info", task], &[]);
    assert!(screen.contains("SUCCESS"), "{screen}");
    scene.download(&root, &site.url()).unwrap();
    let mut python = TufClient::python(&clients).unwrap();
    let mut javascript = TufClient::javascript().unwrap();
    let mut keep = Keep::new(&format!("{}/", scene.metadata), &site.url(), &root).unwrap();
    keep.prefixed = false;
    let hello = Sha256::of(b"hello\n").to_hex();
    let path = Some("files/hello.txt");
    assert_eq!(python.ask(&keep, path, None).unwrap().sha256(), hello);

    // Carol comes for Bob, with another online key; the two before and the two after must sign.
    let next = ["tuf", "service", "next-key", "demo", "--public-key"];
    scene
        .server
        .run(&[&next[..], &[&at("next.pub")]].concat())
        .unwrap();
    write(desk, "root.json", &root);
    let mut update = vec![
        typed("change the expiry date", "n"),
        typed("change the threshold", "n"),
        Choose("more keys can be added", 1),
    ];
    update.extend(adds("carol"));
    update.push(Choose("Added key", 2));
    update.push(Choose("Select a key to remove", 1));
    update.push(Choose("Removed key", 0));
    update.push(typed("change the online key", "y"));
    update.extend(names_online_key("next.pub"));
    update.push(Choose("Select a key for signing", 0));
    update.extend(signs("alice"));
    update.push(Choose("Select a key for signing", 0));
    let words = ["metadata", "update", "--in", "root.json"];
    let screen = scene.run("admin", &words, &update);
    assert!(
        screen.contains("Root metadata update completed"),
        "{screen}"
    );
    scene.signed_by("bob", 0);
    assert_eq!(python.ask(&keep, path, None).unwrap().versions()[0], 1);
    scene.signed_by("carol", 0);
    let told = python.ask(&keep, path, None).unwrap();
    assert_eq!((told.versions()[0], told.sha256()), (2, hello.clone()));
    // The tool says BLAKE2 of what it adds, which tuf-js does not know; with SHA-256 it finds the same file.
    let second = json!({"artifacts": [{"path": "files/hello.txt", "info": {"length": 6, "hashes": {"sha256": hello}}}]});
    let bearer = scene.options[3].strip_prefix("Authorization: ").unwrap();
    let headers = [
        ("Authorization", bearer),
        ("Content-Type", "application/json"),
    ];
    let url = format!("{api}/api/v1/artifacts/");
    let answer = http::request("POST", &url, &headers, second.to_string().as_bytes()).unwrap();
    answer.expect_status(202).unwrap();
    for client in [&mut python, &mut javascript] {
        let told = client.ask(&keep, path, None).unwrap();
        assert_eq!((told.versions()[0], told.sha256()), (2, hello.clone()));
    }
    scene.download(&root, &site.url()).unwrap();

    scene.run("artifact", &["delete", "files/hello.txt"], &[]);
    let refused = scene.download(&root, &site.url()).unwrap_err();
    assert!(
        refused.contains("not trusted by TUF repository"),
        "{refused}"
    );
    // Somebody else's token is nobody's.
    let mut other = scene.options.each_ref().map(String::as_str);
    other[3] = "Authorization: Bearer csgn_s_nobody";
    let words = [&["artifact", "delete", "files/hello.txt"], &other[..]].concat();
    let error = format!("{:#}", scene.tool.run(&words, &[]).unwrap_err());
    assert!(error.contains("a token of its own"), "{error}");
}
