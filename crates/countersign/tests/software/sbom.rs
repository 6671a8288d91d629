//! `countersign sbom`.

use serde_json::{Value, json};

use crate::{CARGO_LOCK, Desk};

const NODE: &str = r#"{"lockfileVersion":3,"packages":{"":{"dependencies":{"@s/thing":"1"}},
"node_modules/@s/thing":{"version":"1.0.0","resolved":"https://r.example.test/@s/thing/-/thing-1.0.0.tgz","integrity":"sha512-qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqg==","dependencies":{"far":"*"}},
"node_modules/far":{"version":"1.0.0","resolved":"git+ssh://git@git.example.test/far.git#0011"}}}"#;

fn python() -> String {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    format!(
        "version = 1\nrequires-python = \">=3.9\"\n[[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = {{ virtual = \".\" }}\ndependencies = [{{ name = \"thing\" }}]\n\
         [[package]]\nname = \"thing\"\nversion = \"1.0\"\nsource = {{ registry = \"https://i.example.test\" }}\n\
         sdist = {{ url = \"https://i.example.test/thing-1.0.tar.gz\", hash = \"sha256:{a}\" }}\nwheels = [{{ url = \"https://i.example.test/thing-1.0-py3-none-any.whl\", hash = \"sha256:{b}\" }}]\n"
    )
}

#[test]
fn cyclonedx_names_all_with_digests_and_links_and_is_made_again() {
    let desk = Desk::new();
    desk.write("Cargo.lock", CARGO_LOCK);
    desk.write("package-lock.json", NODE);
    desk.write("uv.lock", python());
    let arguments = ["sbom", "--name", "app", "--project-version", "0.1.0"];
    let text = desk.text(0, &arguments);
    assert_eq!(text, desk.text(0, &arguments), "the same bytes");
    let bill: Value = serde_json::from_str(&text).unwrap();
    let components = bill["components"].as_array().unwrap();
    let references: Vec<&str> = components
        .iter()
        .map(|c| c["bom-ref"].as_str().unwrap())
        .collect();
    assert_eq!(
        references,
        [
            "pkg:cargo/inner@1.0.0",
            "pkg:cargo/outer@2.1.0",
            "pkg:npm/%40s/thing@1.0.0",
            "pkg:npm/far@1.0.0?vcs_url=git%2Bssh%3A%2F%2Fgit%40git.example.test%2Ffar.git%230011",
            "pkg:pypi/thing@1.0",
        ]
    );
    assert_eq!(
        components[0]["hashes"][0],
        json!({"alg": "SHA-256", "content": "a".repeat(64)})
    );
    assert_eq!(components[2]["group"], "@s");
    assert_eq!(components[2]["hashes"][0]["alg"], "SHA-512");
    // Of two files either may be installed: the digests stand with them.
    assert_eq!(components[4].get("hashes"), None);
    assert_eq!(
        components[4]["externalReferences"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let on = |reference: &str| {
        let all = bill["dependencies"].as_array().unwrap();
        let one = all.iter().find(|d| d["ref"] == reference).unwrap();
        one["dependsOn"].clone()
    };
    assert_eq!(
        on("the-project"),
        json!([
            "pkg:cargo/outer@2.1.0",
            "pkg:npm/%40s/thing@1.0.0",
            "pkg:pypi/thing@1.0"
        ])
    );
    assert_eq!(
        on("pkg:cargo/outer@2.1.0"),
        json!(["pkg:cargo/inner@1.0.0"])
    );
    assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    // Another content has another number.
    desk.write("Cargo.lock", CARGO_LOCK.replace("2.1.0", "2.1.1"));
    let other = desk.json(0, &arguments);
    assert_ne!(other["serialNumber"], bill["serialNumber"]);
}

#[test]
fn spdx_names_all_with_relationships() {
    let desk = Desk::new();
    desk.write("Cargo.lock", CARGO_LOCK);
    let bill = desk.json(0, &["sbom", "--form", "spdx", "--name", "app"]);
    assert_eq!(bill["packages"].as_array().unwrap().len(), 3);
    let relations = bill["relationships"].as_array().unwrap();
    let relations: Vec<&str> = relations
        .iter()
        .map(|r| r["relationshipType"].as_str().unwrap())
        .collect();
    assert_eq!(relations, ["DESCRIBES", "DEPENDS_ON", "DEPENDS_ON"]);
    assert_eq!(
        bill["packages"][1]["checksums"][0]["checksumValue"],
        "a".repeat(64)
    );
    // Without links it says so little, and not wrongly: all is the project's.
    desk.write(
        "requirements.txt",
        format!("b==1.0 --hash=sha256:{}\n", "b".repeat(64)),
    );
    let bill = desk.json(0, &["sbom", "requirements.txt"]);
    assert_eq!(bill["compositions"][0]["aggregate"], "incomplete");
    desk.text(2, &["sbom", "nowhere.lock"]);
}
