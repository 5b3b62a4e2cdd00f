//! Servers whose certificates are good, and are not.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use traffic_tests::{clickhouse::Server, program::binary};

pub(crate) fn only_a_certificate_of_a_known_authority_is_accepted() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let here = directory.path();
    for authority in ["ca", "stranger"] {
        openssl(
            here,
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} \
                 -keyout {authority}.key -out {authority}.pem"
            ),
        )?;
    }
    openssl(
        here,
        "req -newkey rsa:2048 -nodes -subj /CN=db -keyout db.key -out db.csr \
         -addext subjectAltName=IP:127.0.0.1",
    )?;
    openssl(
        here,
        "x509 -req -in db.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -copy_extensions copy -out db.pem",
    )?;
    let (server, port) = Server::start_with_tls(&here.join("db.pem"), &here.join("db.key"))?;
    let (accepted, error) = init(&here.join("stranger.pem"), "127.0.0.1", port)?;
    ensure!(!accepted && error.contains("certificate"), "{error}");
    // The certificate is for the address alone.
    let (accepted, error) = init(&here.join("ca.pem"), "localhost", port)?;
    ensure!(!accepted && error.contains("certificate"), "{error}");
    ensure!(server.number("SELECT count() FROM system.databases WHERE name = 't'")? == 0);
    let (accepted, error) = init(&here.join("ca.pem"), "127.0.0.1", port)?;
    ensure!(accepted, "{error}");
    ensure!(server.number("SELECT max(version) FROM t.schema_version")? == 2);
    Ok(())
}

/// Makes the tables over TLS, where these authorities are known; whether that was done.
fn init(authorities: &Path, host: &str, port: u16) -> Result<(bool, String)> {
    let output = Command::new(binary())
        .args([
            "fleet",
            "init",
            "--to",
            &format!("clickhouses://{host}:{port}/t"),
        ])
        .env("SSL_CERT_FILE", authorities)
        .output()
        .context("run traffic fleet init")?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.success(), error))
}

fn openssl(directory: &Path, line: &str) -> Result<()> {
    let output = Command::new("openssl")
        .args(line.split_whitespace())
        .current_dir(directory)
        .output()
        .context("run openssl")?;
    ensure!(output.status.success(), "openssl {line}: {output:?}");
    Ok(())
}
