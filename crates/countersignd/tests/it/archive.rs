use countersign_testkit::http::get;
use countersign_testkit::packages::Wheel;

use crate::machine::Desk;

/// A registry with one package.
fn furnished() -> Desk {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    std::fs::create_dir_all(desk.path("dist")).unwrap();
    Wheel::new("thing", "1.0")
        .build()
        .write_to(&desk.path("dist"))
        .unwrap();
    desk.run(&["import", "dist"]).expect(0, &["1 published"]);
    desk
}

#[test]
fn a_backup_with_keys_comes_back_elsewhere_with_every_file() {
    let desk = furnished();
    let running = desk.serve(&[]);
    let file = desk.path("backup");
    let file = file.to_str().unwrap();
    desk.run(&["backup", "--with-keys", file])
        .expect(0, &["1 files", "whoever can read it can sign"]);
    drop(running);
    desk.run(&["backup", file]).expect(4, &[file]);

    let other = Desk::new();
    other
        .run(&["restore", file])
        .expect(0, &["each verified", "Next: countersignd doctor --deep"]);
    other
        .run(&["doctor", "--deep"])
        .expect(0, &["✓ artifacts: 1 files"]);
    let server = other.serve(&[]);
    get(&format!("{}/pypi/simple/thing/", server.site()))
        .unwrap()
        .expect_status(200)
        .unwrap();
    other.run(&["restore", file]).expect(4, &[]);
}

#[test]
fn a_backup_leaves_the_keys_out_unless_told() {
    let desk = furnished();
    let file = desk.path("backup");
    desk.run(&["backup", file.to_str().unwrap()])
        .expect(0, &["signing keys are not in it"]);
    let bytes = std::fs::read(&file).unwrap();
    for key in std::fs::read_dir(desk.data().join("keys")).unwrap() {
        let secret = std::fs::read(key.unwrap().path()).unwrap();
        let tail = &secret[secret.len() - 31..secret.len() - 1];
        assert!(!bytes.windows(tail.len()).any(|window| window == tail));
    }
}

#[test]
fn a_damaged_backup_is_a_failed_verification_and_nothing_to_restore_is_usage() {
    let desk = furnished();
    let file = desk.path("backup");
    desk.run(&["backup", file.to_str().unwrap()]).expect(0, &[]);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let other = Desk::new();
    other
        .run(&["restore", file.to_str().unwrap()])
        .expect(3, &[]);
    other.run(&["restore"]).expect(2, &["--replay"]);
}

#[test]
fn a_restore_that_nothing_proves_to_be_the_newest_begins_a_new_log_and_serves_the_old_files() {
    let desk = furnished();
    let file = desk.path("backup");
    desk.run(&["backup", file.to_str().unwrap()]).expect(0, &[]);
    let other = Desk::new();
    other.run(&["restore", file.to_str().unwrap()]).expect(
        0,
        &[
            "A new log begins",
            "is closed",
            "Tell whoever pinned its keys",
        ],
    );
    other.run(&["doctor", "--deep"]).expect(0, &[]);
    let server = other.serve(&[]);
    get(&format!("{}/pypi/simple/thing/", server.site()))
        .unwrap()
        .expect_status(200)
        .unwrap();
}
