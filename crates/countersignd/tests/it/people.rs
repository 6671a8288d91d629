//! Operators' commands about people.

use countersign_testkit::packages::Wheel;

use crate::machine::Desk;

/// A registry with one account, `ada`, who owns the project `thing`.
fn house() -> Desk {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.run(&[
        "admin",
        "user",
        "create",
        "ada",
        "--email",
        "ada@example.org",
    ])
    .expect(0, &[]);
    let dist = desk.path("dist");
    std::fs::create_dir_all(&dist).unwrap();
    Wheel::new("thing", "1.0").build().write_to(&dist).unwrap();
    desk.run(&["import", "dist", "--owner", "ada"])
        .expect(0, &[]);
    desk
}

/// How many leaves of the log have this word as their kind.
fn leaves(desk: &Desk, kind: &str) -> usize {
    let server = desk.serve(&[]);
    countersign_testkit::fsck::rest(&format!("{}/log/1", server.site())).unwrap();
    let size = countersign_testkit::http::get(&format!("{}/log/1/checkpoint", server.site()))
        .unwrap()
        .text();
    let size: usize = size.lines().nth(1).unwrap().parse().unwrap();
    let bundle = countersign_testkit::http::get(&format!(
        "{}/log/1/tile/entries/000.p/{size}",
        server.site()
    ))
    .unwrap();
    let bundle = String::from_utf8_lossy(&bundle.body).into_owned();
    bundle.matches(kind).count()
}

#[test]
fn a_user_is_shown_whole_and_never_with_a_secret() {
    let desk = house();
    let token = desk
        .run(&["admin", "token", "create", "--user", "ada"])
        .expect(0, &[]);
    desk.run(&["admin", "user", "show", "Ada"]).expect(
        0,
        &[
            "ada (user)",
            "ada@example.org (not proved)",
            "password        none",
            "tokens          1",
            "pypi:thing (owner)",
            "lacks",
        ],
    );
    let shown = desk
        .run(&["--json", "admin", "user", "show", "ada"])
        .expect(0, &[]);
    assert!(!shown.out.contains(token.out.trim()));
    assert_eq!(shown.json()["projects"][0][0], "pypi:thing");
    desk.run(&["admin", "user", "show", "nobody"])
        .expect(4, &["There is no user nobody here", "admin user create"]);
}

#[test]
fn a_frozen_account_can_do_nothing_until_it_is_open_again() {
    let desk = house();
    let token = desk
        .run(&["admin", "token", "create", "--user", "ada"])
        .expect(0, &[])
        .out;
    let me = |desk: &Desk| {
        let server = desk.serve(&[]);
        let header = format!("Bearer {}", token.trim());
        countersign_testkit::http::request(
            "GET",
            &format!("{}/api/v1/whoami", server.site()),
            &[("Authorization", header.as_str())],
            b"",
        )
        .unwrap()
        .status
    };
    let before = me(&desk);
    assert_eq!(before, 200);
    desk.run(&["admin", "user", "freeze", "ada"])
        .expect(0, &["ada is frozen"]);
    desk.run(&["admin", "user", "list"])
        .expect(0, &["frozen since"]);
    assert!(
        matches!(me(&desk), 401 | 403),
        "the token of a frozen account is refused"
    );
    desk.run(&["admin", "user", "unfreeze", "ada"])
        .expect(0, &["open again"]);
    assert_eq!(me(&desk), before);
    desk.run(&["admin", "user", "freeze", "nobody"])
        .expect(4, &["nobody"]);
}

#[test]
fn a_new_enrolment_link_ends_the_one_before() {
    let desk = house();
    let link = |ran: &str| {
        ran.lines()
            .find_map(|line| line.strip_prefix("Enrolment link, good once: "))
            .unwrap()
            .to_owned()
    };
    let first = link(
        &desk
            .run(&["admin", "user", "create", "bob"])
            .expect(0, &[])
            .out,
    );
    let second = link(
        &desk
            .run(&["admin", "user", "enrol", "bob"])
            .expect(0, &[])
            .out,
    );
    assert_ne!(first, second);
    let server = desk.serve(&[]);
    let status = |link: &str| {
        let path = link.split_once("//").unwrap().1.split_once('/').unwrap().1;
        countersign_testkit::http::get(&format!("{}/{path}", server.site()))
            .unwrap()
            .status
    };
    assert_eq!(status(&second), 200);
    assert_ne!(status(&first), 200, "the older link has ended");
    desk.run(&["admin", "user", "enrol", "nobody"])
        .expect(4, &["nobody"]);
}

#[test]
fn a_recovery_link_is_mailed_only_where_an_address_counts() {
    let desk = house();
    desk.run(&["admin", "user", "recover", "ada"])
        .expect(4, &["proved address", "admin user enrol"]);
    desk.run(&["admin", "recovery", "list"])
        .expect(0, &["USER", "PROOFS", "OPERATORS"]);
    desk.run(&["admin", "recovery", "approve", "ada"])
        .expect(4, &["no such recovery"]);
    desk.run(&["admin", "recovery", "refuse", "ada", "--reason", "not them"])
        .expect(4, &["no such recovery"]);
    desk.run(&["admin", "recovery", "refuse", "ada", "--reason", " "])
        .expect(4, &["Say in one line"]);
}

#[test]
fn sessions_are_ended_by_user_name() {
    let desk = house();
    desk.run(&["admin", "sessions", "revoke", "--user", "ada"])
        .expect(0, &["Ended 0 sessions of ada"]);
    desk.run(&["admin", "sessions", "revoke", "--user", "nobody"])
        .expect(4, &["nobody"]);
}

#[test]
fn the_rule_on_factors_goes_up_at_will_and_down_only_with_a_reason_that_the_log_shows() {
    let desk = house();
    desk.run(&["admin", "policy", "factors", "show"]).expect(
        0,
        &[
            "need a second factor",
            "a passkey or security key",
            "30 days",
        ],
    );
    desk.run(&[
        "admin",
        "policy",
        "factors",
        "raise",
        "--maintainers",
        "phishproof",
    ])
    .expect(0, &["a role on a project need a passkey"]);
    desk.run(&[
        "admin",
        "policy",
        "factors",
        "raise",
        "--maintainers",
        "nothing",
    ])
    .expect(4, &["goes upward only", "give a reason"]);
    desk.run(&[
        "admin",
        "policy",
        "factors",
        "lower",
        "--maintainers",
        "second",
    ])
    .expect(2, &["--reason"]);
    desk.run(&[
        "admin",
        "policy",
        "factors",
        "lower",
        "--maintainers",
        "second",
        "--reason",
        "",
    ])
    .expect(2, &["--reason is empty"]);
    desk.run(&["admin", "policy", "factors", "raise"])
        .expect(2, &["--maintainers"]);
    desk.run(&[
        "admin",
        "policy",
        "factors",
        "raise",
        "--critical",
        "retina",
    ])
    .expect(2, &["nothing, second or phishproof"]);
    assert_eq!(leaves(&desk, "operator-override"), 0);
    let lowered = desk
        .run(&[
            "--json",
            "admin",
            "policy",
            "factors",
            "lower",
            "--maintainers",
            "second",
            "--grace-days",
            "60",
            "--reason",
            "a month was not enough",
        ])
        .expect(0, &[])
        .json();
    assert_eq!(lowered["maintainers"], "second");
    assert_eq!(lowered["grace_days"], 60);
    assert_eq!(leaves(&desk, "operator-override"), 1);
}

#[test]
fn critical_projects_are_marked_listed_and_unmarked_and_only_the_last_is_an_override() {
    let desk = house();
    desk.run(&["admin", "critical", "mark", "pypi:Thing"])
        .expect(0, &["is critical now"]);
    desk.run(&["admin", "critical", "list"])
        .expect(0, &["pypi:thing", "marked"]);
    assert_eq!(leaves(&desk, "operator-override"), 0);
    desk.run(&["admin", "critical", "unmark", "thing"])
        .expect(0, &["is not critical"]);
    let listed = desk
        .run(&["--json", "admin", "critical", "list"])
        .expect(0, &[])
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 0);
    assert_eq!(leaves(&desk, "operator-override"), 1);
    desk.run(&["admin", "critical", "mark", "nothing-such"])
        .expect(4, &["There is no project"]);
}

#[test]
fn a_list_of_breached_passwords_is_imported_and_counts_from_then_on() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.run(&["admin", "breached", "status"])
        .expect(0, &["The service at https://"]);
    let off = desk.write(
        "data/countersign.toml",
        "[sign_in]\nbreach_service = \"off\"\n",
    );
    desk.run(&["admin", "breached", "status"])
        .expect(0, &["a few built-in words only"]);
    desk.run(&["doctor"])
        .expect(1, &["! breached-passwords", "admin breached import"]);
    // SHA-1 of "password" and of "letmein", sorted.
    let list = desk.write(
        "list.txt",
        "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:9545824\nB7A875FC1EA228B9061041B7CEC4BD3C52AB3CE3:1\n",
    );
    desk.run(&["admin", "breached", "import", list.to_str().unwrap()])
        .expect(0, &["Imported 2 breached passwords"]);
    desk.run(&["admin", "breached", "status"])
        .expect(0, &["has 2 passwords"]);
    desk.run(&["doctor"])
        .expect(0, &["✓ breached-passwords: 2 passwords"]);
    let wrong = desk.write("wrong.txt", "password\n");
    desk.run(&["admin", "breached", "import", wrong.to_str().unwrap()])
        .expect(4, &["Line 1", "SHA-1"]);
    desk.run(&["admin", "breached", "status"])
        .expect(0, &["has 2 passwords"]);
    desk.run(&["admin", "breached", "import", "nothing-there"])
        .expect(4, &["can not be imported"]);
    std::fs::write(desk.data().join("breached"), b"torn").unwrap();
    desk.run(&["doctor"])
        .expect(1, &["✗ breached-passwords", "no whole number"]);
    drop(off);
}

#[test]
fn doctor_tells_that_mail_is_lacking_and_that_a_new_name_ends_all_passkeys() {
    let desk = house();
    desk.run(&["doctor"])
        .expect(0, &["✓ mail: not set up", "✓ passkeys: none were made"]);
    desk.write(
        "data/countersign.toml",
        "url = \"https://packages.example.org\"\ntls_terminated_by_proxy = true\n",
    );
    desk.run(&["doctor"])
        .expect(1, &["! mail: Mail is not set up", "mail.server"]);
    desk.write(
        "data/countersign.toml",
        "url = \"https://packages.example.org\"\ntls_terminated_by_proxy = true\n[mail]\nserver = \"file:mails\"\nfrom = \"no-reply@example.org\"\n",
    );
    // A question for a passkey fixes for which name they are made.
    {
        let server = desk.serve(&[]);
        let page = countersign_testkit::http::get(&format!("{}/sign-in", server.site())).unwrap();
        let cookie = page
            .header("set-cookie")
            .unwrap()
            .split(';')
            .next()
            .unwrap();
        let text = page.text();
        let (_, rest) = text.split_once("name=\"form\" value=\"").unwrap();
        let body = format!("form={}", rest.split('"').next().unwrap());
        let asked = countersign_testkit::http::request(
            "POST",
            &format!("{}/sign-in/passkey/options", server.site()),
            &[
                ("Cookie", cookie),
                ("Origin", "https://packages.example.org"),
                ("Content-Type", "application/x-www-form-urlencoded"),
            ],
            body.as_bytes(),
        )
        .unwrap();
        assert_eq!(asked.status, 200, "{}", asked.text());
    }
    desk.run(&["doctor"]).expect(
        1,
        &[
            "✓ passkeys: they belong to packages.example.org",
            "! security-contact: No security_contact is configured.",
            "! policies: Never reviewed: vulnerability-disclosure, acceptable-use",
        ],
    );
    desk.write(
        "data/countersign.toml",
        "url = \"https://other.example.org\"\ntls_terminated_by_proxy = true\n[mail]\nserver = \"file:mails\"\nfrom = \"no-reply@example.org\"\n",
    );
    desk.run(&["doctor"]).expect(
        1,
        &[
            "✗ passkeys: They were made for packages.example.org",
            "under the former name",
        ],
    );
}

#[test]
fn mail_says_what_waits() {
    let desk = house();
    desk.run(&["admin", "mail", "status"])
        .expect(0, &["Mail is not set up", "mails wait"]);
    let state = desk
        .run(&["--json", "admin", "mail", "status"])
        .expect(0, &[])
        .json();
    assert_eq!(state["set_up"], false);
}

#[test]
fn organisations_and_namespaces_are_listed_and_reserved() {
    let desk = house();
    desk.run(&["admin", "organisation", "list"])
        .expect(0, &["NAME", "CALLED"]);
    desk.run(&["admin", "organisation", "show", "acme"])
        .expect(4, &["acme"]);
    desk.run(&["admin", "namespace", "list"])
        .expect(0, &["PREFIX"]);
    desk.run(&[
        "admin",
        "namespace",
        "reserve",
        "acme",
        "--organisation",
        "acme",
    ])
    .expect(4, &["acme"]);
    desk.run(&["admin", "namespace", "free", "not a name!"])
        .expect(4, &["not a name!"]);
}

#[test]
fn a_sign_in_provider_may_have_a_certificate_authority_of_its_own() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.write("data/company.secret", "s3cret\n");
    let line = |ca: &str| {
        format!(
            "[sign_in]\nproviders = [\"company https://login.example.org client company.secret mfa=two-factor {ca}\"]\n"
        )
    };
    desk.write("data/ca.pem", "no certificate\n");
    desk.write("data/countersign.toml", &line("ca=ca.pem"));
    desk.run(&["config", "check"])
        .expect(2, &["company", "no certificate in PEM"]);
    desk.write("data/countersign.toml", &line("ca=none.pem"));
    desk.run(&["config", "check"])
        .expect(2, &["none.pem", "PEM"]);
    desk.write("data/countersign.toml", &line("ca="));
    desk.run(&["config", "check"]).expect(2, &["ca="]);
    let authority = countersign_testkit::authority::Authority::of_this_process().unwrap();
    desk.write("data/ca.pem", authority.pem());
    desk.write("data/countersign.toml", &line("ca=ca.pem"));
    desk.run(&["config", "check"]).expect(0, &["is good"]);
    desk.run(&["config", "sample"]).expect(0, &["ca=FILE"]);
}
