//! The certificate authority, shaped as Fulcio: a root, an intermediate that certifies keys for ten minutes, and a
//! promise of a certificate transparency log inside each certificate.

use sha2::{Digest as _, Sha256};

use super::der;
use super::identity::{Identity, SubjectName};
use super::keys::{EcKey, EcPublic};

/// Where Fulcio's extensions are.
const FULCIO: &str = "1.3.6.1.4.1.57264.1";
const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";

/// Seconds since 1970 from which and until which roots are good: 2020 to 2045.
pub(super) const ROOTS_FROM: i64 = 1_577_836_800;
pub(super) const ROOTS_UNTIL: i64 = 2_366_841_600;

/// Which promise a leaf certificate carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    Ours,
    None,
    /// By the right log, about another certificate.
    OfAnotherCertificate,
}

/// What differs between leaf certificates.
#[derive(Debug)]
pub(super) struct Leaf<'a> {
    pub identity: &'a Identity,
    /// First and last second.
    pub window: (i64, i64),
    pub promise: Promise,
    /// Whether it says that it is for signing code.
    pub code_signing: bool,
    /// An extension of Fulcio's that is no UTF8String.
    pub malformed: Option<u8>,
}

/// A certificate authority with its intermediate.
#[derive(Debug, Clone)]
pub(super) struct CertificateAuthority {
    seed: String,
    intermediate: EcKey,
    name: Vec<u8>,
    /// The intermediate's certificate, then the root's.
    pub chain: [Vec<u8>; 2],
}

impl CertificateAuthority {
    /// One whose intermediate may certify keys that sign code.
    pub(super) fn of_code(seed: &str) -> Self {
        Self::new(seed, "certificate", CODE_SIGNING)
    }

    /// One whose intermediate may certify keys that sign timestamps.
    pub(super) fn of_timestamps(seed: &str) -> Self {
        Self::new(seed, "timestamp", TIME_STAMPING)
    }

    fn new(seed: &str, common_name: &str, purpose: &str) -> Self {
        let root = EcKey::of(seed, &format!("{common_name} root"));
        let intermediate = EcKey::of(seed, &format!("{common_name} intermediate"));
        let root_name = name(&format!("{common_name} root"));
        let intermediate_name = name(&format!("{common_name} intermediate"));
        let authority = |subject: &[u8], key: &EcKey, path: u8, purpose: Option<&str>| {
            let usage = der::named_bits(&[5, 6]);
            let constraints = der::sequence(&[der::boolean(true), der::small_integer(path)]);
            let mut extensions = vec![
                extension("2.5.29.15", true, &usage),
                extension("2.5.29.19", true, &constraints),
                extension("2.5.29.14", false, &der::octets(&key_id(key))),
                extension("2.5.29.35", false, &authority_key_id(&root)),
            ];
            if let Some(purpose) = purpose {
                let purpose = der::sequence(&[der::oid(purpose)]);
                extensions.push(extension("2.5.29.37", false, &purpose));
            }
            let body = Body {
                serial: serial(seed, subject),
                issuer: &root_name,
                window: (ROOTS_FROM, ROOTS_UNTIL),
                subject,
                public: key.public(),
            };
            signed(&body.to_be_signed(&extensions), &root)
        };
        let chain = [
            authority(&intermediate_name, &intermediate, 0, Some(purpose)),
            authority(&root_name, &root, 1, None),
        ];
        Self {
            seed: seed.to_owned(),
            intermediate,
            name: intermediate_name,
            chain,
        }
    }

    /// Certifies a key for an identity, with the promise of this certificate transparency log.
    pub(super) fn certify(&self, key: &EcPublic, leaf: &Leaf<'_>, log: &EcKey) -> Vec<u8> {
        let purpose = if leaf.code_signing {
            CODE_SIGNING
        } else {
            SERVER_AUTH
        };
        let mut extensions = vec![
            extension("2.5.29.15", true, &der::named_bits(&[0])),
            extension("2.5.29.37", false, &der::sequence(&[der::oid(purpose)])),
            extension("2.5.29.14", false, &der::octets(&point_id(&key.point))),
            extension("2.5.29.35", false, &authority_key_id(&self.intermediate)),
            extension("2.5.29.17", true, &alternative_name(&leaf.identity.name)),
        ];
        for (number, text) in &leaf.identity.extensions {
            let raw = *number < 7 || leaf.malformed == Some(*number);
            let value = if raw {
                text.as_bytes().to_vec()
            } else {
                der::utf8(text)
            };
            extensions.push(extension(&format!("{FULCIO}.{number}"), false, &value));
        }
        let body = Body {
            serial: serial(
                &self.seed,
                &[key.point.clone(), extensions.concat()].concat(),
            ),
            issuer: &self.name,
            window: leaf.window,
            subject: &der::sequence(&[]),
            public: key.public.clone(),
        };
        let before = body.to_be_signed(&extensions);
        let promised = match leaf.promise {
            Promise::None => return signed(&before, &self.intermediate),
            Promise::Ours => before,
            Promise::OfAnotherCertificate => {
                let other = Body {
                    serial: serial(&self.seed, &before),
                    ..body.clone()
                };
                other.to_be_signed(&extensions)
            }
        };
        let list = self.promise(log, leaf.window.0, &promised);
        extensions.push(extension("1.3.6.1.4.1.11129.2.4.2", false, &list));
        signed(&body.to_be_signed(&extensions), &self.intermediate)
    }

    /// Certifies a key that signs timestamps.
    pub(super) fn certify_timestamps(&self, key: &EcKey) -> Stamper {
        let subject = name("timestamps");
        let purpose = der::sequence(&[der::oid(TIME_STAMPING)]);
        let extensions = [
            extension("2.5.29.15", true, &der::named_bits(&[0])),
            extension("2.5.29.37", true, &purpose),
            extension("2.5.29.14", false, &der::octets(&key_id(key))),
            extension("2.5.29.35", false, &authority_key_id(&self.intermediate)),
        ];
        let serial = serial(&self.seed, &key.point());
        let body = Body {
            serial: serial.clone(),
            issuer: &self.name,
            window: (ROOTS_FROM, ROOTS_UNTIL),
            subject: &subject,
            public: key.public(),
        };
        Stamper {
            certificate: signed(&body.to_be_signed(&extensions), &self.intermediate),
            issuer_and_serial: der::sequence(&[self.name.clone(), serial]),
        }
    }

    /// RFC 6962's list of one promise about a certificate without it, as the extension's value.
    fn promise(&self, log: &EcKey, seconds: i64, to_be_signed: &[u8]) -> Vec<u8> {
        let milliseconds = (seconds.unsigned_abs() * 1000).to_be_bytes();
        let length = (to_be_signed.len() as u32).to_be_bytes();
        let message = [
            &[0, 0],
            &milliseconds[..],
            &[0, 1],
            &Sha256::digest(self.intermediate.public()),
            &length[1..],
            to_be_signed,
            &[0, 0],
        ]
        .concat();
        let signature = log.sign(&message);
        let promise = [
            &[0],
            &Sha256::digest(log.public())[..],
            &milliseconds,
            &[0, 0, 4, 3],
            &(signature.len() as u16).to_be_bytes(),
            &signature,
        ]
        .concat();
        let one = [&(promise.len() as u16).to_be_bytes()[..], &promise].concat();
        let list = [&(one.len() as u16).to_be_bytes()[..], &one].concat();
        der::octets(&list)
    }
}

/// Who signs timestamps: its certificate, and how a signature names it.
#[derive(Debug, Clone)]
pub(super) struct Stamper {
    pub certificate: Vec<u8>,
    pub issuer_and_serial: Vec<u8>,
}

/// What every certificate states.
#[derive(Clone)]
struct Body<'a> {
    serial: Vec<u8>,
    issuer: &'a [u8],
    window: (i64, i64),
    subject: &'a [u8],
    public: Vec<u8>,
}

impl Body<'_> {
    fn to_be_signed(&self, extensions: &[Vec<u8>]) -> Vec<u8> {
        let version = der::context(0, &der::small_integer(2));
        let validity = der::sequence(&[der::time(self.window.0), der::time(self.window.1)]);
        der::sequence(&[
            version,
            self.serial.clone(),
            signature_algorithm(),
            self.issuer.to_vec(),
            validity,
            self.subject.to_vec(),
            self.public.clone(),
            der::context(3, &der::sequence(extensions)),
        ])
    }
}

/// ECDSA with SHA-256.
pub(super) fn signature_algorithm() -> Vec<u8> {
    der::sequence(&[der::oid("1.2.840.10045.4.3.2")])
}

fn signed(to_be_signed: &[u8], key: &EcKey) -> Vec<u8> {
    let signature = der::bits(&key.sign(to_be_signed));
    der::sequence(&[to_be_signed.to_vec(), signature_algorithm(), signature])
}

fn serial(seed: &str, of: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(seed);
    hash.update(of);
    der::integer(&hash.finalize()[..16])
}

fn name(common_name: &str) -> Vec<u8> {
    let part =
        |kind: &str, text: &str| der::set(vec![der::sequence(&[der::oid(kind), der::utf8(text)])]);
    der::sequence(&[
        part("2.5.4.10", "Countersign test kit"),
        part("2.5.4.3", common_name),
    ])
}

fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![der::oid(kind)];
    if critical {
        parts.push(der::boolean(true));
    }
    parts.push(der::octets(value));
    der::sequence(&parts)
}

/// What names a key: any digest will do.
fn key_id(key: &EcKey) -> Vec<u8> {
    point_id(&key.point())
}

fn point_id(point: &[u8]) -> Vec<u8> {
    Sha256::digest(point)[..20].to_vec()
}

fn authority_key_id(key: &EcKey) -> Vec<u8> {
    der::sequence(&[der::element(0x80, &key_id(key))])
}

fn alternative_name(name: &SubjectName) -> Vec<u8> {
    let entry = match name {
        SubjectName::Uri(uri) => der::element(0x86, uri.as_bytes()),
        SubjectName::Email(email) => der::element(0x81, email.as_bytes()),
        SubjectName::Other(text) => {
            let value = der::context(0, &der::utf8(text));
            der::context(0, &[der::oid(&format!("{FULCIO}.7")), value].concat())
        }
    };
    der::sequence(&[entry])
}
