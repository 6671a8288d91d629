//! TLS, and the refusal to go without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::Desk;

struct Pair {
    cert: PathBuf,
    key: PathBuf,
    pem: String,
}

fn pair(folder: &Path, name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (
        folder.join(format!("{name}.crt")),
        folder.join(format!("{name}.key")),
    );
    fs::create_dir_all(folder).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Pair {
        cert,
        key,
        pem: made.cert.pem(),
    }
}

fn client(pem: &str) -> reqwest::blocking::Client {
    reqwest::blocking::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()])
        .build()
        .unwrap()
}

#[test]
fn https_answers_with_the_certificate_and_takes_a_new_one_on_sighup() {
    let desk = Desk::new();
    let first = pair(&desk.path("tls"), "a");
    let (cert, key) = (first.cert.to_str().unwrap(), first.key.to_str().unwrap());
    let server = desk.serve(&["--tls-cert", cert, "--tls-key", key]);
    assert!(
        server.line.contains("https://localhost:"),
        "{}",
        server.line
    );
    let address = format!("https://localhost:{}/healthz", server.port);
    assert!(
        client(&first.pem)
            .get(&address)
            .send()
            .unwrap()
            .status()
            .is_success()
    );

    let second = pair(&desk.path("tls"), "b");
    fs::copy(&second.cert, &first.cert).unwrap();
    server.signal("HUP");
    server.wait_for_log("does not belong to the certificate");
    assert!(
        client(&first.pem).get(&address).send().is_ok(),
        "a pair that does not fit leaves the old one in use"
    );

    fs::copy(&second.key, &first.key).unwrap();
    server.signal("HUP");
    server.wait_for_log("certificate files read again");
    assert!(client(&first.pem).get(&address).send().is_err());
    assert!(
        client(&second.pem)
            .get(&address)
            .timeout(Duration::from_secs(10))
            .send()
            .unwrap()
            .status()
            .is_success()
    );
}

#[test]
fn plain_http_off_loopback_is_refused_with_the_ways_out() {
    let desk = Desk::new();
    desk.run(&["serve", "--listen", "0.0.0.0:0"]).expect(
        2,
        &[
            "0.0.0.0:0 without TLS",
            "--tls-cert FILE",
            "tls_terminated_by_proxy = true",
        ],
    );
    desk.run(&["serve", "--url", "http://packages.example.org"])
        .expect(2, &["plain HTTP", "https://"]);
    assert!(!desk.data().exists());
}

#[test]
fn a_missing_certificate_file_and_half_a_pair_are_named() {
    let desk = Desk::new();
    desk.run(&["serve", "--tls-cert", "no.crt", "--tls-key", "no.key"])
        .expect(1, &["no.crt", "there is no such file"]);
    desk.run(&["serve", "--tls-cert", "no.crt"])
        .expect(2, &["Give tls.key (--tls-key) too"]);
}
