use countersign_testkit::http::get;
use countersign_testkit::packages::{Sdist, Wheel};

use crate::machine::Desk;

#[test]
fn a_folder_is_published_and_each_refusal_is_told_with_its_reason() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.run(&["admin", "user", "create", "ada"]).expect(0, &[]);
    let dist = desk.path("dist/more");
    std::fs::create_dir_all(&dist).unwrap();
    Wheel::new("first-thing", "1.0")
        .build()
        .write_to(&desk.path("dist"))
        .unwrap();
    Sdist::new("first-thing", "1.0")
        .build()
        .write_to(&dist)
        .unwrap();
    Wheel::new("second-thing", "2.0")
        .build()
        .write_to(&dist)
        .unwrap();
    std::fs::write(desk.path("dist/broken-1.0-py3-none-any.whl"), "not a wheel").unwrap();
    std::fs::write(desk.path("dist/notes.txt"), "not a distribution").unwrap();

    let ran = desk.run(&["import", "dist", "--owner", "ada"]).expect(
        4,
        &[
            "✗ broken-1.0-py3-none-any.whl",
            "3 published, 0 there already, 1 refused",
            "1 of 4 files",
        ],
    );
    assert!(!ran.out.contains("notes.txt"));
    std::fs::remove_file(desk.path("dist/broken-1.0-py3-none-any.whl")).unwrap();
    let again = desk
        .run(&["--json", "import", "dist", "--owner", "ada"])
        .expect(0, &[])
        .json();
    assert_eq!(
        (&again["published"], &again["repeated"]),
        (&0.into(), &3.into()),
        "{again}"
    );

    let server = desk.serve(&[]);
    for project in ["first-thing", "second-thing"] {
        get(&format!("{}/pypi/simple/{project}/", server.site()))
            .unwrap()
            .expect_status(200)
            .unwrap();
    }
    let detail = get(&format!(
        "{}/api/v1/projects/pypi/first-thing",
        server.site()
    ))
    .unwrap()
    .expect_status(200)
    .unwrap()
    .text();
    assert!(detail.contains("ada"), "{detail}");
}

#[test]
fn an_unknown_owner_and_an_empty_folder_are_refused_before_anything_happens() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    std::fs::create_dir_all(desk.path("dist")).unwrap();
    desk.run(&["import", "dist"])
        .expect(2, &["holds no package", "*.crate"]);
    desk.run(&["import", "nowhere"]).expect(2, &["nowhere"]);
    Wheel::new("thing", "1.0")
        .build()
        .write_to(&desk.path("dist"))
        .unwrap();
    desk.run(&["import", "dist", "--owner", "nobody"])
        .expect(4, &["\"nobody\"", "admin user create nobody"]);
}

#[test]
fn what_an_operator_does_at_the_command_line_reaches_the_log_and_the_index() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.run(&["admin", "user", "create", "ada"]).expect(0, &[]);
    let dist = desk.path("dist");
    std::fs::create_dir_all(&dist).unwrap();
    Wheel::new("thing", "1.0").build().write_to(&dist).unwrap();
    desk.run(&["import", "dist"]).expect(0, &["1 published"]);

    let server = desk.serve(&[]);
    let index = || {
        get(&format!("{}/pypi/simple/thing/", server.site()))
            .unwrap()
            .text()
    };
    desk.run(&[
        "admin",
        "project",
        "yank",
        "thing",
        "1.0",
        "--reason",
        "broken on Tuesdays",
    ])
    .expect(0, &["Yanked thing 1.0"]);
    wait_until(
        || index().contains("broken on Tuesdays"),
        "the yank is served",
    );
    desk.run(&["admin", "project", "unyank", "thing", "1.0"])
        .expect(0, &["Took back"]);
    wait_until(
        || !index().contains("broken on Tuesdays"),
        "the yank is gone",
    );
    desk.run(&["admin", "project", "role", "thing", "ada", "maintainer"])
        .expect(0, &["ada is maintainer of thing"]);
    desk.run(&[
        "admin",
        "quarantine",
        "add",
        "thing",
        "--reason",
        "looked at",
    ])
    .expect(0, &["Withheld thing"]);
    wait_until(
        || !index().contains("thing-1.0-py3-none-any.whl"),
        "the quarantine is served",
    );
    desk.run(&["admin", "quarantine", "release", "thing"])
        .expect(0, &["served again"]);
    wait_until(
        || index().contains("thing-1.0-py3-none-any.whl"),
        "the file is back",
    );
    desk.run(&["admin", "project", "delete", "thing", "1.0"])
        .expect(0, &["stay reserved for ever"]);
    wait_until(
        || !index().contains("thing-1.0-py3-none-any.whl"),
        "the deletion is served",
    );
    desk.run(&["import", "dist"]).expect(4, &["0 published"]);
    desk.run(&["admin", "project", "yank", "nothing", "1.0"])
        .expect(4, &["nothing"]);
}

#[test]
fn an_import_beside_a_running_server_is_served_by_it() {
    let desk = Desk::new();
    let server = desk.serve(&[]);
    std::fs::create_dir_all(desk.path("dist")).unwrap();
    for number in 0..12 {
        Wheel::new(&format!("thing-{number}"), "1.0")
            .build()
            .write_to(&desk.path("dist"))
            .unwrap();
    }
    desk.run(&["import", "dist", "--parallel", "6"])
        .expect(0, &["12 published"]);
    for number in 0..12 {
        let page = format!("{}/pypi/simple/thing-{number}/", server.site());
        wait_until(|| get(&page).unwrap().status == 200, "the import is served");
    }
    desk.run(&["doctor"]).expect(0, &["✓ log", "✓ tiles"]);
}

#[track_caller]
fn wait_until(holds: impl Fn() -> bool, what: &str) {
    let begin = std::time::Instant::now();
    while !holds() {
        assert!(
            begin.elapsed() < std::time::Duration::from_secs(10),
            "{what}: not within 10 seconds"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
