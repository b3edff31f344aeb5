//! Addresses on the web: a server, and a path on it.

use std::fmt;

use spin_sdk::http::Uri;

/// A server: scheme, host and port, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub https: bool,
    /// The host, with a port if there is one.
    pub authority: String,
}

impl Origin {
    /// Reads an origin. `None` if the text holds more than scheme, host and port, or if the scheme is not
    /// lower case. The host compares its list of allowed origins byte by byte.
    pub fn parse(url: &str) -> Option<Self> {
        let uri = url.parse::<Uri>().ok()?;
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        let lower_case = url.starts_with("https://") || url.starts_with("http://");
        let port = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                digits && !host.is_empty() && uri.port_u16().is_some_and(|port| port > 0)
            }
            _ => true,
        };
        let no_path = uri.path_and_query().is_none_or(|path| path == "/");
        // The parsed URI has lost a fragment, so the text itself is searched for '#'.
        let plain = no_path && lower_case && port && !url.contains(['@', '#', '*']);
        plain.then(|| Self { https, authority: authority.to_owned() })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.authority)
    }
}

/// An origin and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub origin: Origin,
    /// The path, with its query if there is one.
    pub path: String,
}

impl Address {
    pub fn parse(url: &str) -> Option<Self> {
        let start = url.find("://")? + 3;
        let (origin, path) = url.split_at(start + url[start..].find('/')?);
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains('#');
        url.parse::<Uri>().ok().filter(|_| plain)?;
        Some(Self { origin: Origin::parse(origin)?, path: path.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.origin, self.path)
    }
}
