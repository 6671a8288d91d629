//! The short form of the crash test; `cargo xtask crash` runs the long one.

use countersign_testkit::crash::{CrashPlan, run, run_staged};
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

fn staged_survives(database: Database, kills: u32) {
    let plan = CrashPlan {
        publishers: 3,
        longest_run: std::time::Duration::from_secs(2),
        ..CrashPlan::new(database, kills)
    };
    let report = run_staged(&plan, &mut |line| eprintln!("{line}")).unwrap();
    eprintln!("{report}");
    assert!(report.kills >= kills);
    assert!(
        report.approved > 0 && report.rejected > 0,
        "nothing was answered: the test has tested nothing"
    );
}

#[test]
fn what_was_staged_approved_or_rejected_stays_so_through_kills_on_sqlite() {
    staged_survives(Database::Sqlite, 8);
}

#[test]
fn what_was_staged_approved_or_rejected_stays_so_through_kills_on_postgres() {
    staged_survives(Database::Postgres, 4);
}
