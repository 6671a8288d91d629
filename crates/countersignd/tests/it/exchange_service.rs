//! `docs/operating-exchange-service.md`: identity tokens judged for a registry elsewhere, by the commands of that page.

use std::process::{Command, Stdio};

use countersign_testkit::claims;
use countersign_testkit::issuer::OidcServer;

use crate::log_service::commands;
use crate::machine::{Desk, Ran, ran};

#[test]
fn the_page_about_the_exchange_for_registries_elsewhere_does_what_it_says() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    let outside = OidcServer::start().unwrap();
    let issuer = outside.issuer("forge").unwrap();
    let (url, ca) = (issuer.url(), outside.ca_file().to_str().unwrap().to_owned());
    let add = ["admin", "issuer", "add", "forge", "--url", &url];
    let as_github = ["--preset", "github", "--ca", &ca];
    desk.run(&[&add[..], &as_github].concat()).expect(0, &[]);
    let server = desk.serve(&[]);
    let countersignd = env!("CARGO_BIN_EXE_countersignd");
    let data = desk.data();
    let prelude = format!(
        "set -e\ncountersignd() {{ {countersignd:?} --data {data:?} \"$@\"; }}\nREGISTRY={}\n",
        server.site()
    );
    let script = |more: &str, token: &str| -> Ran {
        let mut shell = Command::new("sh");
        shell
            .current_dir(desk.path("."))
            .env("IDENTITY_TOKEN", token)
            .args(["-c", &format!("{prelude}{more}")])
            .stdin(Stdio::null());
        ran(shell)
    };
    let commands = commands("operating-exchange-service.md");
    assert_eq!(commands.len(), 4, "{commands:?}");
    // The page's issuer is GitHub itself.
    script(
        &commands[..2]
            .join("\n")
            .replace("--issuer github", "--issuer forge"),
        "",
    )
    .expect(0, &[]);
    let answer = script(&commands[2], "").expect(0, &["audience"]).json();
    let audience = answer["audience"].as_str().unwrap().to_owned();
    let claims = claims::github("octo/hello", "release.yml");
    let token = issuer.token(&audience, &claims).unwrap();
    let judged = script(&commands[3], &token).expect(0, &[]).json();
    assert_eq!(judged["projects"], serde_json::json!(["hello"]), "{judged}");
    assert_eq!(judged["issuer"], url, "{judged}");
    let again = script(&commands[3], &token).expect(0, &[]).json();
    assert_eq!(again["code"], "oidc-replayed", "{again}");
    let other = claims::github("octo/hello", "other.yml");
    let token = issuer.token(&audience, &other).unwrap();
    let refused = script(&commands[3], &token).expect(0, &[]).json();
    assert_eq!(refused["code"], "publisher-mismatch", "{refused}");
}
