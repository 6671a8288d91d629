//! Several processes, restarts and kills: what was exchanged once stays exchanged, and what was acknowledged works.

use countersign_testkit::server::Database;

use super::{Stage, mint_at, refused, release, token_of};

const TOGETHER: usize = 20;

#[test]
fn of_twenty_concurrent_replays_at_two_processes_exactly_one_succeeds() {
    let stage = Stage::on(Database::Postgres);
    stage.project_with_publisher("sample", &[]);
    let second = stage.server.second().unwrap();
    for _ in 0..3 {
        let identity = stage.identity(&stage.claims());
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..TOGETHER)
                .map(|number| {
                    let (first, second, identity) = (stage.server.url(), second.url(), &identity);
                    scope.spawn(move || match number % 2 {
                        0 => mint_at(&first, identity),
                        _ => mint_at(second, identity),
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!(won.len(), 1);
        assert_eq!(lost.len(), TOGETHER - 1);
        for answer in &lost {
            refused(answer, "oidc-replayed");
        }
    }
}

#[test]
fn a_pending_publisher_used_at_two_processes_together_founds_one_project() {
    let stage = Stage::on(Database::Postgres);
    let second = stage.server.second().unwrap();
    for round in 0..3 {
        let project = format!("newcomer-{}", ["a", "b", "c"][round]);
        stage.register_pending(&project);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let (stage, second) = (&stage, second.url());
                    scope.spawn(move || {
                        let identity = stage.identity(&stage.claims());
                        match number % 2 {
                            0 => stage.mint(&identity),
                            _ => mint_at(second, &identity),
                        }
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        for answer in answers {
            let told = answer.json().unwrap();
            assert!(
                told["projects"].to_string().contains(&project),
                "{} {told}",
                answer.status
            );
            let version = stage
                .server
                .publish(&release(&project, "1.0"), &token_of(answer));
            version.unwrap().expect_status(200).unwrap();
        }
        let publishers = stage.publisher(&["list", &project]);
        assert_eq!(publishers.as_array().unwrap().len(), 1);
    }
    stage.server.run(&["doctor"]).unwrap();
}

#[test]
fn a_token_minted_by_one_process_is_good_and_revocable_at_the_other() {
    let stage = Stage::on(Database::Postgres);
    let id = stage.project_with_publisher("sample", &[]);
    let second = stage.server.second().unwrap();
    let token = stage.minted();
    let upload = |version: &str| {
        let package = release("sample", version);
        countersign_testkit::server::publish(&second.upload_url(), &package, &token, &[]).unwrap()
    };
    upload("1.1").expect_status(200).unwrap();
    stage
        .server
        .run(&["admin", "publisher", "remove", "sample", &id])
        .unwrap();
    let answer = upload("1.2");
    assert_eq!(answer.status, 403, "{}", answer.text());
}

fn survives(database: Database) {
    let mut stage = Stage::on(database);
    stage.project_with_publisher("sample", &[]);
    let mut exchanged = Vec::new();
    for version in ["1.1", "1.2", "1.3"] {
        let identity = stage.identity(&stage.claims());
        let token = token_of(stage.mint(&identity));
        // Right after the answer: what was acknowledged is there.
        stage.server.kill().unwrap();
        stage.server.serve().unwrap();
        stage
            .server
            .publish(&release("sample", version), &token)
            .unwrap()
            .expect_status(200)
            .unwrap();
        exchanged.push(identity);
        for identity in &exchanged {
            refused(&stage.mint(identity), "oidc-replayed");
        }
    }
    stage.server.stop().unwrap();
    stage.server.serve().unwrap();
    for identity in &exchanged {
        refused(&stage.mint(identity), "oidc-replayed");
    }
    stage.server.run(&["doctor"]).unwrap();
}

#[test]
fn minted_tokens_and_the_fence_against_replays_survive_sigkill_on_sqlite() {
    survives(Database::Sqlite);
}

#[test]
fn minted_tokens_and_the_fence_against_replays_survive_sigkill_on_postgres() {
    survives(Database::Postgres);
}
