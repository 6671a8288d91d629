//! Trusted publishing from outside.

use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::http;
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{Database, ServerOptions, TestServer};

#[test]
fn pip_uv_and_twine_work_over_tls_with_the_private_authority() {
    let server = TestServer::start(ServerOptions {
        tls: true,
        ..ServerOptions::default()
    })
    .unwrap();
    let token = server.publisher("ada").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = Wheel::new("secure", "1.0")
        .build()
        .write_to(folder.path())
        .unwrap();
    let clients = Clients::get().unwrap().trusting(server.ca_file().unwrap());
    let said = clients
        .twine_upload(&server.upload_url(), &token, &[&file], &[])
        .unwrap();
    assert!(said.status.success(), "{}", both_outputs(&said));
    for (number, name) in ["pip", "uv"].into_iter().enumerate() {
        let target = folder.path().join(name);
        let said = if number == 0 {
            clients.pip_install(&server.simple_url(), &["secure"], &target, &[])
        } else {
            clients.uv_pip_install(&server.simple_url(), &["secure"], &target, &[])
        }
        .unwrap();
        assert!(said.status.success(), "{}", both_outputs(&said));
        assert!(target.join("secure/__init__.py").is_file());
    }
}

#[test]
fn second() {
    let server = TestServer::start(ServerOptions {
        tls: true,
        database: Database::Postgres,
        ..ServerOptions::default()
    })
    .unwrap();
    let second = server.second().unwrap();
    assert_eq!(
        http::get(&format!("{}/pypi/simple/", second.url()))
            .unwrap()
            .status,
        200
    );
}
