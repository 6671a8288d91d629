//! Keys that sign, by where they are: a file, a variable of the environment, a PKCS#11 token.
//!
//! Such a source stands in a configuration or on a command line, never in metadata. `file:PATH` is PKCS#8 in PEM, encrypted or
//! not, or the 64 hexadecimal digits of the registry's own key files; `env:NAME` is the same text in a variable;
//! `pkcs11:token=LABEL;object=LABEL?module-path=FILE` is a URI of RFC 7512. Ed25519 and P-256.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64::Engine as _;
use countersign_trust::sigstore::{Ed25519Signer, P256Signer, Refusal as KeyRefusal, Signs, Step};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use percent_encoding::percent_decode_str;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};

use crate::error::{Error, Kind, Result};

/// The object identifier of Ed25519 (RFC 8410).
const ED25519: pkcs8::ObjectIdentifier = pkcs8::ObjectIdentifier::new_unwrap("1.3.101.112");
/// What stands before the 32 bytes of an Ed25519 key in DER (RFC 8410).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// What stands before the 65 bytes of an uncompressed P-256 point in DER (RFC 5480).
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The longest text of a key, in bytes.
const MAX_TEXT: u64 = 64 << 10;

/// Asks for a passphrase or PIN; the argument says for what. `None`: nobody is there to ask.
pub type Ask<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Nobody to ask: for servers, whose keys have no passphrase, or a token whose PIN stands in its source.
pub fn nobody(_: &str) -> Option<String> {
    None
}

/// The key at this source, ready to sign.
///
/// # Errors
/// `key-source` for what is no source, `key-unreadable` where it can not be read or used, `key-locked` where its passphrase or
/// PIN is wrong or missing.
pub fn signer(source: &str, ask: &Ask<'_>) -> Result<Box<dyn Signs>> {
    if let Some(path) = source.strip_prefix("file:") {
        return from_text(source, &read(Path::new(path))?, ask);
    }
    if let Some(name) = source.strip_prefix("env:") {
        let text = std::env::var(name)
            .map_err(|_| unreadable(source, format!("there is no variable {name}")))?;
        return from_text(source, &text, ask);
    }
    if source.starts_with("pkcs11:") {
        return Ok(Box::new(Token::open(&Pkcs11Uri::parse(source)?, ask)?));
    }
    Err(unknown(source))
}

/// The public key (DER, SubjectPublicKeyInfo) at a path (PEM), or that of the private key at a source. A ceremony lists keys of
/// people who are not here: it needs no more of them.
///
/// # Errors
/// As [`signer`].
pub fn public_key(source: &str, ask: &Ask<'_>) -> Result<Vec<u8>> {
    let is_source = ["env:", "pkcs11:", "file:"]
        .iter()
        .any(|kind| source.starts_with(kind));
    let path = source.strip_prefix("file:").unwrap_or(source);
    if !is_source || source.starts_with("file:") {
        let text = read(Path::new(path))?;
        if text.contains("PUBLIC KEY-----") {
            let (_, document) = pkcs8::Document::from_pem(text.trim())
                .map_err(|why| unreadable(source, why.to_string()))?;
            return Ok(document.as_bytes().to_vec());
        }
        return of(source, from_text(source, &text, ask)?.as_ref());
    }
    of(source, signer(source, ask)?.as_ref())
}

fn of(source: &str, signer: &dyn Signs) -> Result<Vec<u8>> {
    signer
        .public_key()
        .map_err(|why| unreadable(source, why.to_string()))
}

/// A new private key as PKCS#8 in PEM, encrypted where there is a passphrase, and its public half in PEM. `secret` is 32 random
/// bytes, `salt` 32 more.
///
/// # Errors
/// `key-unreadable` where the bytes are no secret of the kind of key.
pub fn new_key(
    p256: bool,
    secret: &[u8; 32],
    salt: &[u8; 32],
    passphrase: Option<&str>,
) -> Result<(String, String)> {
    let failed = |why: String| unreadable("a new key", why);
    let (der, signer): (Vec<u8>, Box<dyn Signs>) = if p256 {
        use p256::pkcs8::EncodePrivateKey as _;
        let key = p256::SecretKey::from_slice(secret).map_err(|why| failed(why.to_string()))?;
        let der = key.to_pkcs8_der().map_err(|why| failed(why.to_string()))?;
        let signer = P256Signer::new(secret).map_err(|why| failed(why.to_string()))?;
        (der.as_bytes().to_vec(), Box::new(signer))
    } else {
        // RFC 8410: version 0, the algorithm, and the seed as an octet string within an octet string.
        let mut der = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        der.extend_from_slice(secret);
        let signer = Ed25519Signer::new(secret).map_err(|why| failed(why.to_string()))?;
        (der, Box::new(signer))
    };
    let (label, der) = match passphrase {
        None => ("PRIVATE KEY", der),
        Some(passphrase) => {
            let (salt, rest) = salt.split_at(16);
            let iv: [u8; 16] = rest.try_into().map_err(|_| failed("no salt".to_owned()))?;
            let parameters = pkcs8::pkcs5::pbes2::Parameters::generate_scrypt_aes256cbc(
                pkcs8::pkcs5::scrypt::Params::new(15, 8, 1)
                    .map_err(|why| failed(why.to_string()))?,
                salt,
                iv,
            )
            .map_err(|why| failed(why.to_string()))?;
            let info = PrivateKeyInfoRef::try_from(der.as_slice())
                .map_err(|why| failed(why.to_string()))?;
            let sealed = info
                .encrypt_with_params(parameters, passphrase.as_bytes())
                .map_err(|why| failed(why.to_string()))?;
            ("ENCRYPTED PRIVATE KEY", sealed.as_bytes().to_vec())
        }
    };
    let public = signer.public_key().map_err(|why| failed(why.to_string()))?;
    Ok((pem(label, &der), pem("PUBLIC KEY", &public)))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

fn read(path: &Path) -> Result<String> {
    let shown = path.display().to_string();
    let failed = |why: std::io::Error| unreadable(&shown, why.to_string());
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_TEXT {
        return Err(unreadable(&shown, "it is too long for a key".to_owned()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn from_text(source: &str, text: &str, ask: &Ask<'_>) -> Result<Box<dyn Signs>> {
    let text = text.trim();
    if let Some(secret) = hex::decode(text).ok().and_then(|raw| raw.try_into().ok()) {
        let signer =
            Ed25519Signer::new(&secret).map_err(|why| unreadable(source, why.to_string()))?;
        return Ok(Box::new(signer));
    }
    let (label, document) = SecretDocument::from_pem(text).map_err(|_| {
        unreadable(
            source,
            "it is neither PKCS#8 in PEM nor 64 hexadecimal digits".to_owned(),
        )
    })?;
    match label {
        "PRIVATE KEY" => from_der(source, document.as_bytes()),
        "ENCRYPTED PRIVATE KEY" => {
            let sealed = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                .map_err(|why| unreadable(source, why.to_string()))?;
            let passphrase = ask(&format!("Passphrase of {source}"))
                .ok_or_else(|| locked(source, "it is encrypted, and nobody gave its passphrase"))?;
            let open = sealed
                .decrypt(passphrase.as_bytes())
                .map_err(|_| locked(source, "the passphrase does not fit"))?;
            from_der(source, open.as_bytes())
        }
        other => Err(unreadable(
            source,
            format!("it is a {other}; convert it with `openssl pkcs8 -topk8`"),
        )),
    }
}

fn from_der(source: &str, der: &[u8]) -> Result<Box<dyn Signs>> {
    use p256::pkcs8::DecodePrivateKey as _;
    let unusable = |why: String| unreadable(source, why);
    let info = PrivateKeyInfoRef::try_from(der).map_err(|why| unusable(why.to_string()))?;
    if info.algorithm.oid == ED25519 {
        let seed = info.private_key.as_bytes().strip_prefix(&[0x04, 0x20]);
        let seed: [u8; 32] = seed
            .and_then(|seed| seed.try_into().ok())
            .ok_or_else(|| unusable("an Ed25519 key has 32 bytes".to_owned()))?;
        let signer = Ed25519Signer::new(&seed).map_err(|why| unusable(why.to_string()))?;
        return Ok(Box::new(signer));
    }
    let key = p256::SecretKey::from_pkcs8_der(der)
        .map_err(|_| unusable("it is neither Ed25519 nor P-256".to_owned()))?;
    let secret: [u8; 32] = key.to_bytes().into();
    let signer = P256Signer::new(&secret).map_err(|why| unusable(why.to_string()))?;
    Ok(Box::new(signer))
}

fn shown(source: &str) -> String {
    // What follows the question mark of a PKCS#11 source may be a PIN.
    let source = source.split('?').next().unwrap_or_default();
    source.chars().take(120).collect()
}

fn unreadable(source: &str, why: String) -> Error {
    Error::new(
        Kind::Unavailable,
        "key-unreadable",
        format!("The key {:?} can not be used: {why}.", shown(source)),
    )
    .remedy("A key is `file:PATH` (PKCS#8 in PEM), `env:NAME`, or `pkcs11:token=LABEL;object=LABEL?module-path=FILE`; Ed25519 or P-256.")
}

fn locked(source: &str, why: &str) -> Error {
    Error::new(
        Kind::Denied,
        "key-locked",
        format!("The key {:?} stays locked: {why}.", shown(source)),
    )
    .remedy("Type it when asked, or set COUNTERSIGN_TUF_PASSPHRASE (for a PKCS#11 token: COUNTERSIGN_PKCS11_PIN).")
}

fn unknown(source: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "key-source",
        format!("{:?} is no source of a key.", shown(source)),
    )
    .remedy("A key is `file:PATH` (PKCS#8 in PEM), `env:NAME`, or `pkcs11:token=LABEL;object=LABEL?module-path=FILE`.")
}

/// What a URI of RFC 7512 says, as far as it is needed.
#[derive(Debug, PartialEq, Eq)]
struct Pkcs11Uri {
    token: String,
    object: String,
    module: PathBuf,
    /// Where the PIN is: `file:PATH` or `env:NAME`; never the PIN itself.
    pin_source: Option<String>,
}

impl Pkcs11Uri {
    fn parse(source: &str) -> Result<Self> {
        let wrong = || unknown(source);
        let rest = source.strip_prefix("pkcs11:").ok_or_else(wrong)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut token, mut object, mut module, mut pin_source) = (None, None, None, None);
        let pairs = path.split(';').chain(query.split('&'));
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| wrong())?;
            let place = match name {
                "token" => &mut token,
                "object" => &mut object,
                "module-path" => &mut module,
                "pin-source" => &mut pin_source,
                // The kind of object is known: it is a key that signs.
                "type" => continue,
                "pin-value" => {
                    return Err(unknown(source).remedy(
                        "A PIN does not stand in a source: use pin-source=env:NAME or pin-source=file:PATH.",
                    ));
                }
                _ => return Err(wrong()),
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(wrong());
            }
        }
        let module = module.or_else(|| std::env::var("COUNTERSIGN_PKCS11_MODULE").ok());
        let module = module.ok_or_else(|| {
            unreadable(
                source,
                "no module is named: add ?module-path=FILE, or set COUNTERSIGN_PKCS11_MODULE"
                    .to_owned(),
            )
        })?;
        Ok(Self {
            token: token.ok_or_else(wrong)?,
            object: object.ok_or_else(wrong)?,
            module: module.into(),
            pin_source,
        })
    }

    fn name(&self) -> String {
        format!("pkcs11:token={};object={}", self.token, self.object)
    }

    fn pin(&self, ask: &Ask<'_>) -> Result<String> {
        let name = self.name();
        match self.pin_source.as_deref() {
            Some(place) => {
                if let Some(variable) = place.strip_prefix("env:") {
                    return std::env::var(variable)
                        .map_err(|_| locked(&name, "the variable of its PIN is not set"));
                }
                let path = place.strip_prefix("file:").unwrap_or(place);
                Ok(read(Path::new(path))?.trim_end().to_owned())
            }
            None => std::env::var("COUNTERSIGN_PKCS11_PIN")
                .ok()
                .or_else(|| ask(&format!("PIN of {name}")))
                .ok_or_else(|| locked(&name, "nobody gave its PIN")),
        }
    }
}

/// A key that never leaves its token.
struct Token {
    /// A session may be used by one thread at a time.
    session: Mutex<Session>,
    key: ObjectHandle,
    spki: Vec<u8>,
    p256: bool,
    hint: String,
}

/// Modules that were loaded. A module may be initialised once in a process, whoever needs it.
fn module(path: &Path) -> std::result::Result<Pkcs11, String> {
    static LOADED: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());
    let mut loaded = LOADED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, module)) = loaded.iter().find(|(known, _)| known == path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(|why| why.to_string())?;
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|why| why.to_string())?;
    loaded.push((path.to_owned(), module.clone()));
    Ok(module)
}

impl Token {
    fn open(uri: &Pkcs11Uri, ask: &Ask<'_>) -> Result<Self> {
        let name = uri.name();
        let failed = |why: String| unreadable(&name, why);
        let of_token = |why: cryptoki::error::Error| failed(why.to_string());
        let module = module(&uri.module)
            .map_err(|why| failed(format!("the module {}: {why}", uri.module.display())))?;
        let mut slots = Vec::new();
        for slot in module.get_slots_with_token().map_err(of_token)? {
            let info = module.get_token_info(slot).map_err(of_token)?;
            if info.label().trim_end() == uri.token {
                slots.push(slot);
            }
        }
        let [slot] = slots.as_slice() else {
            return Err(failed(format!(
                "{} tokens have this label, and one should",
                slots.len()
            )));
        };
        let session = module.open_ro_session(*slot).map_err(of_token)?;
        let pin = AuthPin::from(uri.pin(ask)?);
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) => {}
            // Another key of this token is in use by this process.
            Err(cryptoki::error::Error::Pkcs11(
                cryptoki::error::RvError::UserAlreadyLoggedIn,
                _,
            )) => {}
            Err(cryptoki::error::Error::Pkcs11(
                cryptoki::error::RvError::PinIncorrect | cryptoki::error::RvError::PinLocked,
                _,
            )) => return Err(locked(&name, "the token does not take the PIN")),
            Err(why) => return Err(of_token(why)),
        }
        let one = |class: ObjectClass| {
            let label = Attribute::Label(uri.object.clone().into_bytes());
            let found = session
                .find_objects(&[Attribute::Class(class), label])
                .map_err(of_token)?;
            match found.as_slice() {
                [one] => Ok(*one),
                others => Err(failed(format!(
                    "{} objects of its kind have this label, and one should",
                    others.len()
                ))),
            }
        };
        let (public, key) = (
            one(ObjectClass::PUBLIC_KEY)?,
            one(ObjectClass::PRIVATE_KEY)?,
        );
        let asked = [AttributeType::KeyType, AttributeType::EcPoint];
        let (mut kind, mut point) = (None, None);
        for attribute in session.get_attributes(public, &asked).map_err(of_token)? {
            match attribute {
                Attribute::KeyType(value) => kind = Some(value),
                Attribute::EcPoint(value) => point = Some(value),
                _ => {}
            }
        }
        let point = point.ok_or_else(|| failed("it has no public point".to_owned()))?;
        let (p256, spki) = spki(kind, &point)
            .ok_or_else(|| failed("it is neither Ed25519 nor P-256".to_owned()))?;
        Ok(Self {
            session: Mutex::new(session),
            key,
            hint: countersign_trust::sigstore::key_hint(&spki),
            spki,
            p256,
        })
    }
}

/// A public point as tokens give it, an octet string in DER or without that, as a SubjectPublicKeyInfo. Is it P-256?
fn spki(kind: Option<KeyType>, point: &[u8]) -> Option<(bool, Vec<u8>)> {
    let (p256, long, prefix): (bool, usize, &[u8]) = match kind? {
        KeyType::EC => (true, 65, &P256_SPKI),
        KeyType::EC_EDWARDS => (false, 32, &ED25519_SPKI),
        _ => return None,
    };
    let raw = match point {
        [0x04, length, raw @ ..] if usize::from(*length) == long && raw.len() == long => raw,
        raw if raw.len() == long => raw,
        _ => return None,
    };
    Some((p256, [prefix, raw].concat()))
}

impl Signs for Token {
    fn hint(&self) -> &str {
        &self.hint
    }

    fn public_key(&self) -> std::result::Result<Vec<u8>, KeyRefusal> {
        Ok(self.spki.clone())
    }

    fn sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, KeyRefusal> {
        let refuse = |why: String| {
            KeyRefusal::new(Step::Signature, format!("the token does not sign: {why}"))
        };
        let session = self
            .session
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.p256 {
            let how = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
            return session
                .sign(&how, self.key, message)
                .map_err(|why| refuse(why.to_string()));
        }
        let digest = countersign_trust::digest::Sha256::of(message);
        let raw = session
            .sign(&Mechanism::Ecdsa, self.key, digest.as_bytes())
            .map_err(|why| refuse(why.to_string()))?;
        let signature =
            p256::ecdsa::Signature::from_slice(&raw).map_err(|why| refuse(why.to_string()))?;
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    #[test]
    fn a_key_in_a_file_is_read_with_its_passphrase_and_not_without() {
        let folder = tempfile::tempdir().unwrap();
        for p256 in [false, true] {
            for passphrase in [None, Some("correct horse")] {
                let (private, public) = new_key(p256, &SECRET, &[9; 32], passphrase).unwrap();
                assert_eq!(private.contains("ENCRYPTED"), passphrase.is_some());
                let path = folder.path().join("key.pem");
                std::fs::write(&path, &private).unwrap();
                std::fs::write(folder.path().join("key.pub"), &public).unwrap();
                let source = format!("file:{}", path.display());
                let ask = |_: &str| passphrase.map(str::to_owned);
                let key = signer(&source, &ask).unwrap();
                let listed = folder.path().join("key.pub").display().to_string();
                assert_eq!(
                    public_key(&listed, &nobody).unwrap(),
                    key.public_key().unwrap()
                );
                assert_eq!(
                    public_key(&source, &ask).unwrap(),
                    key.public_key().unwrap()
                );
                let listed = countersign_trust::tuf::Key::of(key.as_ref()).unwrap();
                let signature = hex::encode(key.sign(b"message").unwrap());
                assert!(listed.verifies(b"message", &signature));
                assert!(!listed.verifies(b"another", &signature));
                if passphrase.is_some() {
                    let refused = |ask: &Ask<'_>| signer(&source, ask).err().unwrap().code;
                    assert_eq!(refused(&nobody), "key-locked");
                    assert_eq!(refused(&|_| Some("wrong".to_owned())), "key-locked");
                }
            }
        }
    }

    #[test]
    fn what_is_no_source_of_a_key_is_refused_and_a_pin_is_never_shown() {
        for source in [
            "",
            "alice.pem",
            "http:key",
            "pkcs11:token",
            "pkcs11:object=o?module-path=m",
            "pkcs11:token=a;token=b;object=o?module-path=m",
            "pkcs11:token=a;object=o;colour=red?module-path=m",
            "pkcs11:token=a;object=%ff?module-path=m",
        ] {
            assert_eq!(
                signer(source, &nobody).err().unwrap().code,
                "key-source",
                "{source}"
            );
        }
        let error = signer("pkcs11:token=a;object=o?pin-value=1234", &nobody)
            .err()
            .unwrap();
        assert_eq!(error.code, "key-source");
        assert!(!error.to_string().contains("1234"));
        let missing = signer("env:COUNTERSIGN_NO_SUCH_VARIABLE", &nobody)
            .err()
            .unwrap();
        assert_eq!(missing.code, "key-unreadable");
        let uri = Pkcs11Uri::parse(
            "pkcs11:token=My%20token;object=root;type=private?module-path=/m&pin-source=env:P",
        );
        assert_eq!(
            uri.unwrap(),
            Pkcs11Uri {
                token: "My token".to_owned(),
                object: "root".to_owned(),
                module: "/m".into(),
                pin_source: Some("env:P".to_owned()),
            }
        );
    }
}
