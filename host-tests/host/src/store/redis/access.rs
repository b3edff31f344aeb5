//! The way to Redis: its address, and the files with the password, the client's certificate and the authorities.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisResult,
    TlsCertificates,
};

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The files. All are read anew for each connection, so that they may be replaced while `serve` runs.
#[derive(Args, Clone, Debug, Default)]
pub struct RedisFiles {
    /// A file with Redis' password; it replaces the one in the URL
    #[arg(long, value_name = "FILE", env = "SERVE_REDIS_PASSWORD_FILE")]
    pub redis_password_file: Option<PathBuf>,

    /// A file with the certificates (PEM) of those who sign the server's, for rediss://
    /// [default: the public authorities]
    #[arg(long, value_name = "FILE", env = "SERVE_REDIS_CA_FILE")]
    pub redis_ca_file: Option<PathBuf>,

    /// A file with the certificate (PEM) that this client shows, for rediss://
    #[arg(long, value_name = "FILE", env = "SERVE_REDIS_CERT_FILE", requires = "redis_key_file")]
    pub redis_cert_file: Option<PathBuf>,

    /// A file with the key (PEM) of that certificate
    #[arg(long, value_name = "FILE", env = "SERVE_REDIS_KEY_FILE", requires = "redis_cert_file")]
    pub redis_key_file: Option<PathBuf>,
}

impl RedisFiles {
    /// Fails if a file is named, because no other store reads one.
    pub(in super::super) fn check_unused(&self) -> anyhow::Result<()> {
        ensure!(
            self.redis_password_file.is_none(),
            "--redis-password-file needs a store at redis:// or rediss://"
        );
        self.check_no_tls()
    }

    /// Fails if a file is named that only TLS reads: its operator believes the connection encrypted.
    fn check_no_tls(&self) -> anyhow::Result<()> {
        for (option, file) in [
            ("--redis-ca-file", &self.redis_ca_file),
            ("--redis-cert-file", &self.redis_cert_file),
            ("--redis-key-file", &self.redis_key_file),
        ] {
            ensure!(file.is_none(), "{option} needs a store at rediss://");
        }
        Ok(())
    }
}

/// A URL and its files.
pub(super) struct Access {
    pub info: ConnectionInfo,
    files: RedisFiles,
}

impl Access {
    /// An error means that the URL is invalid, that a file is invalid or can't be read now, or that a file would
    /// not be used.
    pub fn new(url: &str, files: RedisFiles) -> anyhow::Result<Self> {
        let info = url.into_connection_info();
        let info = info.context(
            "the URL of Redis is not valid: percent-encode its password, or use --redis-password-file",
        )?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        let access = Self { info, files };
        if !access.is_encrypted() {
            access.files.check_no_tls()?;
        }
        access.client()?;
        Ok(access)
    }

    /// Whether the network between this machine and Redis carries the password in clear.
    pub fn shows_password(&self) -> bool {
        let has_password = self.files.redis_password_file.is_some()
            || self.info.redis_settings().password().is_some();
        let is_here = match self.info.addr() {
            ConnectionAddr::Tcp(host, _) => {
                let ip = host.parse::<IpAddr>();
                host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
            }
            _ => true,
        };
        has_password && !is_here
    }

    pub fn is_encrypted(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    pub fn client(&self) -> RedisResult<Client> {
        let (mut info, files) = (self.info.clone(), &self.files);
        if let Some(file) = &files.redis_password_file {
            let password = String::from_utf8(read(file)?);
            let password = password.map_err(|_| invalid(file, "is not UTF-8"))?;
            // Editors end a file with a line break.
            let password = password.trim_end_matches(['\r', '\n']);
            if password.is_empty() {
                return Err(invalid(file, "holds no password").into());
            }
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        if !self.is_encrypted() {
            return Client::open(info);
        }
        let client_tls = match (&files.redis_cert_file, &files.redis_key_file) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: read_certificates(cert)?,
                client_key: read(key)?,
            }),
            _ => None,
        };
        let root_cert = files.redis_ca_file.as_deref();
        let root_cert = root_cert.map(read_certificates).transpose()?;
        let certificates = TlsCertificates { client_tls, root_cert };
        Client::build_with_tls(info, certificates)
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    fs::read(file).map_err(|error| {
        let text = format!("can't read {}: {error}", file.display());
        io::Error::new(error.kind(), text)
    })
}

/// The crate `redis` accepts a file without a certificate. Then it trusts no server.
fn read_certificates(file: &Path) -> io::Result<Vec<u8>> {
    let text = read(file)?;
    let mut windows = text.windows(CERTIFICATE.len());
    if !windows.any(|window| window == CERTIFICATE) {
        return Err(invalid(file, "holds no certificate (PEM)"));
    }
    Ok(text)
}

fn invalid(file: &Path, problem: &str) -> io::Error {
    let text = format!("{} {problem}", file.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}
