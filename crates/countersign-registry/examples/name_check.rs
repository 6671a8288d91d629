//! How long it takes to say what would become of a name, beside a million protected names and a million projects.
//!
//! ```sh
//! cargo run --release --locked -p countersign-registry --example name_check [NAMES]
//! ```
//!
//! First the look-alikes alone, in memory; then the whole decision, in a transaction of SQLite, as a publish makes it.
// What is measured here is time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_formats::Ecosystem;
use countersign_registry::lookalikes::{Corpus, Tier};
use countersign_registry::model::Actor;
use countersign_registry::{
    Blobs, LogKeys, NameVerdict, Outside, OutsideAnswer, OutsideError, OutsideRequest, Registry,
    Seams, Settings, Store, SystemClock, SystemRandom,
};
use futures::future::BoxFuture;

/// Questions of each kind.
const QUESTIONS: usize = 2_000;

struct Nowhere;

impl Outside for Nowhere {
    fn get<'a>(
        &'a self,
        _request: OutsideRequest<'a>,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        Box::pin(std::future::ready(Err(OutsideError::Unreachable(
            "nobody is asked here".to_owned(),
        ))))
    }

    fn post<'a>(
        &'a self,
        request: OutsideRequest<'a>,
        _form: &'a str,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        self.get(request)
    }
}

/// The name of a number: two words of syllables, as long as names are.
fn name(number: usize) -> String {
    const PIECES: [&str; 32] = [
        "ba", "co", "di", "fu", "ge", "ha", "jo", "ki", "lu", "me", "na", "po", "ri", "su", "te",
        "va", "wo", "xi", "yu", "ze", "tar", "net", "log", "fast", "http", "json", "data", "test",
        "auth", "async", "cloud", "parse",
    ];
    let (mut rest, mut text) = (
        number.wrapping_mul(2_654_435_761) % (1 << 30),
        String::new(),
    );
    for at in 0..6 {
        if at == 3 {
            text.push('-');
        }
        text.push_str(PIECES[rest % 32]);
        rest /= 32;
    }
    text
}

/// What somebody who mistypes a protected name, or invents one, would write.
fn asked(number: usize, all: usize) -> String {
    let mut text = name(number * 7_919 % all);
    let at = number % (text.len() - 2);
    match number % 5 {
        0 => {
            text.remove(at);
        }
        1 => text.insert(at, 'x'),
        2 => text.push_str("-cli"),
        3 => text = name(all + number),
        _ => {
            let other = text.remove(at);
            text.insert(at + 1, other);
        }
    }
    text
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 1_000];
    println!(
        "{what}: median {:?}, 99 % {:?}, 99.9 % {:?}, longest {:?}",
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
}

#[tokio::main]
async fn main() {
    let all: usize = std::env::args()
        .nth(1)
        .map_or(1_000_000, |text| text.parse().unwrap());
    let began = Instant::now();
    let corpus = Corpus::new(
        Ecosystem::Pypi,
        (0..all).map(|number| (name(number), Tier::Hold)),
    );
    println!("{} names taken up in {:?}", corpus.len(), began.elapsed());
    let (mut times, mut hits) = (Vec::new(), 0);
    for number in 0..QUESTIONS {
        let text = asked(number, all);
        let began = Instant::now();
        hits += usize::from(!corpus.lookalikes(&text).is_empty());
        times.push(began.elapsed());
    }
    told("look-alikes alone", times);
    println!("{hits} of {QUESTIONS} look like a protected name");
    drop(corpus);

    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("countersign.db");
    let settings = Settings::new(
        "http://localhost:8417".parse().unwrap(),
        folder.path().join("spool"),
    );
    let blobs = Blobs::local(&folder.path().join("blobs"), false).unwrap();
    let keys = LogKeys::generate("localhost:8417/log/1", &SystemRandom).unwrap();
    let seams = Seams {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        outside: Arc::new(Nowhere),
        post: None,
        domains: None,
    };
    let url = format!("sqlite://{}", database.display());
    let store = Store::connect(&url).await.unwrap();
    Registry::create(&settings, &store, &blobs, &keys, &seams)
        .await
        .unwrap();
    // Projects of other names, written past the registry: publishing a million files would measure something else.
    let began = Instant::now();
    let mut file = rusqlite::Connection::open(&database).unwrap();
    let rows = file.transaction().unwrap();
    {
        let mut insert = rows
            .prepare(
                "INSERT INTO projects (id, ecosystem, name, key, skeleton, status, status_at, trust_level, trust_at, summary, latest, \
                 serial, sequence, created_at, updated_at) VALUES (?1, 'pypi', ?2, ?2, replace(?2, '-', ''), 'active', 0, 'none', 0, '', '', 0, 0, 0, 0)",
            )
            .unwrap();
        for number in 0..all {
            let key = format!("p-{}", name(number));
            insert
                .execute((format!("{number:012}"), key))
                .map(drop)
                .unwrap_or_default();
        }
    }
    rows.commit().unwrap();
    drop(file);
    println!("{all} projects written in {:?}", began.elapsed());
    let registry = Registry::open(settings, store, blobs, keys, seams)
        .await
        .unwrap();
    let list: String = (0..all).map(|number| name(number) + "\n").collect();
    let (operator, began) = (Actor::operator(), Instant::now());
    let count = registry
        .import_names(
            &operator,
            Ecosystem::Pypi,
            "top",
            Tier::Hold,
            list.into_bytes(),
        )
        .await
        .unwrap();
    println!("a list of {count} names imported in {:?}", began.elapsed());
    let began = Instant::now();
    registry
        .check_name(&operator, Ecosystem::Pypi, "anything-else")
        .await
        .unwrap();
    println!(
        "the first question, which takes the list up: {:?}",
        began.elapsed()
    );
    let (mut times, mut held) = (Vec::new(), 0);
    for number in 0..QUESTIONS {
        let text = asked(number, all);
        let began = Instant::now();
        let opinion = registry
            .check_name(&operator, Ecosystem::Pypi, &text)
            .await
            .unwrap();
        times.push(began.elapsed());
        held += usize::from(opinion.verdict == NameVerdict::Held);
    }
    told("the whole decision", times);
    println!("{held} of {QUESTIONS} would be held");
}
