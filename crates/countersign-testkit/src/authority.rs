//! A private certificate authority for the loopback address: what a company's own CA is to its registry and its
//! GitLab. Clients that are not given its certificate must refuse what it certified.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A root of trust that nobody knows but who is given [`Authority::pem`]. It lives in memory; its key is never written.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for `localhost` and 127.0.0.1 with its key, in PEM.
#[derive(Debug, Clone)]
pub struct Certified {
    /// The certificate alone, without the authority's.
    pub certificate: String,
    /// Its key, PKCS #8.
    pub key: String,
}

/// The files that a TLS server and its clients are given.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The authority's certificate, for clients (`SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`, `--ca`).
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority of that name.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        // Python's strict checking asks for these.
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority of this process: the one that [`crate::http`] trusts, and that certifies the kit's TLS servers.
    pub fn of_this_process() -> Result<Arc<Self>> {
        static AUTHORITY: Mutex<Option<Arc<Authority>>> = Mutex::new(None);
        let mut authority = AUTHORITY.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = authority.as_ref() {
            return Ok(authority.clone());
        }
        let made = Arc::new(Self::new("Countersign test kit")?);
        *authority = Some(made.clone());
        Ok(made)
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certifies a new key for `localhost` and 127.0.0.1.
    pub fn certify(&self) -> Result<Certified> {
        self.certify_for(&[])
    }

    /// The same, for these names too.
    fn certify_for(&self, names: &[&str]) -> Result<Certified> {
        let key = KeyPair::generate()?;
        let names = ["localhost", "127.0.0.1"].iter().chain(names);
        let mut params =
            CertificateParams::new(names.map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certified {
            certificate,
            key: key.serialize_pem(),
        })
    }

    /// Writes `ca.pem`, and `cert.pem` and `key.pem` of a fresh certificate, into a folder.
    pub fn write(&self, folder: &Path) -> Result<TlsFiles> {
        self.write_for(folder, &[])
    }

    /// The same, with a certificate for these names too.
    pub(crate) fn write_for(&self, folder: &Path, names: &[&str]) -> Result<TlsFiles> {
        let certified = self.certify_for(names)?;
        let files = TlsFiles {
            ca: folder.join("ca.pem"),
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        for (path, text) in [
            (&files.ca, &self.pem),
            (&files.certificate, &certified.certificate),
            (&files.key, &certified.key),
        ] {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(files)
    }
}
