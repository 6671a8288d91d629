//! `admin names …`: what would become of a name, and what a list must look like.

use crate::machine::Desk;

#[test]
fn names_are_checked_protected_prohibited_and_let_through() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.run(&["admin", "names", "list"])
        .expect(0, &["There is no list"]);
    desk.run(&["admin", "names", "missing"])
        .expect(0, &["Nobody asked"]);
    desk.write("top.txt", "requests\nnumpy 7\n");
    let import = |file: &str, more: &[&str]| {
        let mut command = vec!["admin", "names", "import", file, "--ecosystem", "pypi"];
        command.extend(more);
        desk.run(&command)
    };
    import("top.txt", &[]).expect(0, &["2 names of pypi"]);
    let told = desk
        .run(&["--json", "admin", "names", "check", "reqeusts"])
        .expect(0, &[])
        .json();
    assert_eq!(
        (&told["verdict"], &told["reasons"][0]["other"]),
        (&"held".into(), &"requests".into())
    );
    // A line that is wrong is named, and the list that was there stays.
    desk.write("bad.txt", "requests\n\nno/name\n");
    import("bad.txt", &[]).expect(4, &["Line 3", "nothing was imported"]);
    import("none.txt", &[]).expect(2, &["none.txt", "can not be read"]);
    import("top.txt", &["--tier", "much"]).expect(2, &["flag, hold or refuse"]);
    import("top.txt", &["--list", "no list"]).expect(4, &["no list"]);
    desk.run(&["admin", "names", "check", "requestss"])
        .expect(0, &["would be held"]);
    let long = "a".repeat(10_000);
    let ran = desk
        .run(&["admin", "names", "check", &long])
        .expect(0, &["would be refused", "name-too-long"]);
    assert!(ran.out.len() < 1_000, "{}", ran.out);
    desk.run(&["admin", "names", "check", "npm:aux"])
        .expect(0, &["name-reserved", "Windows"]);
    desk.run(&["admin", "names", "check", "reque\u{455}ts"])
        .expect(0, &["name-invalid"]);
    desk.run(&["admin", "names", "allow", "reqeusts", "requests"])
        .expect(2, &["--reason"]);
    desk.run(&[
        "admin", "names", "allow", "reqeusts", "requests", "--reason", "a fork",
    ])
    .expect(0, &["may stand beside requests"]);
    desk.run(&["admin", "names", "check", "reqeusts"])
        .expect(0, &["nothing speaks against it"]);
    desk.run(&[
        "admin",
        "names",
        "prohibit",
        "evil",
        "--reason",
        "it robs people",
    ])
    .expect(0, &["Nobody takes the name evil"]);
    desk.run(&["admin", "names", "check", "ev1l"])
        .expect(0, &["would be refused", "it robs people"]);
    desk.run(&["admin", "names", "list"]).expect(
        0,
        &[
            "pypi:top",
            "2 names, hold",
            "evil",
            "reqeusts beside requests",
        ],
    );
    desk.run(&["admin", "names", "prohibit", "other", "--end"])
        .expect(4, &["other"]);
    desk.run(&[
        "admin",
        "names",
        "reserve",
        "acme",
        "--organisation",
        "acme",
    ])
    .expect(4, &["acme"]);
    desk.run(&["admin", "names", "forget", "top", "--ecosystem", "pypi"])
        .expect(0, &["forgotten"]);
    desk.run(&["admin", "names", "forget", "top", "--ecosystem", "pypi"])
        .expect(4, &["top"]);
}
