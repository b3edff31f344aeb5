//! The way to Redis: its address, and the files with what it asks for and what proves who it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisResult,
    TlsCertificates,
};

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
    #[arg(
        long,
        value_name = "FILE",
        env = "SERVE_REDIS_CERT_FILE",
        requires = "redis_key_file"
    )]
    pub redis_cert_file: Option<PathBuf>,

    /// A file with the key (PEM) of that certificate
    #[arg(
        long,
        value_name = "FILE",
        env = "SERVE_REDIS_KEY_FILE",
        requires = "redis_cert_file"
    )]
    pub redis_key_file: Option<PathBuf>,
}

/// A URL and its files.
pub(super) struct Access {
    pub info: ConnectionInfo,
    files: RedisFiles,
}

impl Access {
    /// An error means that the URL is invalid, or that a file can't be read now.
    pub fn new(url: &str, files: RedisFiles) -> anyhow::Result<Self> {
        let info = url.into_connection_info();
        let info = info.context("the URL of Redis is not valid")?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        let access = Self { info, files };
        access.client()?;
        Ok(access)
    }

    pub fn is_encrypted(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    pub fn client(&self) -> RedisResult<Client> {
        let (mut info, files) = (self.info.clone(), &self.files);
        if let Some(file) = &files.redis_password_file {
            let password = String::from_utf8_lossy(&read(file)?).into_owned();
            // Editors end a file with a line break.
            let password = password.trim_end_matches(['\r', '\n']);
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        if !self.is_encrypted() {
            return Client::open(info);
        }
        let client_tls = match (&files.redis_cert_file, &files.redis_key_file) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: read(cert)?,
                client_key: read(key)?,
            }),
            _ => None,
        };
        let root_cert = files.redis_ca_file.as_deref().map(read).transpose()?;
        let certificates = TlsCertificates {
            client_tls,
            root_cert,
        };
        Client::build_with_tls(info, certificates)
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    fs::read(file).map_err(|error| {
        let text = format!("can't read {}: {error}", file.display());
        io::Error::new(error.kind(), text)
    })
}
