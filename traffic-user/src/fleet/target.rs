//! Where a fleet's database is: `clickhouse://[USER@]HOST[:PORT]/DB`.

use std::{env, fmt, fs, io, path::Path, str::FromStr};

use thiserror::Error;

/// The environment variable that may hold the password.
pub const PASSWORD_VARIABLE: &str = "TRAFFIC_CLICKHOUSE_PASSWORD";

/// Port of the HTTP interface.
const HTTP_PORT: u16 = 8123;
/// Port of the HTTP interface over TLS.
const HTTPS_PORT: u16 = 8443;

/// A database of a ClickHouse server, reached over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether the connection is encrypted and the server's certificate verified.
    pub tls: bool,
    /// User name; `None` for the server's default user.
    pub user: Option<String>,
    /// Name or address; an IPv6 address is in brackets.
    pub host: String,
    /// Port of the HTTP interface.
    pub port: u16,
    /// Name of the database: a letter, then letters, digits and `_`.
    pub database: String,
}

/// Why a text is no [`Target`].
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// Neither scheme.
    #[error("not clickhouse://[USER@]HOST[:PORT]/DB or clickhouses://…")]
    Scheme,
    /// A password would be seen by every user of the machine.
    #[error("a password does not belong into the address: name a file, or set {PASSWORD_VARIABLE}")]
    Password,
    /// No host.
    #[error("the address names no host")]
    Host,
    /// Not a port.
    #[error("{0} is not a port")]
    Port(String),
    /// Not a name that needs no quotes.
    #[error("{0:?} is not a database name: a letter, then letters, digits and _")]
    Database(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (tls, rest) = match text.split_once("://") {
            Some(("clickhouse", rest)) => (false, rest),
            Some(("clickhouses", rest)) => (true, rest),
            Some(_) | None => return Err(TargetError::Scheme),
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(TargetError::Password),
            Some((user, address)) => (Some(user.to_owned()), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address);
        let default = if tls { HTTPS_PORT } else { HTTP_PORT };
        let port = port.map_or(Ok(default), |port| {
            port.parse().map_err(|_| TargetError::Port(port.to_owned()))
        })?;
        if host.is_empty() {
            return Err(TargetError::Host);
        }
        if !is_name(database) {
            return Err(TargetError::Database(database.to_owned()));
        }
        Ok(Self {
            tls,
            user: user.filter(|user| !user.is_empty()),
            host: host.to_owned(),
            port,
            database: database.to_owned(),
        })
    }
}

/// Host and port; the colons of an IPv6 address stand in brackets.
fn split_port(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        Some(_) | None => (address, None),
    }
}

/// Whether SQL takes the name without quotes.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(plain)
}

impl Target {
    /// The address of the HTTP interface.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls {
            "clickhouses"
        } else {
            "clickhouse"
        };
        write!(f, "{scheme}://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

/// The password: the first line of `file`, else what [`PASSWORD_VARIABLE`] holds, else none.
///
/// # Errors
/// When the file cannot be read.
pub fn password(file: Option<&Path>) -> io::Result<Option<String>> {
    let Some(file) = file else {
        return Ok(env::var(PASSWORD_VARIABLE).ok());
    };
    let text = fs::read_to_string(file)?;
    Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, url, full) in [
            (
                "clickhouse://db/traffic",
                "http://db:8123",
                "clickhouse://db:8123/traffic",
            ),
            (
                "clickhouses://me@db.example:9443/t_1",
                "https://db.example:9443",
                "clickhouses://me@db.example:9443/t_1",
            ),
            (
                "clickhouse://[::1]/t",
                "http://[::1]:8123",
                "clickhouse://[::1]:8123/t",
            ),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(
                (target.url().as_str(), target.to_string()),
                (url, full.to_owned())
            );
        }
        let target: Target = "clickhouses://h/t".parse().unwrap();
        assert_eq!(target.port, 8443);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let error = |text: &str| text.parse::<Target>().unwrap_err();
        assert_eq!(error("http://h/t"), TargetError::Scheme);
        assert_eq!(error("clickhouse://me:secret@h/t"), TargetError::Password);
        assert_eq!(error("clickhouse:///t"), TargetError::Host);
        assert_eq!(
            error("clickhouse://h:80000/t"),
            TargetError::Port("80000".to_owned())
        );
        for database in ["", "a b", "1a", "a/b", "a;b"] {
            assert_eq!(
                error(&format!("clickhouse://h/{database}")),
                TargetError::Database(database.to_owned())
            );
        }
    }
}
