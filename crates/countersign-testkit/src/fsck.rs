//! An independent check of a served log (C2SP tlog-tiles) through its HTTP: every entry is fetched, and every tile, the
//! root, each earlier checkpoint and any offline proof are recomputed from the entries by the plainest code there is.
//! Nothing here is shared with the registry's own log code.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::http;

const LEAF_FIRST_LINE: &str = "countersign-leaf/v1";
const LONGEST_LEAF: usize = 4096;
const TILE_WIDTH: usize = 256;

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// A log's public key in the form of a signed-note verifier key, `NAME+ID+BASE64`; Ed25519 only.
#[derive(Debug, Clone)]
pub struct LogKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl std::str::FromStr for LogKey {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        // Base64 may hold `+` too, so only the first two count.
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, encoded) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(id), Some(encoded)) = (name, id, encoded) else {
            bail!("{text:?} is no verifier key: three parts joined by + are expected");
        };
        let raw = STANDARD.decode(encoded).context("the key is no base64")?;
        ensure!(raw.first() == Some(&1), "{text:?} is no Ed25519 key");
        let key: [u8; 32] = raw[1..]
            .try_into()
            .ok()
            .context("an Ed25519 key has 32 bytes")?;
        let mut hash = Sha256::new();
        hash.update(name);
        hash.update(b"\n");
        hash.update(&raw);
        let expected: [u8; 4] = hash.finalize()[..4].try_into()?;
        ensure!(
            hex::encode(expected) == id,
            "the key id of {text:?} should be {}",
            hex::encode(expected)
        );
        Ok(Self {
            name: name.to_owned(),
            id: expected,
            key: VerifyingKey::from_bytes(&key)?,
        })
    }
}

/// A signed statement of the log's size and root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// First line.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Merkle tree hash.
    pub root: Hash,
    /// The whole note as served.
    pub note: String,
}

impl Checkpoint {
    /// Reads a checkpoint and checks the log's signature under `key`.
    pub fn verify(note: &str, key: &LogKey) -> Result<Self> {
        let at = note
            .rfind("\n\n")
            .context("no empty line between text and signatures")?;
        let (text, signatures) = (&note[..=at], &note[at + 2..]);
        ensure!(
            signatures.ends_with('\n'),
            "the last signature line has no end"
        );
        let lines: Vec<&str> = text.lines().collect();
        ensure!(
            lines.len() == 3,
            "a checkpoint has three lines, this one {}: {text:?}",
            lines.len()
        );
        let size = lines[1]
            .parse()
            .with_context(|| format!("bad size {:?}", lines[1]))?;
        let root = STANDARD
            .decode(lines[2])
            .ok()
            .and_then(|raw| raw.try_into().ok())
            .context("bad root hash")?;
        ensure!(
            lines[0] == key.name,
            "origin {:?} is not the key's name {:?}",
            lines[0],
            key.name
        );
        let mut verified = false;
        for line in signatures.lines() {
            let rest = line
                .strip_prefix("\u{2014} ")
                .with_context(|| format!("not a signature line: {line:?}"))?;
            let (name, encoded) = rest
                .split_once(' ')
                .context("signature line without a signature")?;
            let raw = STANDARD.decode(encoded).context("signature is no base64")?;
            ensure!(raw.len() > 4, "signature of {} bytes", raw.len());
            if name == key.name && raw[..4] == key.id {
                let signature: [u8; 64] = raw[4..]
                    .try_into()
                    .ok()
                    .context("an Ed25519 signature has 64 bytes")?;
                key.key
                    .verify_strict(text.as_bytes(), &Signature::from_bytes(&signature))
                    .context("the log's signature does not verify")?;
                verified = true;
            }
        }
        ensure!(verified, "the log's key has not signed this checkpoint");
        Ok(Self {
            origin: lines[0].to_owned(),
            size,
            root,
            note: note.to_owned(),
        })
    }

    /// Fetches and verifies the newest checkpoint of the log at `url`, such as `http://127.0.0.1:8417/log/1`.
    pub fn fetch(url: &str, key: &LogKey) -> Result<Self> {
        let response =
            http::get(&format!("{}/checkpoint", url.trim_end_matches('/')))?.expect_status(200)?;
        Self::verify(&response.text(), key)
    }
}

/// Waits until the log at `url` has committed to its map over all other leaves, and so grows no more by itself.
pub fn rest(url: &str) -> Result<()> {
    let url = url.trim_end_matches('/');
    let begin = Instant::now();
    loop {
        let checkpoint = http::get(&format!("{url}/checkpoint"))?.expect_status(200)?;
        let checkpoint = checkpoint.text();
        let size: Option<u64> = checkpoint.lines().nth(1).and_then(|size| size.parse().ok());
        let head = http::get(&format!("{url}/map/head.tlog-proof"))?.text();
        let leaf = head.lines().find_map(|line| line.strip_prefix("extra "));
        let leaf = leaf.map(|leaf| STANDARD.decode(leaf)).transpose()?;
        let leaf = String::from_utf8(leaf.unwrap_or_default())?;
        let covers = leaf.lines().find_map(|line| line.strip_prefix("covers "));
        let covers: Option<u64> = covers.and_then(|covers| covers.parse().ok());
        if size.is_some() && covers.map(|covers| covers + 1) == size {
            return Ok(());
        }
        // After a step that an outage made slow, the map rests; a busy machine needs more.
        ensure!(
            begin.elapsed() < Duration::from_secs(180),
            "the log does not come to rest: it has {size:?} leaves, the newest map covers {covers:?}"
        );
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A log whose every byte was checked.
#[derive(Debug, Clone)]
pub struct CheckedLog {
    /// What was checked against.
    pub checkpoint: Checkpoint,
    /// The leaves' bytes, by index.
    pub entries: Vec<Vec<u8>>,
    hashes: Vec<Hash>,
    key: LogKey,
}

impl CheckedLog {
    /// Fetches the log at `url` whole and checks it: signature, bundle framing, leaf grammar, every tile of every
    /// level (the partial ones of this size too), root. The error names the first thing that is wrong.
    pub fn fetch(url: &str, key: &LogKey) -> Result<Self> {
        let log = Self::fetch_of_any_entries(url, key)?;
        for (index, entry) in log.entries.iter().enumerate() {
            check_leaf(entry)
                .with_context(|| format!("leaf {index}: {:?}", String::from_utf8_lossy(entry)))?;
        }
        Ok(log)
    }

    /// [`CheckedLog::fetch`] for a log whose entries are whatever was sent to it: all but the leaf grammar.
    pub fn fetch_of_any_entries(url: &str, key: &LogKey) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let checkpoint = Checkpoint::fetch(url, key)?;
        let size = usize::try_from(checkpoint.size)?;
        let mut entries = Vec::with_capacity(size);
        for (tile, width) in tiles(size) {
            let path = format!("tile/entries/{}", tile_path(tile, width));
            let bundle = http::get(&format!("{url}/{path}"))?
                .expect_status(200)
                .with_context(|| path.clone())?
                .body;
            let before = entries.len();
            let mut rest = bundle.as_slice();
            while let Some((length, tail)) = rest.split_first_chunk::<2>() {
                let length = usize::from(u16::from_be_bytes(*length));
                ensure!(tail.len() >= length, "{path}: an entry is cut off");
                entries.push(tail[..length].to_vec());
                rest = &tail[length..];
            }
            ensure!(
                rest.is_empty() && entries.len() - before == width,
                "{path}: not exactly {width} entries"
            );
        }
        let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut row = hashes.clone();
        for level in 0.. {
            if row.is_empty() {
                break;
            }
            for (tile, width) in tiles(row.len()) {
                let path = format!("tile/{level}/{}", tile_path(tile, width));
                let body = http::get(&format!("{url}/{path}"))?
                    .expect_status(200)
                    .with_context(|| path.clone())?
                    .body;
                let expected = row[tile * TILE_WIDTH..tile * TILE_WIDTH + width].concat();
                ensure!(body == expected, "{path} is not what its entries hash to");
            }
            row = row.chunks_exact(TILE_WIDTH).map(root_of).collect();
        }
        let log = Self {
            checkpoint,
            entries,
            hashes,
            key: key.clone(),
        };
        ensure!(
            log.root_at(log.checkpoint.size)? == log.checkpoint.root,
            "the root is not what the entries hash to"
        );
        Ok(log)
    }

    /// The root that the log had when it held `size` leaves.
    pub fn root_at(&self, size: u64) -> Result<Hash> {
        let leaves = self.hashes.get(..usize::try_from(size)?);
        Ok(root_of(leaves.with_context(|| {
            format!("the log has {} leaves, not {size}", self.hashes.len())
        })?))
    }

    /// Checks that this log continues the one that `earlier` states: the log was only appended to.
    pub fn check_extends(&self, earlier: &Checkpoint) -> Result<()> {
        ensure!(
            earlier.origin == self.checkpoint.origin,
            "another log: {} became {}",
            earlier.origin,
            self.checkpoint.origin
        );
        ensure!(
            earlier.size <= self.checkpoint.size,
            "the log shrank from {} to {} leaves",
            earlier.size,
            self.checkpoint.size
        );
        ensure!(
            self.root_at(earlier.size)? == earlier.root,
            "the log was rewritten: its first {} leaves are not those that were signed before",
            earlier.size
        );
        Ok(())
    }

    /// Indices of the leaves that have `line` as one of their lines.
    pub fn leaves_with_line(&self, line: &str) -> Vec<u64> {
        let has = |entry: &Vec<u8>| {
            String::from_utf8_lossy(entry)
                .lines()
                .any(|found| found == line)
        };
        (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| has(entry))
            .map(|(index, _)| index)
            .collect()
    }

    /// Indices of the leaves whose text contains `text`.
    pub fn leaves_containing(&self, text: &str) -> Vec<u64> {
        let has = |entry: &Vec<u8>| String::from_utf8_lossy(entry).contains(text);
        (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| has(entry))
            .map(|(index, _)| index)
            .collect()
    }

    /// Checks an offline proof (C2SP tlog-proof): its checkpoint's signature, that this log extends the checkpoint, and
    /// that the leaf it names is the leaf here. Returns the leaf's index.
    pub fn check_proof(&self, proof: &str) -> Result<u64> {
        let (index, path, checkpoint) = parse_proof(proof, &self.key)?;
        self.check_extends(&checkpoint)?;
        let entry = self
            .entries
            .get(usize::try_from(index)?)
            .with_context(|| format!("the log has no leaf {index}"))?;
        verify_inclusion(leaf_hash(entry), index, &path, &checkpoint)?;
        Ok(index)
    }
}

/// Checks an offline proof for a leaf given by its bytes, without the log.
pub fn check_offline_proof(proof: &str, leaf: &[u8], key: &LogKey) -> Result<u64> {
    let (index, path, checkpoint) = parse_proof(proof, key)?;
    verify_inclusion(leaf_hash(leaf), index, &path, &checkpoint)?;
    Ok(index)
}

fn parse_proof(proof: &str, key: &LogKey) -> Result<(u64, Vec<Hash>, Checkpoint)> {
    let (head, note) = proof
        .split_once("\n\n")
        .context("no empty line before the proof's checkpoint")?;
    let mut lines = head.lines().peekable();
    ensure!(
        lines.next() == Some("c2sp.org/tlog-proof@v1"),
        "not a tlog-proof: {head:?}"
    );
    lines.next_if(|line| line.starts_with("extra "));
    let index = lines
        .next()
        .and_then(|line| line.strip_prefix("index "))
        .context("no index line")?;
    let index = index
        .parse()
        .with_context(|| format!("bad index {index:?}"))?;
    let hash = |line: &str| {
        STANDARD
            .decode(line)
            .ok()
            .and_then(|raw| Hash::try_from(raw).ok())
    };
    let path = lines
        .map(|line| hash(line).with_context(|| format!("bad hash {line:?}")))
        .collect::<Result<Vec<_>>>()?;
    ensure!(path.len() <= 63, "{} hashes in a proof", path.len());
    Ok((index, path, Checkpoint::verify(note, key)?))
}

fn verify_inclusion(leaf: Hash, index: u64, path: &[Hash], checkpoint: &Checkpoint) -> Result<()> {
    ensure!(
        index < checkpoint.size,
        "leaf {index} is beyond the checkpoint's {} leaves",
        checkpoint.size
    );
    // RFC 9162, 2.1.3.2.
    let (mut node, mut last, mut hash) = (index, checkpoint.size - 1, leaf);
    for sibling in path {
        ensure!(last != 0, "the proof is too long");
        if node % 2 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node % 2 == 0 && node != 0 {
                node /= 2;
                last /= 2;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node /= 2;
        last /= 2;
    }
    ensure!(last == 0, "the proof is too short");
    ensure!(
        hash == checkpoint.root,
        "the proof leads to another root: this leaf is not in the log"
    );
    Ok(())
}

fn check_leaf(entry: &[u8]) -> Result<()> {
    ensure!(
        entry.len() <= LONGEST_LEAF,
        "{} bytes, at most {LONGEST_LEAF} are allowed",
        entry.len()
    );
    let text = std::str::from_utf8(entry).context("not UTF-8")?;
    ensure!(text.ends_with('\n'), "does not end with a line end");
    ensure!(
        text.lines().next() == Some(LEAF_FIRST_LINE),
        "does not begin with {LEAF_FIRST_LINE}"
    );
    ensure!(!text.lines().any(str::is_empty), "has an empty line");
    Ok(())
}

/// Number and width of the tiles that hold a row of `count` hashes.
fn tiles(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count.div_ceil(TILE_WIDTH))
        .map(move |tile| (tile, TILE_WIDTH.min(count - tile * TILE_WIDTH)))
}

fn tile_path(tile: usize, width: usize) -> String {
    let mut path = format!("{:03}", tile % 1000);
    let mut rest = tile / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH {
        format!("{path}.p/{width}")
    } else {
        path
    }
}

fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(entry)
        .finalize()
        .into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// Merkle tree hash, straight from RFC 6962, 2.1.
fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [only] => *only,
        _ => {
            let half = leaves.len().next_power_of_two() / 2;
            node_hash(&root_of(&leaves[..half]), &root_of(&leaves[half..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    const ORIGIN: &str = "localhost/log/1";

    fn signing_key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn verifier_key() -> String {
        let raw = [&[1u8][..], signing_key().verifying_key().as_bytes()].concat();
        let id = Sha256::new()
            .chain_update(ORIGIN)
            .chain_update("\n")
            .chain_update(&raw)
            .finalize();
        format!(
            "{ORIGIN}+{}+{}",
            hex::encode(&id[..4]),
            STANDARD.encode(raw)
        )
    }

    fn note(hashes: &[Hash]) -> String {
        let text = format!(
            "{ORIGIN}\n{}\n{}\n",
            hashes.len(),
            STANDARD.encode(root_of(hashes))
        );
        let key: LogKey = verifier_key().parse().unwrap();
        let signature = [&key.id[..], &signing_key().sign(text.as_bytes()).to_bytes()].concat();
        format!(
            "{text}\n\u{2014} {ORIGIN} {}\n\u{2014} other AAAAAAAA\n",
            STANDARD.encode(signature)
        )
    }

    /// The files of a sound log of `count` leaves.
    fn log(count: usize) -> (Vec<Hash>, HashMap<String, Vec<u8>>) {
        let entries: Vec<Vec<u8>> = (0..count)
            .map(|number| format!("{LEAF_FIRST_LINE}\nnumber {number}\n").into_bytes())
            .collect();
        let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut files =
            HashMap::from([("/log/1/checkpoint".to_owned(), note(&hashes).into_bytes())]);
        for (tile, width) in tiles(count) {
            let mut bundle = Vec::new();
            for entry in &entries[tile * TILE_WIDTH..tile * TILE_WIDTH + width] {
                bundle.extend_from_slice(&(entry.len() as u16).to_be_bytes());
                bundle.extend_from_slice(entry);
            }
            files.insert(
                format!("/log/1/tile/entries/{}", tile_path(tile, width)),
                bundle,
            );
        }
        let (mut row, mut level) = (hashes.clone(), 0);
        while !row.is_empty() {
            for (tile, width) in tiles(row.len()) {
                let hashes = row[tile * TILE_WIDTH..tile * TILE_WIDTH + width].concat();
                files.insert(
                    format!("/log/1/tile/{level}/{}", tile_path(tile, width)),
                    hashes,
                );
            }
            row = row.chunks_exact(TILE_WIDTH).map(root_of).collect();
            level += 1;
        }
        (hashes, files)
    }

    /// Serves files until the process ends.
    fn serve(files: HashMap<String, Vec<u8>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/log/1", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let path = lines
                    .next()
                    .unwrap()
                    .unwrap()
                    .split(' ')
                    .nth(1)
                    .unwrap()
                    .to_owned();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let (status, body) = match files.get(&path) {
                    Some(body) => ("200 OK", body.as_slice()),
                    None => ("404 Not Found", &b""[..]),
                };
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                )
                .unwrap();
                stream.write_all(body).unwrap();
            }
        });
        url
    }

    #[test]
    fn a_sound_log_passes_and_its_earlier_states_are_extended() {
        let key: LogKey = verifier_key().parse().unwrap();
        let (hashes, files) = log(600);
        let checked = CheckedLog::fetch(&serve(files), &key).unwrap();
        assert_eq!(checked.entries.len(), 600);
        assert_eq!(checked.leaves_with_line("number 42"), [42]);
        for size in [0, 1, 255, 256, 257, 600] {
            checked
                .check_extends(&Checkpoint::verify(&note(&hashes[..size]), &key).unwrap())
                .unwrap();
        }
        let mut forked = hashes[..300].to_vec();
        forked[17] = [0; 32];
        let error = checked
            .check_extends(&Checkpoint::verify(&note(&forked), &key).unwrap())
            .unwrap_err();
        assert!(error.to_string().contains("rewritten"), "{error}");
    }

    #[test]
    fn an_empty_log_passes() {
        let (_, files) = log(0);
        let checked = CheckedLog::fetch(&serve(files), &verifier_key().parse().unwrap()).unwrap();
        assert!(checked.entries.is_empty());
    }

    #[test]
    fn each_changed_byte_is_found() {
        let key: LogKey = verifier_key().parse().unwrap();
        let (_, files) = log(300);
        for path in files.keys() {
            let mut damaged = files.clone();
            let bytes = damaged.get_mut(path).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            assert!(CheckedLog::fetch(&serve(damaged), &key).is_err(), "{path}");
        }
    }

    #[test]
    fn proofs_are_checked_for_every_leaf_and_refused_for_the_wrong_one() {
        /// RFC 6962, 2.1.1.
        fn path(index: usize, hashes: &[Hash]) -> Vec<Hash> {
            if hashes.len() == 1 {
                return Vec::new();
            }
            let half = hashes.len().next_power_of_two() / 2;
            let (mut steps, other) = match index < half {
                true => (path(index, &hashes[..half]), root_of(&hashes[half..])),
                false => (
                    path(index - half, &hashes[half..]),
                    root_of(&hashes[..half]),
                ),
            };
            steps.push(other);
            steps
        }
        let key: LogKey = verifier_key().parse().unwrap();
        let (hashes, files) = log(70);
        let checked = CheckedLog::fetch(&serve(files), &key).unwrap();
        for index in 0..70 {
            for size in [index + 1, 70] {
                let steps: String = path(index, &hashes[..size])
                    .iter()
                    .map(|hash| format!("{}\n", STANDARD.encode(hash)))
                    .collect();
                let proof = format!(
                    "c2sp.org/tlog-proof@v1\nindex {index}\n{steps}\n{}",
                    note(&hashes[..size])
                );
                assert_eq!(checked.check_proof(&proof).unwrap(), index as u64);
                assert_eq!(
                    check_offline_proof(&proof, &checked.entries[index], &key).unwrap(),
                    index as u64
                );
                assert!(check_offline_proof(&proof, b"other", &key).is_err());
            }
        }
    }

    #[test]
    fn the_published_example_key_parses() {
        let key: LogKey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
            .parse()
            .unwrap();
        assert_eq!(key.name, "example.com/foo");
        assert!(
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
                .parse::<LogKey>()
                .is_err()
        );
    }

    #[test]
    fn tile_paths_follow_the_specification() {
        assert_eq!(tile_path(1_234_067, 256), "x001/x234/067");
        assert_eq!(tile_path(5, 3), "005.p/3");
    }
}
