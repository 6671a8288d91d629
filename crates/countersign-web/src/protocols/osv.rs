//! The registry's own advisories, as a feed in the form of OSV: `/osv/ID.json`, `/osv/all.zip`, and `/osv/modified_id.csv` with the
//! times of change, newest first, for those who read only what is new. Beside it OSV's own question, `/osv/v1/query`, over all that is known.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign_formats::osv::ecosystem_of;
use countersign_registry::{Document, Error, Kind, advisory_key};
use http::{HeaderMap, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::answer::{Keep, Stored};
use crate::body::whole;
use crate::error::{Refusal, shown};
use crate::site::Site;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/osv/{file}", get(file))
        .route("/osv/v1/query", post(query))
}

/// The longest question, in bytes.
const LONGEST: usize = 16 << 10;

/// A package and its version, as OSV's own interface is asked.
#[derive(Deserialize)]
struct Query {
    package: Package,
    version: String,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    ecosystem: String,
}

/// `POST /osv/v1/query`: the records, of whatever feed, that concern a version; what OSV's clients ask, pip-audit among them.
async fn query(State(site): State<Site>, body: Body) -> Result<Response, Refusal> {
    let bytes = whole(body, LONGEST).await.map_err(Refusal::problem)?;
    let asked: Query = serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("The request body is not the JSON that belongs here: {error}.");
        let error = Error::new(Kind::Rejected, "json-malformed", message);
        Refusal::problem(
            error.remedy("Send `package` with `ecosystem` and `name`, and a `version`."),
        )
    })?;
    let mut vulns = Vec::new();
    // Of other ecosystems nothing is known here.
    if let Some(ecosystem) = ecosystem_of(&asked.package.ecosystem) {
        let key = advisory_key(ecosystem, &asked.package.name);
        let registry = &site.registry;
        let concerns = registry.concerns(ecosystem, &key, &asked.version).await;
        for concern in concerns.map_err(Refusal::problem)? {
            let record = registry.advisory(&concern.advisory.id).await;
            let record = RawValue::from_string(record.map_err(Refusal::problem)?);
            vulns.push(record.map_err(|error| {
                Refusal::problem(Error::internal("a stored advisory is no JSON", error))
            })?);
        }
    }
    Ok(Json(Answer { vulns }).into_response())
}

#[derive(Serialize)]
struct Answer {
    vulns: Vec<Box<RawValue>>,
}

async fn file(
    State(site): State<Site>,
    Path(file): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut own = site
        .registry
        .own_advisories()
        .await
        .map_err(Refusal::text)?;
    let (bytes, kind) = match file.as_str() {
        "all.zip" => {
            let members = own
                .into_iter()
                .map(|(id, _, record)| (format!("{id}.json"), record.into_bytes()));
            (zip(members), "application/zip")
        }
        "modified_id.csv" => {
            own.sort_by(|(a, at, _), (b, bt, _)| bt.cmp(at).then_with(|| b.cmp(a)));
            let lines = own.iter().map(|(id, at, _)| format!("{at},{id}\n"));
            (
                lines.collect::<String>().into_bytes(),
                "text/csv; charset=utf-8",
            )
        }
        name => {
            let id = name.strip_suffix(".json").unwrap_or_default();
            let found = own.into_iter().find(|(own, ..)| own == id);
            let Some((_, _, record)) = found else {
                let message = format!("This registry issued no advisory {}.", shown(name));
                let error = Error::new(Kind::NotFound, "advisory-unknown", message);
                return Err(Refusal::text(
                    error.remedy("They are listed at /osv/modified_id.csv."),
                ));
            };
            (record.into_bytes(), "application/json")
        }
    };
    let document = Document::rendered(bytes.into());
    let response = Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static(kind),
        keep: Keep::Minutes,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(&method, &headers);
    Ok(response.map(Body::from))
}

/// A zip of members that are stored as they are; the same members give the same bytes.
fn zip(members: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    /// 1 January 1980, midnight.
    const DATE: u16 = 0x21;
    let (mut out, mut directory, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for (name, bytes) in members {
        let (Ok(offset), Ok(size), Ok(length)) = (
            u32::try_from(out.len()),
            u32::try_from(bytes.len()),
            u16::try_from(name.len()),
        ) else {
            break;
        };
        let Some(more) = count.checked_add(1).filter(|more| *more < u16::MAX) else {
            break;
        };
        count = more;
        let mut common = Vec::new();
        // Version 2.0; no flags; stored; midnight.
        for number in [20, 0, 0, 0, DATE] {
            common.extend(u16::to_le_bytes(number));
        }
        for number in [crc32(&bytes), size, size] {
            common.extend(u32::to_le_bytes(number));
        }
        common.extend(length.to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(&bytes);
        directory.extend(b"PK\x01\x02");
        directory.extend(20_u16.to_le_bytes());
        directory.extend(&common);
        // Comment, disk, attributes within and without: none.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let begin = u32::try_from(out.len()).unwrap_or_default();
    let size = u32::try_from(directory.len()).unwrap_or_default();
    out.append(&mut directory);
    out.extend(b"PK\x05\x06");
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(begin.to_le_bytes());
    out.extend([0; 2]);
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    !crc
}
