//! Checking a download against its proof, with nothing but the bytes, the proof and a pinned key.

use countersign_formats::{Ecosystem, format, purl};
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, LeafKind};
use countersign_trust::note::VerifierKey;
use countersign_trust::proof::TlogProof;

use crate::failure::{Exit, Failure};
use crate::sample;

/// A file with its proof, as fetched.
pub struct Download {
    /// The file name.
    pub filename: String,
    /// Where the registry has it.
    pub address: String,
    /// The file.
    pub file: Vec<u8>,
    /// Its `.tlog-proof`.
    pub proof: Vec<u8>,
}

/// What a proof showed.
pub struct Held {
    /// The identifier in the log.
    pub subject: String,
    /// Index of its entry.
    pub index: u64,
    /// Number of entries when the checkpoint was signed.
    pub size: u64,
}

/// The largest answer that is read.
const LARGEST: usize = 16 << 20;

/// Fetches a file and its proof, as the index of the registry names them.
///
/// # Errors
/// Exit 5 for a registry that does not answer as it should.
pub async fn download(site: &str, project: &str, filename: &str) -> Result<Download, Failure> {
    let index = get(
        &format!("{site}/pypi/simple/{project}/"),
        "application/vnd.pypi.simple.v1+json",
    )
    .await?;
    let index: serde_json::Value = serde_json::from_slice(&index)
        .map_err(|error| unusable(&format!("the index of {project} is not JSON: {error}")))?;
    let entry = index["files"]
        .as_array()
        .and_then(|files| files.iter().find(|file| file["filename"] == filename))
        .ok_or_else(|| unusable(&format!("its index does not list {filename}")))?;
    let address = entry["url"]
        .as_str()
        .ok_or_else(|| unusable("a file of its index has no url"))?;
    let address = if address.starts_with('/') {
        format!("{site}{address}")
    } else {
        address.to_owned()
    };
    let address = address.split('#').next().unwrap_or(&address).to_owned();
    let file = fetch(&address).await?;
    let proof = fetch(&format!("{address}.tlog-proof")).await?;
    Ok(Download {
        filename: filename.to_owned(),
        address,
        file,
        proof,
    })
}

/// Fetches what is at an address.
///
/// # Errors
/// As [`download`].
pub async fn fetch(address: &str) -> Result<Vec<u8>, Failure> {
    get(address, "*/*").await
}

/// Fetches an index page in HTML.
///
/// # Errors
/// As [`download`].
pub async fn fetch_page(address: &str) -> Result<String, Failure> {
    let page = get(address, "text/html").await?;
    String::from_utf8(page).map_err(|_| unusable("its index page is not UTF-8"))
}

async fn get(address: &str, accept: &str) -> Result<Vec<u8>, Failure> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(std::time::Duration::from_secs(30))
        .build()
        .map_err(|error| Failure::environment("http-client", error.to_string()))?;
    let failed = |error: reqwest::Error| unusable(&format!("{address}: {error}"));
    let answer = client
        .get(address)
        .header("Accept", accept)
        .send()
        .await
        .map_err(failed)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(failed)?;
    if body.len() > LARGEST {
        return Err(unusable(&format!(
            "{address} answered with {} bytes",
            body.len()
        )));
    }
    if !status.is_success() {
        let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        return Err(Failure::new(
            Exit::Refused,
            "registry-refused",
            format!("{status}: {said}"),
        ));
    }
    Ok(body.to_vec())
}

fn unusable(why: &str) -> Failure {
    Failure::new(
        Exit::Unreachable,
        "registry-answer",
        format!("The registry did not answer as it should: {why}."),
    )
}

/// Checks a download. Nothing in it is believed: the entry that the proof carries must say exactly what the file is,
/// and must be in the log that the pinned key signs.
///
/// # Errors
/// A sentence saying what does not hold.
pub fn verify(download: &Download, keys: &[&str], origin: &str) -> Result<Held, String> {
    let keys: Vec<VerifierKey> = keys
        .iter()
        .map(|key| key.parse::<VerifierKey>())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the pinned key: {error}"))?;
    let proof = TlogProof::parse(&download.proof).map_err(|error| error.to_string())?;
    let entry = proof.extra.as_deref().ok_or("the proof carries no entry")?;
    let leaf = leaf::parse(entry)
        .map_err(|error| error.to_string())?
        .known()
        .ok_or("the entry is of an unknown kind")?;
    let name = format(Ecosystem::Pypi)
        .name_key(sample::PROJECT)
        .map_err(|error| error.to_string())?;
    let subject = purl::file_purl(Ecosystem::Pypi, &name, sample::VERSION, &download.filename);
    if leaf.kind != LeafKind::FilePublished || leaf.subject.as_deref() != Some(&subject) {
        return Err(format!("the entry is about something else than {subject}"));
    }
    let checkpoint = proof
        .verify(entry, &keys, origin)
        .map_err(|error| error.to_string())?;
    let found = Sha256::of(&download.file);
    if leaf.sha256() != Some(found) {
        let logged = leaf
            .sha256()
            .map_or_else(String::new, |digest| digest.to_hex());
        return Err(format!(
            "the file's SHA-256 is {}…, the log says {}….",
            &found.to_hex()[..16],
            logged.get(..16).unwrap_or_default()
        ));
    }
    Ok(Held {
        subject,
        index: proof.index,
        size: checkpoint.size(),
    })
}
