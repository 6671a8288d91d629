//! Fills an instance on SQLite with public releases that were never published, ten a project, so that `countersignd advisories
//! affected` can be measured. The packages are those of `osv_scale`'s records.
//!
//!     countersignd --data DATA init
//!     cargo run --release -p countersign-formats --example osv_scale -- 250000 0 osv.zip
//!     cargo run --release -p countersign-registry --example advisory_scale -- DATA/countersign.db 1000000
//!     time countersignd --data DATA advisories import osv.zip
//!     time countersignd --data DATA advisories affected

// What is made here is thrown away.
#![allow(clippy::unwrap_used)]

use sqlx::Connection as _;

const ECOSYSTEMS: [&str; 3] = ["pypi", "npm", "cargo"];
/// Releases of a project.
const EACH: u64 = 10;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let database = arguments.next().unwrap();
    let releases: u64 = arguments
        .next()
        .map_or(1_000_000, |text| text.parse().unwrap());
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&format!("sqlite://{database}"))
        .await
        .unwrap();
    let mut tx = connection.begin().await.unwrap();
    sqlx::query("INSERT INTO metadata_texts (sha256, body) VALUES ('scale', '')")
        .execute(&mut *tx)
        .await
        .unwrap();
    for number in 0..releases.div_ceil(EACH) {
        let ecosystem = ECOSYSTEMS[usize::try_from(number % 3).unwrap()];
        let (project, name) = (format!("p{number}"), format!("package-{number}"));
        sqlx::query(
            "INSERT INTO projects (id, ecosystem, name, key, skeleton, status, status_at, trust_level, trust_at, visible_at, summary, \
             latest, serial, sequence, created_at, updated_at) VALUES ($1, $2, $3, $3, $3, 'active', 0, 'none', 0, 0, '', '', 1, 1, 0, 0)",
        )
        .bind(project.clone())
        .bind(ecosystem)
        .bind(name.clone())
        .execute(&mut *tx)
        .await
        .unwrap();
        for release in 0..EACH.min(releases - number * EACH) {
            let version = format!("{}.{}.0", release / 5 + 1, release % 5);
            let id = format!("{project}-{release}");
            sqlx::query(
                "INSERT INTO releases (id, project_id, version, version_key, prerelease, created_at) VALUES ($1, $2, $3, $3, 0, 0)",
            )
            .bind(id.clone())
            .bind(project.clone())
            .bind(version)
            .execute(&mut *tx)
            .await
            .unwrap();
            sqlx::query(
                "INSERT INTO files (id, project_id, release_id, filename, filename_key, purl, identifier, size, sha256, blake2b_256, md5, \
                 filetype, python_tag, metadata_sha256, summary, manifest, state, staged_at, live_at, event_id) \
                 VALUES ($1, $2, $1, $1, $1, $1, $1, 1, $1, $1, $1, 'sdist', 'source', 'scale', '', '{}', 'live', 0, 0, $1)",
            )
            .bind(id)
            .bind(project.clone())
            .execute(&mut *tx)
            .await
            .unwrap();
        }
    }
    tx.commit().await.unwrap();
    println!("{releases} releases");
}
