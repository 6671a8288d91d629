//! Several processes, restarts and kills: what was exchanged once stays exchanged, and what was acknowledged works.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use countersign_testkit::http;
use countersign_testkit::issuer::{Document, Fault};
use countersign_testkit::postgres::PostgresServer;
use countersign_testkit::server::{self, Database};

use super::{REPOSITORY, Stage, WORKFLOW, mint_at, refused, release, token_of, try_mint_at};

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
        server::publish(&second.upload_url(), &package, &token, &[]).unwrap()
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

/// What jobs saw of their exchanges before a kill: the identity token, and the minted one if there was an answer.
type Exchanges = Mutex<Vec<(String, Option<String>)>>;

fn exchange_until_killed(
    stage: &mut Stage,
    run: Duration,
    answered: bool,
) -> Vec<(String, Option<String>)> {
    let exchanges = Exchanges::default();
    let (company, audience) = (stage.company.clone(), stage.audience.clone());
    let (url, claims) = (stage.server.url(), stage.claims());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let identity = company.token(&audience, &claims).unwrap();
                    let answer = try_mint_at(&url, &identity);
                    let token = match answer {
                        Ok(answer) if answer.status == 200 => Some(token_of(answer)),
                        Ok(answer) => panic!("{} {}", answer.status, answer.text()),
                        Err(_) => None,
                    };
                    let killed = token.is_none();
                    exchanges.lock().unwrap().push((identity, token));
                    if killed {
                        return;
                    }
                }
            });
        }
        std::thread::sleep(run);
        // The last kill comes after an answer, however slow the machine is.
        let begin = Instant::now();
        while answered && exchanges.lock().unwrap().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(60), "no answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        stage.server.kill().unwrap();
    });
    exchanges.into_inner().unwrap()
}

#[test]
fn an_exchange_that_a_kill_cuts_off_happened_or_did_not_and_what_was_answered_did() {
    let mut stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let (mut answered, mut cut_off) = (0, 0);
    for round in 0..6 {
        let run = Duration::from_millis(150 + 70 * round);
        let exchanges = exchange_until_killed(&mut stage, run, round == 5);
        stage.server.serve().unwrap();
        for (identity, token) in exchanges {
            let again = stage.mint(&identity);
            match token {
                Some(token) => {
                    answered += 1;
                    refused(&again, "oidc-replayed");
                    let authorization = format!("Bearer {token}");
                    let url = format!("{}/api/v1/token", stage.server.url());
                    let headers = [("Authorization", authorization.as_str())];
                    let ended = http::request("DELETE", &url, &headers, &[]).unwrap();
                    assert_eq!(ended.status, 204, "{}", ended.text());
                }
                None => {
                    cut_off += 1;
                    if again.status == 200 {
                        refused(&stage.mint(&identity), "oidc-replayed");
                    } else {
                        refused(&again, "oidc-replayed");
                    }
                }
            }
        }
    }
    assert!(answered > 0 && cut_off > 0, "{answered} {cut_off}");
    stage.server.run(&["doctor"]).unwrap();
}

#[test]
fn of_a_pending_publisher_and_a_person_who_take_one_name_together_one_gets_it() {
    let stage = Stage::on(Database::Postgres);
    let grace = stage.server.publisher("grace").unwrap();
    let second = stage.server.second().unwrap();
    for number in 0..8 {
        let project = format!("contended-{}", (b'a' + number) as char);
        let workflow = format!("release-{number}.yml");
        let mut registration = super::registration(&project);
        registration[9] = &workflow;
        let pending = [&registration[..], &["--pending-for", "ada"]].concat();
        stage.publisher(&pending);
        let claims = countersign_testkit::claims::github(REPOSITORY, &workflow);
        let identity = stage.identity(&claims);
        let package = release(&project, "1.0");
        let (minted, published) = std::thread::scope(|scope| {
            let minted = scope.spawn(|| stage.mint(&identity));
            let url = second.upload_url();
            let published = server::publish(&url, &package, &grace, &[]).unwrap();
            (minted.join().unwrap(), published)
        });
        match (minted.status, published.status) {
            (200, 403) => {}
            (422, 200) => _ = refused(&minted, "pending-publisher-lost"),
            other => panic!("{other:?}: {} / {}", minted.text(), published.text()),
        }
        // Nobody else's afterwards either.
        let owned_by_grace = server::publish(
            &stage.server.upload_url(),
            &release(&project, "1.1"),
            &grace,
            &[],
        )
        .unwrap();
        assert_eq!(owned_by_grace.status, published.status);
    }
    stage.server.run(&["doctor"]).unwrap();
}

#[test]
fn while_the_database_is_away_nothing_is_used_up() {
    let mut postgres = PostgresServer::start().unwrap();
    let stage = Stage::at(postgres.fresh_database().unwrap());
    stage.project_with_publisher("sample", &[]);
    stage.minted();
    let identity = stage.identity(&stage.claims());
    postgres.stop_at_once().unwrap();
    let answer = stage.mint(&identity);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    let body = answer.json().unwrap();
    assert!(body["errors"][0]["code"].is_string(), "{body}");
    postgres.start_again().unwrap();
    let begin = Instant::now();
    loop {
        let answer = stage.mint(&identity);
        if answer.status == 200 {
            break;
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "it does not recover"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    refused(&stage.mint(&identity), "oidc-replayed");
}

#[test]
fn an_issuer_that_stands_still_holds_up_only_its_own_jobs() {
    let mut stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let slow = stage.oidc.issuer("slow").unwrap();
    stage.admit("slow", &slow);
    stage.server.stop().unwrap();
    stage.server.serve().unwrap();
    slow.fail(Document::Keys, Fault::Slow(Duration::from_secs(60)))
        .unwrap();
    let before = slow.requests(Document::Keys);
    let claims = countersign_testkit::claims::github(REPOSITORY, WORKFLOW);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let identity = slow.token(&stage.audience, &claims).unwrap();
                let url = stage.server.url();
                scope.spawn(move || mint_at(&url, &identity))
            })
            .collect();
        while slow.requests(Document::Keys) == before {
            std::thread::sleep(Duration::from_millis(10));
        }
        stage.minted();
        assert!(waiting.iter().all(|thread| !thread.is_finished()));
        for thread in waiting {
            let answer = thread.join().unwrap();
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(answer.header("retry-after").is_some());
        }
    });
    assert_eq!(slow.requests(Document::Keys) - before, 1);
}
