//! TLS from certificate files, exchanged on SIGHUP without dropping a connection.

use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;
use crate::failure::Failure;

/// The certificate in use; hand-shakes take whichever is current.
#[derive(Debug)]
pub struct Certificate {
    files: Tls,
    current: RwLock<Arc<CertifiedKey>>,
}

/// When a certificate chain's first certificate counts, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub not_before: i64,
    /// Until then.
    pub not_after: i64,
}

impl Certificate {
    /// Loads the files.
    ///
    /// # Errors
    /// Says which file is missing, unreadable, not PEM, does not fit the other one, or is out of date.
    pub fn load(files: &Tls) -> Result<Arc<Self>, Failure> {
        let current = RwLock::new(Arc::new(read(files)?));
        Ok(Arc::new(Self {
            files: files.clone(),
            current,
        }))
    }

    /// Reads the files again. When they are not usable the certificate in use stays.
    ///
    /// # Errors
    /// As [`Certificate::load`].
    pub fn reload(&self) -> Result<(), Failure> {
        let fresh = Arc::new(read(&self.files)?);
        // A poisoned lock only means that a reader panicked; the value behind it is whole.
        *self
            .current
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// A server configuration that always takes the current certificate, with HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When the cryptographic provider refuses its own defaults.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, Failure> {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| {
                    Failure::environment("tls-provider", format!("TLS can not be set up: {error}."))
                })?
                .with_no_client_auth()
                .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.current
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .clone(),
        )
    }
}

/// The validity of the first certificate of a chain file.
///
/// # Errors
/// As [`Certificate::load`].
pub fn validity(cert: &Path) -> Result<Validity, Failure> {
    let chain = chain(cert)?;
    validity_of(cert, &chain)
}

fn read(files: &Tls) -> Result<CertifiedKey, Failure> {
    let chain = chain(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        unreadable(
            "private key",
            &files.key,
            &error,
            "It should hold a block that begins with -----BEGIN PRIVATE KEY-----.",
        )
    })?;
    let validity = validity_of(&files.cert, &chain)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
    if now > validity.not_after {
        return Err(Failure::environment(
            "tls-expired",
            format!(
                "The certificate {} expired {} days ago.",
                files.cert.display(),
                (now - validity.not_after) / 86_400
            ),
        )
        .remedy("Renew it; a running server takes the new files on SIGHUP."));
    }
    if now < validity.not_before {
        return Err(Failure::environment(
            "tls-not-yet-valid",
            format!("The certificate {} is not valid yet.", files.cert.display()),
        )
        .remedy("Check this machine's clock."));
    }
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Failure::environment(
            "tls-mismatch",
            format!("The private key {} does not belong to the certificate {}.", files.key.display(), files.cert.display()),
        )
        .remedy("Give the pair that was issued together; the server's own certificate comes first in its file."),
        other => Failure::environment("tls-unusable", format!("The certificate {} and key {} are not usable: {other}.", files.cert.display(), files.key.display())),
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let way_out = "It should hold blocks that begin with -----BEGIN CERTIFICATE-----, the server's own first.";
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable("certificate", path, &error, way_out))?;
    if chain.is_empty() {
        return Err(unreadable(
            "certificate",
            path,
            &pem::Error::NoItemsFound,
            way_out,
        ));
    }
    Ok(chain)
}

fn unreadable(what: &str, path: &Path, error: &pem::Error, way_out: &str) -> Failure {
    let why = match error {
        pem::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "there is no such file".to_owned()
        }
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("it holds no {what} in PEM form"),
        other => format!("it is not PEM: {other:?}"),
    };
    Failure::environment(
        "tls-unreadable",
        format!("The {what} {} can not be used: {why}.", path.display()),
    )
    .remedy(way_out)
}

fn validity_of(path: &Path, chain: &[CertificateDer<'static>]) -> Result<Validity, Failure> {
    let first = chain
        .first()
        .map_or(&[][..], |certificate| certificate.as_ref());
    let (_, parsed) = x509_parser::parse_x509_certificate(first).map_err(|error| {
        Failure::environment(
            "tls-unreadable",
            format!("The certificate {} is not X.509: {error}.", path.display()),
        )
    })?;
    let validity = parsed.validity();
    Ok(Validity {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn pair(dir: &Path, name: &str, not_after: (i32, u8, u8)) -> Tls {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
        let cert = params.self_signed(&key).unwrap();
        let files = Tls {
            cert: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        };
        fs::write(&files.cert, cert.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_good_pair_loads_and_a_reload_takes_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let files = pair(dir.path(), "a", (2090, 1, 1));
        let certificate = Certificate::load(&files).unwrap();
        let before = certificate.current.read().unwrap().cert.clone();
        let other = pair(dir.path(), "b", (2090, 1, 1));
        fs::copy(&other.cert, &files.cert).unwrap();
        assert_eq!(certificate.reload().unwrap_err().code, "tls-mismatch");
        assert_eq!(
            certificate.current.read().unwrap().cert,
            before,
            "a bad pair leaves the old one in use"
        );
        fs::copy(&other.key, &files.key).unwrap();
        certificate.reload().unwrap();
        assert_ne!(certificate.current.read().unwrap().cert, before);
        assert_eq!(
            certificate.server_config().unwrap().alpn_protocols,
            [b"h2".to_vec(), b"http/1.1".to_vec()]
        );
    }

    #[test]
    fn missing_wrong_mismatched_and_expired_files_are_each_named() {
        let dir = tempfile::tempdir().unwrap();
        let good = pair(dir.path(), "good", (2090, 1, 1));
        let other = pair(dir.path(), "other", (2090, 1, 1));
        let expired = pair(dir.path(), "old", (2021, 1, 1));
        let none = dir.path().join("none.pem");
        let garbage = dir.path().join("garbage.pem");
        fs::write(&garbage, "not PEM at all\n").unwrap();
        for (cert, key, code, phrase) in [
            (&none, &good.key, "tls-unreadable", "there is no such file"),
            (&good.cert, &none, "tls-unreadable", "there is no such file"),
            (
                &garbage,
                &good.key,
                "tls-unreadable",
                "holds no certificate in PEM form",
            ),
            (
                &good.cert,
                &good.cert,
                "tls-unreadable",
                "holds no private key in PEM form",
            ),
            (
                &good.cert,
                &other.key,
                "tls-mismatch",
                "does not belong to the certificate",
            ),
            (&expired.cert, &expired.key, "tls-expired", "expired"),
        ] {
            let failure = Certificate::load(&Tls {
                cert: cert.clone(),
                key: key.clone(),
            })
            .unwrap_err();
            assert_eq!(failure.code, code, "{failure}");
            assert!(failure.to_string().contains(phrase), "{failure}");
        }
    }
}
