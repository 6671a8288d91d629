//! The body of a request that publishes or changes a package: one JSON object, in which the tarball
//! stands in base64. It is read as it arrives: the tarball goes decoded to whoever stores it, the
//! rest is kept within a bound and parsed at the end.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    json::{self, Duplicates},
    name::PackageName,
    tags,
    update::Update,
    version,
};
use crate::{Limits, Rejection, rejection::quoted};

/// Most bytes of everything but the tarball. A change of a package sends its whole packument.
const MAX_TEXT: usize = 16 << 20;
/// Most bytes of a provenance bundle as it stands in the body.
const MAX_BUNDLE: usize = 2 << 20;
/// Deepest nesting that is followed; the parser at the end is stricter.
const MAX_DEPTH: usize = 128;
/// Longest key of those that lead to an attachment.
const MAX_KEY: usize = 2048;
/// Most tags that one publication sets.
const MAX_TAGS: usize = 10;

/// Takes decoded bytes of the tarball as they come.
pub type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), Rejection> + 's;

/// What a body turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A new version, with its tarball.
    Publish(Box<Publish>),
    /// A change of what is there: deprecation, owners, tags, removal of versions, stars.
    Update(Box<Update>),
}

/// A new version as the client describes it. What of it counts is decided by the tarball.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The package.
    pub name: PackageName,
    /// The version, in normal form.
    pub version: String,
    /// The tags that shall point to it; `latest` when the client says nothing.
    pub tags: Vec<String>,
    /// Who shall be able to read the package, where the client says so.
    pub access: Option<Access>,
    /// The manifest as posted: see [`super::compare`].
    pub manifest: Map<String, Value>,
    /// Decoded length of the tarball.
    pub size: u64,
    /// The provenance bundle, a JSON text as sent.
    pub bundle: Option<String>,
    integrity: Option<String>,
    shasum: Option<String>,
}

/// Who can read a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody who reaches the registry.
    Public,
    /// Whom its owners let.
    Restricted,
}

/// Digests of a tarball, computed from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// SHA-1, which old clients check.
    pub sha1: [u8; 20],
    /// SHA-256.
    pub sha256: [u8; 32],
    /// SHA-512, which the others check.
    pub sha512: [u8; 64],
}

impl Digests {
    /// `sha512-…` as lock files have it.
    pub fn integrity(&self) -> String {
        format!("sha512-{}", STANDARD.encode(self.sha512))
    }

    /// SHA-1 in hex.
    pub fn shasum(&self) -> String {
        hex(&self.sha1)
    }

    /// SHA-256 in hex.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Publish {
    /// Holds the digests that the client sent against the computed ones.
    ///
    /// # Errors
    /// Refuses when one differs, or when none is there that is understood.
    pub fn check_digests(&self, computed: &Digests) -> Result<(), Rejection> {
        let differs = |what: &str, sent: &str, computed: &str| {
            Rejection::new(
                "digest-mismatch",
                format!(
                    "The {what} in the manifest is {}, that of the received tarball {computed}.",
                    quoted(sent)
                ),
            )
            .with_remedy(
                "The tarball was damaged on the way or changed meanwhile: publish it again.",
            )
        };
        let mut understood = 0;
        for item in self
            .integrity
            .as_deref()
            .unwrap_or_default()
            .split_ascii_whitespace()
        {
            let Some((algorithm, digest)) = item.split_once('-') else {
                return Err(differs("integrity", item, &computed.integrity()));
            };
            let digest = digest.split('?').next().unwrap_or_default();
            let bytes: &[u8] = match algorithm {
                "sha512" => &computed.sha512,
                "sha256" => &computed.sha256,
                "sha1" => &computed.sha1,
                _ => continue,
            };
            if digest != STANDARD.encode(bytes) {
                return Err(differs(
                    "integrity",
                    item,
                    &format!("{algorithm}-{}", STANDARD.encode(bytes)),
                ));
            }
            understood += 1;
        }
        if let Some(shasum) = &self.shasum {
            if !shasum.eq_ignore_ascii_case(&computed.shasum()) {
                return Err(differs("shasum", shasum, &computed.shasum()));
            }
            understood += 1;
        }
        if understood == 0 {
            return Err(Rejection::new(
                "npm-digest-missing",
                "The manifest has no digest of the tarball.",
            )
            .with_remedy("Publish with a current client, which sends dist.integrity."));
        }
        Ok(())
    }
}

/// Reads a body piece by piece: [`PublishReader::push`] for what arrives, then
/// [`PublishReader::finish`].
pub struct PublishReader {
    max_tarball: u64,
    text: Vec<u8>,
    stack: Vec<Frame>,
    state: State,
    tarball: Option<(String, u64)>,
    bundle: Option<(String, Vec<u8>)>,
}

/// An object or array that is open.
struct Frame {
    object: bool,
    /// Whether the next text is a key.
    key_next: bool,
    /// The last key, near the root.
    key: Option<String>,
}

enum State {
    /// Between texts.
    Between,
    /// In a text that is kept, which begins at `start`.
    Text {
        start: usize,
        key: bool,
        escaped: bool,
    },
    /// In the tarball.
    Tarball { decoder: Decoder, escape: Escape },
    /// In the bundle, kept as it is escaped.
    Bundle { escaped: bool },
}

/// Where in an escape of a JSON text we are.
enum Escape {
    None,
    Begun,
    /// Digits of `\u`, and how many came.
    Code(u32, u8),
}

impl PublishReader {
    /// A reader for one body.
    pub fn new(limits: &Limits) -> Self {
        Self {
            max_tarball: limits.max_file_size,
            text: Vec::new(),
            stack: Vec::new(),
            state: State::Between,
            tarball: None,
            bundle: None,
        }
    }

    /// Takes the next piece; what of it is tarball goes to `sink`.
    ///
    /// # Errors
    /// Refuses bodies beyond the bounds, attachments that are neither one tarball nor one bundle,
    /// and base64 with anything else in it. After an error the reader is of no more use.
    pub fn push(&mut self, mut chunk: &[u8], sink: &mut Sink<'_>) -> Result<(), Rejection> {
        while !chunk.is_empty() {
            chunk = match &mut self.state {
                State::Between => self.between(chunk)?,
                State::Text { .. } => self.kept(chunk)?,
                State::Tarball { .. } => self.decoded(chunk, sink)?,
                State::Bundle { .. } => self.bundled(chunk)?,
            };
        }
        Ok(())
    }

    fn between<'c>(&mut self, chunk: &'c [u8]) -> Result<&'c [u8], Rejection> {
        for (at, &byte) in chunk.iter().enumerate() {
            match byte {
                b'"' => {
                    let key = self
                        .stack
                        .last()
                        .is_some_and(|frame| frame.object && frame.key_next);
                    if !key && let Some(name) = self.attachment() {
                        let name = name.to_owned();
                        self.capture(name)?;
                        self.keep(b"\"\"")?;
                    } else {
                        self.state = State::Text {
                            start: self.text.len(),
                            key,
                            escaped: false,
                        };
                        self.keep(b"\"")?;
                    }
                    return Ok(&chunk[at + 1..]);
                }
                b'{' | b'[' => {
                    if self.stack.len() == MAX_DEPTH {
                        return Err(Rejection::new(
                            "json-invalid",
                            "The request's body is nested too deep.",
                        ));
                    }
                    let object = byte == b'{';
                    self.stack.push(Frame {
                        object,
                        key_next: object,
                        key: None,
                    });
                }
                b'}' | b']' => {
                    self.stack.pop();
                }
                b',' => {
                    if let Some(frame) = self.stack.last_mut() {
                        frame.key_next = frame.object;
                    }
                }
                b':' => {
                    if let Some(frame) = self.stack.last_mut() {
                        frame.key_next = false;
                    }
                }
                _ => {}
            }
            self.keep(&[byte])?;
        }
        Ok(&[])
    }

    /// The name of the attachment whose data the next text is.
    fn attachment(&self) -> Option<&str> {
        let [root, attachments, attachment] = &self.stack[..] else {
            return None;
        };
        let data = root.key.as_deref() == Some("_attachments")
            && attachment.key.as_deref() == Some("data");
        (data && root.object && attachment.object).then_some(attachments.key.as_deref()?)
    }

    fn capture(&mut self, name: String) -> Result<(), Rejection> {
        let twice = |what: &str| {
            Rejection::new(
                "npm-attachment",
                format!("The request has more than one {what}."),
            )
            .with_remedy("Publish one version in one request.")
        };
        if name.ends_with(".tgz") {
            if self.tarball.is_some() {
                return Err(twice("tarball"));
            }
            self.tarball = Some((name, 0));
            self.state = State::Tarball {
                decoder: Decoder::default(),
                escape: Escape::None,
            };
        } else if name.ends_with(".sigstore") {
            if self.bundle.is_some() {
                return Err(twice("provenance bundle"));
            }
            self.bundle = Some((name, Vec::new()));
            self.state = State::Bundle { escaped: false };
        } else {
            return Err(Rejection::new(
                "npm-attachment",
                format!(
                    "The attachment {} is neither a tarball nor a provenance bundle.",
                    quoted(&name)
                ),
            ));
        }
        Ok(())
    }

    /// Goes on with a text that is kept.
    fn kept<'c>(&mut self, chunk: &'c [u8]) -> Result<&'c [u8], Rejection> {
        let State::Text {
            start,
            key,
            escaped,
        } = &mut self.state
        else {
            return Ok(chunk);
        };
        let (start, key) = (*start, *key);
        let end = end_of_text(chunk, escaped);
        self.keep(&chunk[..end.map_or(chunk.len(), |end| end + 1)])?;
        let Some(end) = end else {
            return Ok(&[]);
        };
        self.state = State::Between;
        if key && self.stack.len() <= 3 {
            // A key that is too long or broken leads nowhere; the parser at the end sees it.
            let raw = &self.text[start..];
            let name = (raw.len() <= MAX_KEY)
                .then(|| serde_json::from_slice(raw).ok())
                .flatten();
            if let Some(frame) = self.stack.last_mut() {
                frame.key = name;
            }
        }
        Ok(&chunk[end + 1..])
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        if self.text.len() + bytes.len() > MAX_TEXT {
            return Err(Rejection::new(
                "json-too-large",
                format!("The request has more than {MAX_TEXT} bytes beside the tarball."),
            ));
        }
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    /// Goes on with the tarball.
    fn decoded<'c>(&mut self, chunk: &'c [u8], sink: &mut Sink<'_>) -> Result<&'c [u8], Rejection> {
        let (State::Tarball { decoder, escape }, Some((_, size))) =
            (&mut self.state, &mut self.tarball)
        else {
            return Ok(chunk);
        };
        let max = self.max_tarball;
        let mut sink = |bytes: &[u8]| {
            *size += bytes.len() as u64;
            if *size > max {
                return Err(Rejection::new(
                    "file-too-large",
                    format!(
                        "The tarball has more than {max} bytes, which is the most that is accepted."
                    ),
                ));
            }
            sink(bytes)
        };
        let mut at = 0;
        while at < chunk.len() {
            let byte = chunk[at];
            match escape {
                Escape::None => {
                    let run = chunk[at..]
                        .iter()
                        .take_while(|b| !matches!(b, b'"' | b'\\'))
                        .count();
                    decoder.feed(&chunk[at..at + run], &mut sink)?;
                    at += run;
                    match chunk.get(at) {
                        Some(b'"') => {
                            decoder.end()?;
                            self.state = State::Between;
                            return Ok(&chunk[at + 1..]);
                        }
                        Some(_) => {
                            *escape = Escape::Begun;
                            at += 1;
                        }
                        None => {}
                    }
                }
                Escape::Begun => {
                    *escape = match byte {
                        b'/' => {
                            decoder.feed(b"/", &mut sink)?;
                            Escape::None
                        }
                        b'u' => Escape::Code(0, 0),
                        _ => return Err(not_base64()),
                    };
                    at += 1;
                }
                Escape::Code(code, digits) => {
                    let digit = char::from(byte).to_digit(16).ok_or_else(not_base64)?;
                    let code = *code * 16 + digit;
                    *escape = match *digits {
                        3 => {
                            let byte = u8::try_from(code).map_err(|_| not_base64())?;
                            decoder.feed(&[byte], &mut sink)?;
                            Escape::None
                        }
                        digits => Escape::Code(code, digits + 1),
                    };
                    at += 1;
                }
            }
        }
        Ok(&[])
    }

    /// Goes on with the bundle.
    fn bundled<'c>(&mut self, chunk: &'c [u8]) -> Result<&'c [u8], Rejection> {
        let (State::Bundle { escaped }, Some((_, kept))) = (&mut self.state, &mut self.bundle)
        else {
            return Ok(chunk);
        };
        let end = end_of_text(chunk, escaped);
        let part = &chunk[..end.unwrap_or(chunk.len())];
        if kept.len() + part.len() > MAX_BUNDLE {
            return Err(Rejection::new(
                "npm-bundle-too-large",
                format!("The provenance bundle has more than {MAX_BUNDLE} bytes."),
            ));
        }
        kept.extend_from_slice(part);
        Ok(match end {
            Some(end) => {
                self.state = State::Between;
                &chunk[end + 1..]
            }
            None => &[],
        })
    }

    /// Says what the body was, after its last piece.
    ///
    /// # Errors
    /// Refuses what is no JSON object that means the same to every reader, and requests whose parts
    /// contradict each other.
    pub fn finish(self) -> Result<Body, Rejection> {
        let (value, _) = json::read(&self.text, MAX_TEXT as u64, Duplicates::Refused)?;
        let Value::Object(root) = value else {
            return Err(invalid("it is no object"));
        };
        match self.tarball {
            None if self.bundle.is_none() => Ok(Body::Update(Box::new(Update::read(root)?))),
            None => Err(invalid("it has a provenance bundle but no tarball")),
            Some(tarball) => {
                publish(root, &tarball, self.bundle).map(|found| Body::Publish(Box::new(found)))
            }
        }
    }
}

fn publish(
    mut root: Map<String, Value>,
    tarball: &(String, u64),
    bundle: Option<(String, Vec<u8>)>,
) -> Result<Publish, Rejection> {
    let text = |key: &str| root.get(key).and_then(Value::as_str);
    let name = PackageName::parse(text("name").or_else(|| text("_id")).unwrap_or_default())?;
    if text("_id").is_some_and(|id| id != name.as_str()) {
        return Err(invalid("_id and name differ"));
    }
    let access = match root.get("access") {
        None | Some(Value::Null) => None,
        Some(Value::String(word)) if word == "public" => Some(Access::Public),
        Some(Value::String(word)) if word == "restricted" => Some(Access::Restricted),
        Some(_) => return Err(invalid("access is neither public nor restricted")),
    };
    let attachments = match root.remove("_attachments") {
        Some(Value::Object(attachments)) => attachments,
        _ => Map::new(),
    };
    let versions = match root.remove("versions") {
        Some(Value::Object(versions)) => versions,
        _ => return Err(invalid("it has no versions")),
    };
    let mut versions = versions.into_iter();
    let (Some((version, Value::Object(manifest))), None) = (versions.next(), versions.next())
    else {
        return Err(invalid("it does not have exactly one version"));
    };
    if version::parse(&version)?.canonical() != version {
        return Err(invalid(&format!(
            "the version {} is not in normal form",
            quoted(&version)
        )));
    }
    for (key, expected) in [("name", name.as_str()), ("version", version.as_str())] {
        let said = manifest.get(key).and_then(Value::as_str).map(str::trim);
        // Another spelling of the version is compared with the tarball's later.
        let same = said == Some(expected)
            || (key == "version"
                && said.is_some_and(|said| {
                    version::parse(said).is_ok_and(|said| said.canonical() == expected)
                }));
        if !same {
            return Err(invalid(&format!(
                "the manifest's {key} is {}, not {}",
                quoted(said.unwrap_or_default()),
                quoted(expected)
            )));
        }
    }
    let mut tags = Vec::new();
    if let Some(Value::Object(sent)) = root.get("dist-tags") {
        for (tag, target) in sent {
            tags::check(tag)?;
            if target.as_str() != Some(&version) {
                return Err(invalid(&format!(
                    "the tag {} points to another version",
                    quoted(tag)
                )));
            }
            tags.push(tag.clone());
        }
    }
    if tags.len() > MAX_TAGS {
        return Err(invalid(&format!("it sets more than {MAX_TAGS} tags")));
    }
    if tags.is_empty() {
        tags.push(tags::LATEST.to_owned());
    }
    let declared = |name: &str| {
        attachments
            .get(name)
            .and_then(|about| about.get("length"))
            .cloned()
    };
    let misnamed = |found: &str, expected: &str| {
        Err(Rejection::new(
            "npm-attachment",
            format!(
                "An attachment is named {}, which should be {}.",
                quoted(found),
                quoted(expected)
            ),
        ))
    };
    let expected = format!("{name}-{version}.tgz");
    if tarball.0 != expected {
        return misnamed(&tarball.0, &expected);
    }
    if declared(&tarball.0).is_some_and(|length| length.as_u64() != Some(tarball.1)) {
        return Err(Rejection::new(
            "npm-attachment",
            format!(
                "The tarball has {} bytes, which is not the length that the request says.",
                tarball.1
            ),
        )
        .with_remedy("It was damaged on the way: publish it again."));
    }
    if attachments.len() != 1 + usize::from(bundle.is_some()) {
        return Err(invalid("it has attachments without data"));
    }
    let bundle = match bundle {
        None => None,
        Some((found, raw)) => {
            let expected = format!("{name}-{version}.sigstore");
            if found != expected {
                return misnamed(&found, &expected);
            }
            Some(bundle_text(&raw, declared(&found).as_ref())?)
        }
    };
    let dist = |key: &str| {
        manifest
            .get("dist")
            .and_then(|dist| dist.get(key))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Ok(Publish {
        name,
        version,
        tags,
        access,
        size: tarball.1,
        bundle,
        integrity: dist("integrity"),
        shasum: dist("shasum"),
        manifest,
    })
}

/// The bundle from its escaped text. npm sends the JSON text itself; its documentation says base64.
fn bundle_text(raw: &[u8], declared: Option<&Value>) -> Result<String, Rejection> {
    let refused = |why: &str| {
        Rejection::new(
            "npm-bundle",
            format!("The provenance bundle is not usable: {why}."),
        )
    };
    let quoted = [b"\"", raw, b"\""].concat();
    let text: String =
        serde_json::from_slice(&quoted).map_err(|_| refused("it is no JSON string"))?;
    // Lengths are counted in JavaScript's units.
    let lengths = [text.encode_utf16().count() as u64, text.len() as u64];
    let fits = |more: Option<u64>| {
        declared.is_none_or(|declared| {
            declared
                .as_u64()
                .is_some_and(|said| lengths.contains(&said) || more == Some(said))
        })
    };
    if text.trim_start().starts_with('{') {
        return match fits(None) {
            true => Ok(text),
            false => Err(refused("its length is not the one that the request says")),
        };
    }
    let bytes = STANDARD
        .decode(&text)
        .map_err(|_| refused("it is neither JSON nor base64"))?;
    if !fits(Some(bytes.len() as u64)) {
        return Err(refused("its length is not the one that the request says"));
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| text.trim_start().starts_with('{'))
        .ok_or_else(|| refused("it is no JSON object"))
}

fn invalid(why: &str) -> Rejection {
    Rejection::new(
        "npm-body",
        format!("The request's body is not usable: {why}."),
    )
    .with_remedy("Publish with npm, pnpm or yarn.")
}

fn not_base64() -> Rejection {
    Rejection::new(
        "npm-base64",
        "The tarball in the request is not plain base64.",
    )
    .with_remedy("Publish with npm, pnpm or yarn, which send it as RFC 4648 has it.")
}

/// The place of the quote that ends a text.
fn end_of_text(chunk: &[u8], escaped: &mut bool) -> Option<usize> {
    for (at, &byte) in chunk.iter().enumerate() {
        if std::mem::take(escaped) {
            continue;
        }
        match byte {
            b'\\' => *escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Base64 that arrives in pieces.
#[derive(Default)]
struct Decoder {
    /// Less than four characters that wait for more.
    pending: Vec<u8>,
    padded: bool,
    out: Vec<u8>,
}

impl Decoder {
    /// Most characters that are decoded at once.
    const PIECE: usize = 64 << 10;

    fn feed(&mut self, mut run: &[u8], sink: &mut Sink<'_>) -> Result<(), Rejection> {
        if self.padded && !run.is_empty() {
            return Err(not_base64());
        }
        if !self.pending.is_empty() {
            let missing = (4 - self.pending.len()).min(run.len());
            self.pending.extend_from_slice(&run[..missing]);
            run = &run[missing..];
            if self.pending.len() < 4 {
                return Ok(());
            }
            let quad = std::mem::take(&mut self.pending);
            self.decode(&quad, sink)?;
            if self.padded && !run.is_empty() {
                return Err(not_base64());
            }
        }
        let whole = run.len() - run.len() % 4;
        for piece in run[..whole].chunks(Self::PIECE) {
            if self.padded {
                return Err(not_base64());
            }
            self.decode(piece, sink)?;
        }
        if self.padded && whole < run.len() {
            return Err(not_base64());
        }
        self.pending.extend_from_slice(&run[whole..]);
        Ok(())
    }

    fn decode(&mut self, quads: &[u8], sink: &mut Sink<'_>) -> Result<(), Rejection> {
        self.out.clear();
        STANDARD
            .decode_vec(quads, &mut self.out)
            .map_err(|_| not_base64())?;
        self.padded = quads.ends_with(b"=");
        sink(&self.out)
    }

    fn end(&self) -> Result<(), Rejection> {
        match self.pending.is_empty() {
            true => Ok(()),
            false => Err(not_base64()),
        }
    }
}
