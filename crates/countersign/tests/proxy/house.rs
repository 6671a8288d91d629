//! A registry whose TUF is looked at with clients by other hands: python-tuf and tuf-js.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use countersign_testkit::clients::Clients;
use countersign_testkit::http;
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{Database, ServerOptions, TestServer};
use countersign_testkit::tuf::{Keep, Told, TufClient};
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::Ed25519Signer;
use serde_json::Value;
use tempfile::TempDir;

/// The server, one who publishes, and two clients.
pub struct House {
    pub server: TestServer,
    pub token: String,
    manager: String,
    pub python: TufClient,
    pub javascript: TufClient,
    people: TempDir,
}

pub fn index_of(project: &str) -> String {
    format!("pypi/{project}/index.json")
}

impl House {
    pub fn new(clients: &Clients, database: Database) -> Self {
        let server = TestServer::start(ServerOptions {
            database,
            ..ServerOptions::default()
        })
        .unwrap();
        Self {
            token: server.publisher("ada").unwrap(),
            manager: server.token("ada", &["--action", "manage"]).unwrap(),
            server,
            python: TufClient::python(clients).unwrap(),
            javascript: TufClient::javascript().unwrap(),
            people: tempfile::tempdir().unwrap(),
        }
    }

    pub fn publish(&self, name: &str, version: &str) {
        let wheel = Wheel::new(name, version).build();
        let answer = self.server.publish(&wheel, &self.token).unwrap();
        answer.expect_status(200).unwrap();
    }

    pub fn yank(&self, name: &str, version: &str) {
        let url = format!(
            "{}/api/v1/projects/pypi/{name}/releases/{version}/yank",
            self.server.url()
        );
        let bearer = format!("Bearer {}", self.manager);
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let answer = http::request("POST", &url, &headers, b"{\"reason\":\"broken\"}").unwrap();
        assert!(answer.status < 300, "{} {}", answer.status, answer.text());
    }

    /// A file of a repository's metadata.
    pub fn metadata(&self, repository: &str, file: &str) -> String {
        let path = match repository {
            "roots" => format!("/tuf/{file}"),
            _ => format!("/tuf/{repository}/{file}"),
        };
        let answer = self.server.get(&path).unwrap();
        answer.expect_status(200).unwrap().text()
    }

    /// What a user has who pinned the first root of a repository.
    pub fn pinned(&self, repository: &str) -> Keep {
        let root = self.metadata(repository, "1.root.json");
        Keep::of(&self.server.url(), repository, &root).unwrap()
    }

    /// Digest of the index as it is served now.
    pub fn index(&self, project: &str) -> String {
        let url = format!("{}{project}/", self.server.simple_url());
        let json = [("Accept", "application/vnd.pypi.simple.v1+json")];
        let answer = http::request("GET", &url, &json, &[]).unwrap();
        Sha256::of(&answer.expect_status(200).unwrap().body).to_hex()
    }

    /// Both clients, whose memory is here, see this project's index as it is served, as soon as the next beat is over. The versions
    /// of what they trust; the same for both.
    #[track_caller]
    pub fn both_see(&mut self, keep: &Keep, project: &str) -> [u64; 4] {
        self.both(keep, project, false)
    }

    /// `rerooted`: a new root may come between a client's questions for the root and for what it signs. The client refuses then, and
    /// is asked again.
    #[track_caller]
    fn both(&mut self, keep: &Keep, project: &str, rerooted: bool) -> [u64; 4] {
        let path = index_of(project);
        let begin = Instant::now();
        loop {
            let served = self.index(project);
            let told = [&mut self.python, &mut self.javascript]
                .map(|client| client.ask(keep, Some(&path), None).unwrap());
            let refused = told.iter().any(|told| matches!(told, Told::Refused(..)));
            if !(rerooted && refused) {
                let versions = told[0].versions();
                let agreed = told.iter().all(|told| {
                    matches!(told, Told::Believes { sha256: Some(sha256), .. } if *sha256 == served)
                        && told.versions()[0] == versions[0]
                });
                if agreed && self.index(project) == served {
                    return versions;
                }
            }
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "{told:?} of {served}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As [`House::both_see`], where another process may have published a root a moment ago.
    #[track_caller]
    pub fn both_come_to_see(&mut self, keep: &Keep, project: &str) {
        self.both(keep, project, true);
    }

    /// As [`House::both_see`], under this root: what another process published is served within a moment.
    #[track_caller]
    pub fn both_follow(&mut self, keep: &Keep, project: &str, root: u64) {
        let begin = Instant::now();
        loop {
            let seen = self.both(keep, project, true)[0];
            if seen == root {
                return;
            }
            assert!(
                seen < root && begin.elapsed() < Duration::from_secs(30),
                "root {seen} instead of {root}"
            );
        }
    }

    pub fn person(&self, name: &str) -> PathBuf {
        self.people.path().join(name)
    }

    /// Makes keys of people.
    pub fn people(&self, names: &[&str]) {
        for name in names {
            let file = self.person(&format!("{name}.pem"));
            let words = ["tuf", "key", "new", file.to_str().unwrap()];
            self.server
                .run(&[&words[..], &["--no-passphrase"]].concat())
                .unwrap();
        }
    }

    /// Signs a bundle with the keys of these, and publishes it; returns when the server serves it.
    pub fn sign_and_publish(&self, bundle: &Path, names: &[&str]) {
        self.sign(bundle, names);
        let bundle = bundle.to_str().unwrap();
        let words = ["tuf", "publish", "--yes", "--bundle", bundle];
        self.server.run(&words).unwrap();
        // The server's memory answers for a moment yet: a client with the old root and the new rest would refuse.
        let status = self.status();
        let repositories = status["repositories"].as_array().unwrap();
        let own = repositories.iter().find(|one| one["name"] == "pypi");
        let roles = own.unwrap()["roles"].as_array().unwrap();
        let newest = |role: &str| {
            let found = roles.iter().find(|one| one["role"] == role);
            found.unwrap()["version"].as_u64().unwrap()
        };
        let root = format!("/tuf/pypi/{}.root.json", newest("root"));
        let timestamp = newest("timestamp");
        let begin = Instant::now();
        let served = || {
            let told: Value =
                serde_json::from_str(&self.metadata("pypi", "timestamp.json")).unwrap();
            let rooted = self.server.get(&root).unwrap().expect_status(200).is_ok();
            rooted && told["signed"]["version"].as_u64().unwrap() >= timestamp
        };
        while !served() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{bundle}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Signs a bundle with the keys of these.
    pub fn sign(&self, bundle: &Path, names: &[&str]) {
        let bundle = bundle.to_str().unwrap();
        for name in names {
            let key = format!("file:{}", self.person(&format!("{name}.pem")).display());
            let words = ["tuf", "sign", "--yes", "--bundle", bundle, "--key", &key];
            self.server.run(&words).unwrap();
        }
    }

    /// A ceremony that gives root and targets to these people, two of whom must sign; `old` had them before.
    pub fn ceremony(&self, number: u32, names: &[&str], old: &[&str]) {
        let bundle = self.ceremony_bundle(number, names);
        let mut signers: Vec<&str> = old.to_vec();
        signers.extend(names.iter().filter(|name| !old.contains(name)));
        self.sign_and_publish(&bundle, &signers);
    }

    /// The same, for them to sign.
    pub fn ceremony_bundle(&self, number: u32, names: &[&str]) -> PathBuf {
        let list: Vec<String> = names
            .iter()
            .map(|name| format!("{:?}", self.person(&format!("{name}.pem.pub"))))
            .collect();
        let list = list.join(", ");
        let plan = self.person(&format!("plan-{number}.toml"));
        let days = 365 + number;
        std::fs::write(
            &plan,
            format!(
                "[root]\nkeys = [{list}]\nthreshold = 2\ndays = {days}\n[targets]\nkeys = [{list}]\nthreshold = 2\n"
            ),
        )
        .unwrap();
        let bundle = self.person(&format!("ceremony-{number}.json"));
        let (plan, file) = (plan.to_str().unwrap(), bundle.to_str().unwrap());
        let words = ["tuf", "ceremony", "--plan", plan, "--yes", "--bundle", file];
        self.server.run(&words).unwrap();
        bundle
    }

    /// The keys that lie in the folder of keys now, as somebody has them who copied it.
    pub fn stolen(&self) -> Loot {
        let folder = self.server.data().join("keys");
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if let Some(secret) = std::fs::read_to_string(entry.path())
                .ok()
                .and_then(|text| hex::decode(text.trim_end()).ok()?.try_into().ok())
            {
                files.insert(name, secret);
            }
        }
        Loot { files }
    }

    /// `countersignd tuf status`.
    pub fn status(&self) -> Value {
        let told = self.server.run(&["--json", "tuf", "status"]).unwrap();
        serde_json::from_slice(&told.stdout).unwrap()
    }
}

/// Secrets out of the folder of keys.
pub struct Loot {
    files: BTreeMap<String, [u8; 32]>,
}

impl Loot {
    /// The key of a role of the repository for Python, as a registry has it that was made in development mode.
    pub fn key(&self, role: &str) -> Ed25519Signer {
        let seed = self.files["tuf-development.seed"];
        let label = format!("pypi/{role}");
        let parts: [&[u8]; 3] = [
            &seed,
            b"\ncountersign/tuf/derived-key/v1\n",
            label.as_bytes(),
        ];
        Ed25519Signer::new(&Sha256::of(&parts.concat()).0).unwrap()
    }
}
