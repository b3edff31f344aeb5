//! Certificates for a test's server and its client, signed by an authority that only the test knows.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::ports;

/// Where a server listens with TLS, and the files (PEM) that belong to it.
#[derive(Clone, Debug)]
pub struct Tls {
    pub address: SocketAddr,
    /// The authority's certificate.
    pub authority: PathBuf,
    pub server: Identity,
    pub client: Identity,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Tls {
    /// Writes new certificates into `directory`.
    pub fn new(directory: &Path) -> Result<Self> {
        let address = ports::free()?;
        let named = |names: Vec<String>, name: &str| -> Result<CertificateParams> {
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name.push(DnType::CommonName, name);
            Ok(params)
        };
        let mut params = named(Vec::new(), "authority")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = directory.join("authority.pem");
        fs::write(&authority, issuer.pem())?;
        let identity = |name: &str| -> Result<Identity> {
            let key = KeyPair::generate()?;
            let params = named(vec![address.ip().to_string()], name)?;
            let identity = Identity {
                certificate: directory.join(format!("{name}.pem")),
                key: directory.join(format!("{name}.key")),
            };
            let signed = params.signed_by(&key, &issuer)?;
            fs::write(&identity.certificate, signed.pem())?;
            fs::write(&identity.key, key.serialize_pem())?;
            Ok(identity)
        };
        Ok(Self { address, authority, server: identity("server")?, client: identity("client")? })
    }
}
