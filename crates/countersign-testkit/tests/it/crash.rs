//! The short form of the crash test; `cargo xtask crash` runs the long one.

use countersign_testkit::crash::{CrashPlan, run};
use countersign_testkit::server::Database;

fn survives(database: Database, kills: u32) {
    let report = run(&CrashPlan::new(database, kills), &mut |line| {
        eprintln!("{line}")
    })
    .unwrap();
    eprintln!("{report}");
    assert!(report.kills >= kills);
    assert!(
        report.acknowledged > 0,
        "no publish was ever acknowledged: the test has tested nothing"
    );
}

#[test]
fn what_was_acknowledged_survives_kills_on_sqlite() {
    survives(Database::Sqlite, 8);
}

#[test]
fn what_was_acknowledged_survives_kills_on_postgres() {
    survives(Database::Postgres, 3);
}
